//! Things that are cut, closed, re-encrypted, opened to a partner: changes that look like harm.

use rand::RngExt;

use super::Lookalike;
use super::cast::{Who, cast};
use crate::generate::campaign::actor::Renewal;
use crate::generate::campaign::entry::{any_role, session_name};
use crate::generate::campaign::phase;
use crate::generate::campaign::vocabulary::{Make, audit, compute, data, identity, new_name, one, storage, vault};
use crate::generate::names::account_id;
use crate::generate::script::Script;
use crate::generate::world::{Holder, foreign_network};

pub(super) const TWINS: &[Lookalike] = &[
    Lookalike { of: "bucket_ransom", play: re_encryption },
    Lookalike { of: "bucket_wipe", play: retention_sweep },
    Lookalike { of: "env_file_extortion", play: account_closing },
    Lookalike { of: "backup_destruction", play: backup_cleaning },
    Lookalike { of: "key_ransom", play: key_change },
    Lookalike { of: "quiet_logs", play: logging_costs },
    Lookalike { of: "trust_backdoor", play: vendor_onboarding },
];

/// Objects are rewritten under a new key, by policy.
fn re_encryption(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::MovedApplication, Who::NewTool, Who::Away]);
    actor.survey(phase::BUCKETS, 6);
    phase::rewrite_objects(actor, 1.0);
    let bucket = actor.name(|account| &account.buckets);
    let days = one(&["7", "30", "90"], actor.script.rng());
    actor.maybe(0.6, |account, rng| storage::lifecycle(account, rng, &bucket, days));
    actor.maybe(0.3, |account, rng| storage::put_object(account, rng, &bucket, "README.txt"));
}

/// What the law says must go, goes.
fn retention_sweep(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Machine, Who::NewPipeline, Who::NewTool, Who::Away]);
    if actor.chance(0.4) {
        phase::look_at_things(actor, 4);
    }
    if actor.chance(0.5) {
        phase::read_buckets(actor, 0.4);
    }
    let bucket = actor.name(|account| &account.buckets);
    actor.maybe(0.3, |account, rng| storage::versioning(account, rng, &bucket, "Suspended"));
    phase::empty_bucket(actor, 1.0);
    actor.maybe(0.4, |account, rng| storage::put_object(account, rng, &bucket, "notes/README.txt"));
}

/// An old product is copied away and emptied.
fn account_closing(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::FreshUser, Who::Emergency, Who::MovedApplication]);
    if actor.chance(0.5) {
        phase::look_at_people(actor, 5);
    }
    actor.survey(&[storage::list_buckets, compute::instances, vault::list_keys, audit::trails], 4);
    phase::read_buckets(actor, 0.5);
    phase::empty_bucket(actor, 1.0);
    let bucket = actor.name(|account| &account.buckets);
    let key = one(&["README.txt", "NOTICE.txt", "index.txt"], actor.script.rng());
    actor.maybe(0.4, |account, rng| storage::put_object(account, rng, &bucket, key));
}

/// Snapshots and recovery points nobody pays for any longer.
fn backup_cleaning(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::NewTool, Who::Away, Who::Newcomer]);
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
            audit::costs,
        ],
        6,
    );
    actor.fill(1.0, |account, rng| match rng.random_range(0..14) {
        0 => compute::snapshots(account, rng),
        1 => vault::recovery_points(account, rng),
        2..5 => data::delete_db_snapshot(account, rng),
        5..8 => vault::delete_recovery_point(account, rng),
        8 => data::delete_any_db(account, rng),
        9 => compute::terminate_instances(account, rng),
        10 => compute::delete_volume(account, rng),
        _ => compute::delete_snapshot(account, rng),
    });
    actor.maybe(0.4, vault::backup_lifecycle);
}

/// A key is replaced: everything under it is opened and closed again.
fn key_change(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::NewTool, Who::Emergency, Who::Away]);
    actor.survey(&[vault::list_keys, vault::key_aliases, vault::describe_key, vault::key_policy], 4);
    actor.fill(0.6, |account, rng| match rng.random_range(0..5) {
        0 => vault::describe_key(account, rng),
        1 => vault::data_key(account, rng),
        _ => vault::decrypt(account, rng),
    });
    actor.maybe(0.5, vault::grant);
    phase::rewrite_objects(actor, 1.0);
    actor.maybe(0.5, vault::disable_key);
    actor.maybe(0.5, vault::schedule_key_deletion);
}

/// Logging is too dear, or moves to the organisation's trail.
fn logging_costs(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::NewTool, Who::Away]);
    actor.maybe(0.6, audit::costs);
    phase::look_at_watch(actor, 8);
    let deeds: &[Make] = &[
        audit::retention,
        audit::finding_filter,
        audit::mute_alarms,
        audit::narrow_selectors,
        audit::update_detector,
        audit::stop_recorder,
        audit::delete_log_stream,
    ];
    let deed = one(deeds, actor.script.rng());
    actor.call(deed);
    let moves_trail = actor.chance(0.3);
    if moves_trail {
        actor.call(audit::stop_logging);
        actor.maybe(0.7, audit::start_logging);
    }
    actor.fill(0.5, |account, rng| {
        if rng.random_bool(0.4) { audit::retention(account, rng) } else { audit::log_groups(account, rng) }
    });
    if actor.chance(0.5) {
        phase::read_logs(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
}

/// A supplier gets a role, and comes.
fn vendor_onboarding(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::NewTool, Who::Away]);
    if actor.chance(0.6) {
        phase::look_at_people(actor, 8);
    }
    let account = actor.session.account;
    let outside = account_id(actor.script.rng());
    let existing =
        any_role(actor.script, account, |holder| matches!(holder, Holder::Vendor | Holder::Backup | Holder::Deploy));
    if actor.chance(0.6) {
        actor.call(|account, rng| identity::update_trust(account, rng, &existing.name, &outside));
    } else {
        let name = new_name(actor.script.rng());
        actor.call(|account, rng| identity::create_role(account, rng, &name, &outside));
        let policy = one(&["ReadOnlyAccess", "SecurityAudit", "ViewOnlyAccess", "PowerUserAccess"], actor.script.rng());
        actor.call(|account, rng| identity::attach_role_policy(account, rng, &name, policy));
    }
    let network = foreign_network(actor.script.rng());
    let source = network.address(actor.script.rng());
    let tool = crate::generate::agent::any(actor.script.rng());
    let name = session_name(actor.script);
    let by = actor.script.foreign(account, source, tool);
    let session = actor.does(|script, _| script.assume_role(&by, &existing, &name));
    actor.becomes(session, Renewal::Assume { by: Box::new(by), role: Box::new(existing), name });
    phase::look_at_things(actor, 8);
    match actor.script.rng().random_range(0..3) {
        0 => phase::read_buckets(actor, 1.0),
        1 => phase::read_secrets(actor, 1.0),
        _ => actor.fill(1.0, |account, rng| one(phase::THINGS, rng)(account, rng)),
    }
}
