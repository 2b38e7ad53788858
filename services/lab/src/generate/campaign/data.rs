//! Data carried off: snapshots, tables, the lake, an insider's last days.

use rand::RngExt;

use super::entry::{Prey, enter};
use super::phase;
use super::vocabulary::{audit, compute, data, edge, hex, identity, storage, vault};
use super::{Campaign, Plan};
use crate::generate::names::account_id;
use crate::generate::script::Script;

pub(super) const FAMILIES: &[Campaign] = &[
    Campaign {
        family: "snapshot_theft",
        source: "CISA AA23-320A and Mandiant on UNC3944 (2023): snapshots of disks and databases copied, shared or read from outside",
        play: snapshot_theft,
    },
    Campaign {
        family: "table_theft",
        source: "Unit 42 cloud threat report, volume 7 (2023): an application's key outside its home, tables and lake read in bulk",
        play: table_theft,
    },
    Campaign {
        family: "database_copy",
        source: "Imperva statement (October 2019): a key taken from an internal instance reached a database snapshot",
        play: database_copy,
    },
    Campaign {
        family: "departing_insider",
        source: "United States v. Sharp (Ubiquiti, 2020-2021): an engineer's own rights, repositories and buckets swept, log retention cut",
        play: departing_insider,
    },
    Campaign {
        family: "quiet_replication",
        source: "Vectra AI on bucket replication as a way out (2022), and CISA AA23-320A: data copied inside the cloud to another account",
        play: quiet_replication,
    },
    Campaign {
        family: "identity_pool_abuse",
        source: "Riancho, analysis of misconfigured identity pools (Black Hat 2019): guest credentials with wide rights",
        play: identity_pool_abuse,
    },
    Campaign {
        family: "organisation_survey",
        source: "MITRE ATT&CK T1666 and Storm-0501 reporting (Microsoft, 2024-2025): the hierarchy mapped, accounts walked through, one torn out",
        play: organisation_survey,
    },
];

fn snapshot_theft(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.7) { Prey::Person } else { Prey::Pipeline };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1580");
    actor.survey(
        &[compute::snapshots, compute::volumes, compute::instances, data::db_snapshots, data::list_db_instances],
        5,
    );
    let target = account_id(actor.script.rng());
    let shares = !actor.is_slow() && actor.chance(0.4);
    actor.step("T1578.001");
    if actor.chance(0.4) {
        let database = actor.name(|account| &account.databases);
        let snapshot = format!("{database}-{}", hex(actor.script.rng(), 6));
        actor.call(|account, rng| data::create_db_snapshot(account, rng, &database, &snapshot));
        if shares {
            actor.step("T1537");
            actor.call(|account, rng| data::share_db_snapshot(account, rng, &snapshot, &target));
        }
    }
    actor.rounds(0.25, 2, |actor| {
        actor.quick(compute::create_snapshot);
        actor.quick(compute::snapshots);
    });
    if shares {
        actor.step("T1537");
        actor.fill(0.3, |account, rng| compute::share_snapshot(account, rng, &target));
    }
    phase::read_snapshots(actor, 1.0);
    actor.script.innocent();
}

fn table_theft(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.6) { Prey::Application } else { Prey::Function };
    let actor = &mut enter(script, plan, prey);
    if actor.chance(0.3) {
        phase::look_at_things(actor, 4);
    }
    if actor.chance(0.6) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::query_lake(actor, 0.5);
        phase::read_buckets(actor, 1.0);
    }
    actor.script.innocent();
}

fn database_copy(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.6) { Prey::Machine } else { Prey::Pipeline };
    let actor = &mut enter(script, plan, prey);
    phase::look_at_things(actor, 5);
    actor.step("T1580");
    actor.survey(&[data::list_db_instances, data::db_snapshots, data::list_db_clusters], 3);
    let database = actor.name(|account| &account.databases);
    let bucket = actor.name(|account| &account.buckets);
    let snapshot = format!("{database}-{}", hex(actor.script.rng(), 6));
    actor.step("T1578.001");
    actor.call(|account, rng| data::create_db_snapshot(account, rng, &database, &snapshot));
    actor.call(data::db_snapshots);
    actor.step("T1530");
    if actor.chance(0.5) {
        actor.call(|account, rng| data::export_db_snapshot(account, rng, &snapshot, &bucket));
    } else {
        actor.call(|account, rng| data::restore_db(account, rng, &snapshot));
        actor.maybe(0.5, |account, rng| data::db_password(account, rng, &snapshot));
    }
    actor.fill(1.0, |account, rng| {
        let key = storage::object_key(rng);
        match rng.random_range(0..12) {
            0 => data::list_db_instances(account, rng),
            1 => vault::decrypt(account, rng),
            2 => storage::list_objects(account, rng, &bucket),
            _ => storage::get_object(account, rng, &bucket, &key),
        }
    });
    actor.script.innocent();
}

fn departing_insider(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Insider);
    let parts = actor.script.rng().random_range(0..4);
    let small = actor.is_small();
    if parts != 0 {
        phase::read_code(actor, 0.3);
    }
    if parts != 1 && !small {
        phase::read_buckets(actor, 0.6);
    }
    if parts != 2 && !(small && parts == 3) {
        phase::query_lake(actor, 0.5);
    }
    phase::read_buckets(actor, 1.0);
    if actor.chance(0.25) && !actor.is_slow() {
        actor.step("T1070");
        actor.call(audit::retention);
    }
    actor.script.innocent();
}

fn quiet_replication(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Person } else { Prey::Pipeline };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1619");
    actor.survey(phase::BUCKETS, 8);
    let target = account_id(actor.script.rng());
    phase::replicate_bucket(actor, 1.0, &target);
    actor.script.innocent();
}

fn identity_pool_abuse(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Function } else { Prey::Application };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1087.004");
    actor.call(identity::caller_identity);
    actor.survey(&[edge::identity_pools, edge::identity_pool_roles, edge::user_pools], 3);
    actor.step("T1087.004");
    actor.fill(0.25, edge::pool_users);
    if !actor.is_slow() && actor.chance(0.5) {
        actor.step("T1098");
        actor.call(edge::reset_pool_password);
    }
    if actor.chance(0.5) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
    actor.script.innocent();
}

fn organisation_survey(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1526");
    actor.survey(phase::ORGANISATION, 12);
    phase::look_at_people(actor, 10);
    actor.step("T1580");
    actor.fill(1.0, |account, rng| {
        let list = super::vocabulary::one(
            &[phase::THINGS, phase::ORGANISATION, phase::PEOPLE, phase::WATCH, phase::BUCKETS],
            rng,
        );
        super::vocabulary::one(list, rng)(account, rng)
    });
    if !actor.is_slow() && actor.chance(0.4) {
        actor.step("T1666");
        actor.call(|account, rng| identity::leave_organization(account, rng).denied());
    }
    actor.script.innocent();
}
