//! Things that move: migrations, restores, refreshes, hand-overs, roll-outs over accounts.

use rand::RngExt;

use super::Lookalike;
use super::cast::{Who, cast};
use crate::generate::campaign::actor::{Actor, Renewal};
use crate::generate::campaign::entry::{any_role, session_name};
use crate::generate::campaign::phase;
use crate::generate::campaign::vocabulary::{
    audit, compute, data, edge, functions, hex, identity, pick, storage, vault,
};
use crate::generate::script::Script;
use crate::generate::world::{Holder, foreign_network};

pub(super) const TWINS: &[Lookalike] = &[
    Lookalike { of: "metadata_bucket_theft", play: backfill },
    Lookalike { of: "source_and_images", play: mirror },
    Lookalike { of: "engineer_backups", play: restore_drill },
    Lookalike { of: "container_to_state_files", play: state_migration },
    Lookalike { of: "deploy_role_hop", play: account_rollout },
    Lookalike { of: "build_tampering", play: build_move },
    Lookalike { of: "snapshot_theft", play: disk_migration },
    Lookalike { of: "table_theft", play: table_migration },
    Lookalike { of: "database_copy", play: staging_refresh },
    Lookalike { of: "quiet_replication", play: bucket_move },
    Lookalike { of: "departing_insider", play: hand_over },
    Lookalike { of: "name_tampering", play: domain_migration },
    Lookalike { of: "git_config_harvest", play: new_build_system },
];

/// The identifier of another account of the organisation.
fn sibling(actor: &mut Actor<'_, '_>) -> String {
    let accounts = &actor.script.world().accounts;
    pick(actor.script.rng(), accounts).id.clone()
}

/// A job reads months of objects again.
fn backfill(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Machine, Who::Machine, Who::Machine, Who::MovedApplication]);
    if actor.chance(0.3) {
        phase::look_at_people(actor, 2);
    }
    phase::read_buckets(actor, 1.0);
}

/// Code and images go to another registry, artefacts with them.
fn mirror(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::NewPipeline, Who::Vendor, Who::Pipeline, Who::FreshUser]);
    phase::read_code(actor, 0.7);
    phase::read_buckets(actor, 1.0);
}

/// The yearly proof that backups can be read.
fn restore_drill(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Away, Who::Emergency, Who::NewTool]);
    actor.survey(
        &[
            vault::backup_vaults,
            vault::backup_plans,
            vault::recovery_points,
            vault::protected_resources,
            vault::list_keys,
            vault::key_aliases,
            storage::list_buckets,
        ],
        5,
    );
    actor.maybe(0.6, vault::restore_job);
    if actor.chance(0.3) {
        phase::read_secrets(actor, 0.15);
    }
    if actor.chance(0.3) {
        phase::read_snapshots(actor, 1.0);
        return;
    }
    let bucket = actor.name(|account| &account.buckets);
    actor.call(|account, rng| storage::list_objects(account, rng, &bucket));
    actor.fill(1.0, |account, rng| {
        let key = storage::object_key(rng);
        if rng.random_bool(0.3) {
            vault::decrypt(account, rng)
        } else {
            storage::get_object(account, rng, &bucket, &key)
        }
    });
}

/// State files are split up, what they describe is looked at, account by account.
fn state_migration(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::NewPipeline, Who::Away]);
    actor.call(identity::caller_identity);
    phase::read_buckets(actor, 0.4);
    phase::look_at_things(actor, 12);
    hop(actor);
    phase::look_at_people(actor, 4);
    phase::look_at_things(actor, 8);
    actor.fill(1.0, |account, rng| match rng.random_range(0..6) {
        0 => vault::secret_value(account, rng),
        1 => vault::parameter(account, rng),
        2 => functions::get_function(account, rng),
        3 => identity::get_role(account, rng),
        4 => compute::stacks(account, rng),
        _ => storage::bucket_question(account, rng),
    });
}

/// Takes the deploy role of any account.
fn hop(actor: &mut Actor<'_, '_>) {
    let accounts = actor.script.world().accounts.len();
    let target = actor.script.rng().random_range(0..accounts);
    let role = any_role(actor.script, target, |holder| matches!(holder, Holder::Deploy | Holder::Pipeline));
    let name = session_name(actor.script);
    actor.assumes(&role, &name);
}

/// A baseline is laid over many accounts.
fn account_rollout(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Pipeline, Who::NewPipeline, Who::Usual, Who::NewTool]);
    actor.survey(phase::ORGANISATION, 4);
    for _ in 0..2 {
        hop(actor);
        actor.maybe(0.8, identity::caller_identity);
        actor.survey(phase::THINGS, 4);
        actor.maybe(0.6, compute::create_stack);
        actor.survey(
            &[identity::list_roles, identity::get_role, identity::role_policies, identity::inline_role_policies],
            3,
        );
    }
    if actor.chance(0.5) {
        phase::read_secrets(actor, 1.0);
    } else {
        phase::read_tables(actor, 1.0);
    }
}

/// Builds move to another project.
fn build_move(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::NewPipeline, Who::Usual, Who::Pipeline, Who::NewTool]);
    actor.survey(
        &[compute::build_projects, functions::list_functions, compute::describe_repositories, compute::stacks],
        4,
    );
    actor.maybe(0.6, compute::build_project);
    let function = actor.name(|account| &account.functions);
    actor.rounds(0.6, 3, |actor| {
        actor.quick(compute::start_build);
        actor.quick(compute::build_logs);
        actor.quick(compute::build_logs);
    });
    actor.call(|account, rng| functions::update_function(account, rng, &function));
    actor.fill(1.0, |account, rng| match rng.random_range(0..4) {
        0 => data::get_any_item(account, rng),
        1 => functions::invoke(account, rng, &function),
        2 => vault::parameter(account, rng),
        _ => vault::secret_value(account, rng),
    });
}

