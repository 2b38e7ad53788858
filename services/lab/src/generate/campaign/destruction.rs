//! Data held to ransom or destroyed.

use rand::RngExt;

use super::entry::{Prey, enter};
use super::phase;
use super::vocabulary::{compute, data, one, storage, vault};
use super::{Campaign, Plan};
use crate::generate::script::Script;

pub(super) const FAMILIES: &[Campaign] = &[
    Campaign {
        family: "bucket_ransom",
        source: "Halcyon, Codefinger (January 2025): objects rewritten with keys of the customer kind, lifecycle set to a week",
        play: bucket_ransom,
    },
    Campaign {
        family: "bucket_wipe",
        source: "Invictus, Ransomware in the cloud (2024): objects copied out, deleted, a note left",
        play: bucket_wipe,
    },
    Campaign {
        family: "backup_destruction",
        source: "Code Spaces (June 2014): console access, snapshots, instances, buckets and backups deleted within hours",
        play: backup_destruction,
    },
    Campaign {
        family: "key_ransom",
        source: "Microsoft on Storm-0501 (August 2025) and Rhino Security Labs on KMS: keys and snapshots are what is held",
        play: key_ransom,
    },
];

fn note(actor: &mut super::actor::Actor<'_, '_>) {
    actor.step("T1657");
    let bucket = actor.name(|account| &account.buckets);
    let key = one(&["README.txt", "NOTICE.txt", "notes/README.txt"], actor.script.rng());
    actor.call(|account, rng| storage::put_object(account, rng, &bucket, key));
}

fn bucket_ransom(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Application } else { Prey::Person };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1619");
    actor.survey(phase::BUCKETS, 6);
    phase::rewrite_objects(actor, 1.0);
    if actor.chance(0.6) {
        let bucket = actor.name(|account| &account.buckets);
        actor.step("T1485");
        actor.call(|account, rng| storage::lifecycle(account, rng, &bucket, "7"));
    }
    if actor.chance(0.6) {
        note(actor);
    }
    actor.script.innocent();
}

fn bucket_wipe(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    phase::look_at_things(actor, 5);
    phase::read_buckets(actor, 0.5);
    if !actor.is_slow() && actor.chance(0.4) {
        let bucket = actor.name(|account| &account.buckets);
        actor.step("T1490");
        actor.call(|account, rng| storage::versioning(account, rng, &bucket, "Suspended"));
    }
    phase::empty_bucket(actor, 1.0);
    if actor.chance(0.6) {
        note(actor);
    }
    actor.script.innocent();
}

fn backup_destruction(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1580");
    actor.survey(
        &[
            vault::backup_vaults,
            vault::backup_plans,
            vault::recovery_points,
            vault::protected_resources,
            compute::snapshots,
            data::db_snapshots,
            data::list_db_instances,
            compute::volumes,
        ],
        8,
    );
    actor.step("T1490");
    let slow = actor.is_slow();
    actor.fill(1.0, |account, rng| match rng.random_range(0..14) {
        0 => compute::snapshots(account, rng),
        1 => vault::recovery_points(account, rng),
        2..5 => data::delete_db_snapshot(account, rng),
        5..8 => vault::delete_recovery_point(account, rng),
        8 if !slow => data::delete_any_db(account, rng),
        9 if !slow => compute::terminate_instances(account, rng),
        10 => compute::delete_volume(account, rng),
        _ => compute::delete_snapshot(account, rng),
    });
    actor.maybe(0.3, vault::backup_lifecycle);
    actor.script.innocent();
}

fn key_ransom(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1580");
    actor.survey(&[vault::list_keys, vault::key_aliases, vault::describe_key, vault::key_policy], 4);
    actor.step("T1530");
    actor.fill(0.6, |account, rng| match rng.random_range(0..5) {
        0 => vault::describe_key(account, rng),
        1 => vault::data_key(account, rng),
        _ => vault::decrypt(account, rng),
    });
    actor.step("T1098");
    actor.maybe(0.5, vault::grant);
    phase::rewrite_objects(actor, 1.0);
    if !actor.is_slow() {
        actor.step("T1485");
        if actor.chance(0.5) {
            actor.call(vault::disable_key);
        }
        actor.maybe(0.6, vault::schedule_key_deletion);
        note(actor);
    }
    actor.script.innocent();
}