/// Disks and databases go to another account of the organisation, or under a microscope.
fn disk_migration(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::NewPipeline, Who::Vendor, Who::Emergency, Who::Away]);
    actor.survey(
        &[compute::snapshots, compute::volumes, compute::instances, data::db_snapshots, data::list_db_instances],
        5,
    );
    let target = sibling(actor);
    if actor.chance(0.4) {
        let database = actor.name(|account| &account.databases);
        let snapshot = format!("{database}-{}", hex(actor.script.rng(), 6));
        actor.call(|account, rng| data::create_db_snapshot(account, rng, &database, &snapshot));
        actor.maybe(0.5, |account, rng| data::share_db_snapshot(account, rng, &snapshot, &target));
    }
    actor.rounds(0.3, 2, |actor| {
        actor.quick(compute::create_snapshot);
        actor.quick(compute::snapshots);
    });
    if actor.chance(0.5) {
        actor.fill(0.3, |account, rng| compute::share_snapshot(account, rng, &target));
    }
    if actor.chance(0.5) {
        phase::read_snapshots(actor, 1.0);
    } else {
        actor.fill(1.0, |account, rng| match rng.random_range(0..3) {
            0 => compute::create_volume(account, rng),
            1 => compute::attach_volume(account, rng),
            _ => compute::copy_snapshot(account, rng),
        });
    }
}

/// Tables go to another store.
fn table_migration(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(
        script,
        volume,
        &[Who::MovedApplication, Who::Machine, Who::NewPipeline, Who::Vendor, Who::FreshUser],
    );
    if actor.chance(0.6) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::query_lake(actor, 0.5);
        phase::read_buckets(actor, 1.0);
    }
}

/// Staging gets yesterday's data.
fn staging_refresh(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::NewPipeline, Who::Machine]);
    actor.survey(&[data::list_db_instances, data::db_snapshots, data::list_db_clusters], 3);
    if actor.chance(0.4) {
        phase::look_at_things(actor, 4);
    }
    let database = actor.name(|account| &account.databases);
    let bucket = actor.name(|account| &account.buckets);
    let snapshot = format!("{database}-{}", hex(actor.script.rng(), 6));
    actor.call(|account, rng| data::create_db_snapshot(account, rng, &database, &snapshot));
    actor.call(data::db_snapshots);
    if actor.chance(0.5) {
        actor.call(|account, rng| data::export_db_snapshot(account, rng, &snapshot, &bucket));
    } else {
        actor.call(|account, rng| data::restore_db(account, rng, &snapshot));
        actor.maybe(0.7, |account, rng| data::db_password(account, rng, &snapshot));
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
    actor.maybe(0.3, |account, rng| data::delete_db(account, rng, &snapshot));
}

/// A bucket moves to another account of the organisation, or to a partner.
fn bucket_move(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::NewPipeline, Who::Pipeline, Who::NewTool, Who::Away]);
    actor.survey(phase::BUCKETS, 8);
    let target = sibling(actor);
    phase::replicate_bucket(actor, 1.0, &target);
}

/// Somebody leaves and hands everything over; or takes over.
fn hand_over(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Away, Who::Newcomer, Who::NewTool]);
    phase::read_code(actor, 0.4);
    if actor.chance(0.5) {
        phase::query_lake(actor, 0.4);
    }
    if actor.chance(0.7) {
        phase::read_buckets(actor, 1.0);
    } else {
        phase::read_logs(actor, 1.0);
    }
    actor.maybe(0.2, audit::retention);
}

/// Names and distributions move.
fn domain_migration(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Vendor, Who::NewTool, Who::Away, Who::FreshUser]);
    actor.survey(&[edge::hosted_zones, edge::domains, edge::distributions, edge::certificates, edge::zone], 5);
    actor.fill(0.6, |account, rng| match rng.random_range(0..4) {
        0 => edge::zone(account, rng),
        1 => edge::distribution_configuration(account, rng),
        _ => edge::record_sets(account, rng),
    });
    let network = foreign_network(actor.script.rng());
    actor.maybe(0.4, edge::update_distribution);
    actor.maybe(0.4, edge::request_certificate);
    actor.maybe(0.2, edge::name_servers);
    actor.fill(1.0, |account, rng| {
        let address = network.address(rng);
        if rng.random_bool(0.5) {
            edge::record_sets(account, rng)
        } else {
            edge::change_records(account, rng, &address)
        }
    });
}

/// The first weeks of another build system: it asks what it may, then fetches what it needs.
fn new_build_system(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::NewPipeline, Who::NewPipeline, Who::MovedApplication, Who::FreshUser]);
    actor.call(identity::caller_identity);
    actor.maybe(0.3, identity::user_policies);
    actor.survey(
        &[storage::list_buckets, edge::send_quota, edge::mail_identities, vault::list_secrets, compute::regions],
        4,
    );
    if actor.chance(0.5) {
        phase::read_code(actor, 0.5);
    }
    phase::read_buckets(actor, 1.0);
    if let Renewal::Token { .. } = actor.renewal {
        actor.maybe(0.5, vault::parameter);
    }
}
