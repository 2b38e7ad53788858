//! Looking hard at things: audits, incidents, announced tests, rotations read before they are written.

use rand::RngExt;

use super::Lookalike;
use super::cast::{Who, cast};
use crate::generate::campaign::actor::Renewal;
use crate::generate::campaign::phase;
use crate::generate::campaign::vocabulary::{audit, compute, edge, identity, new_name, one, user_name, vault};
use crate::generate::names::unique_id;
use crate::generate::script::{Identity, Script};

pub(super) const TWINS: &[Lookalike] = &[
    Lookalike { of: "session_hijack_secrets", play: night_incident },
    Lookalike { of: "session_hijack_secrets", play: announced_test },
    Lookalike { of: "session_hijack_secrets", play: travelling_engineer },
    Lookalike { of: "pipeline_secrets", play: secret_rotation },
    Lookalike { of: "organisation_survey", play: external_audit },
    Lookalike { of: "organisation_survey", play: account_vending },
    Lookalike { of: "identity_pool_abuse", play: customer_migration },
    Lookalike { of: "fleet_command", play: patch_day },
    Lookalike { of: "federation_survival", play: own_portal },
    Lookalike { of: "quiet_logs", play: incident_response },
];

/// Something is down at night: whoever is called takes a strong role, reads logs and the secrets that it takes.
fn night_incident(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Emergency, Who::Emergency, Who::Away, Who::Usual]);
    phase::look_at_things(actor, 8);
    phase::read_logs(actor, 0.4);
    if actor.chance(0.6) {
        phase::read_secrets(actor, 0.4);
    }
    if actor.chance(0.4) {
        phase::read_code(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
}

/// A test that the owner ordered and announced: everything that an intruder would do first.
fn announced_test(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Vendor, Who::FreshUser, Who::Auditor, Who::Newcomer]);
    actor.refusals = actor.script.rng().random_range(0.1..0.5);
    phase::look_at_people(actor, 14);
    phase::look_at_things(actor, 14);
    if actor.chance(0.5) {
        phase::look_at_watch(actor, 6);
    }
    actor.fill(1.0, |account, rng| {
        let list = one(&[phase::THINGS, phase::PEOPLE, phase::BUCKETS, phase::WATCH], rng);
        one(list, rng)(account, rng)
    });
}

/// Abroad, with the usual work.
fn travelling_engineer(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Away, Who::Away, Who::NewTool]);
    phase::look_at_things(actor, 10);
    if actor.chance(0.5) {
        phase::read_secrets(actor, 0.2);
    }
    if actor.chance(0.5) {
        phase::read_logs(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
}

/// All secrets are read and written anew; old keys are switched off.
fn secret_rotation(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Pipeline, Who::NewPipeline, Who::Usual, Who::NewTool, Who::Away]);
    actor.maybe(0.5, identity::caller_identity);
    if actor.chance(0.4) {
        phase::look_at_people(actor, 4);
    }
    phase::read_secrets(actor, 0.7);
    let key = unique_id(actor.script.rng(), "AKIA");
    let user = user_name(actor.account(), actor.script.rng());
    if actor.chance(0.5) {
        actor.does(|script, session| script.create_access_key(session, &user));
        actor.call(|account, rng| identity::disable_access_key(account, rng, &user, &key));
        actor.maybe(0.5, |account, rng| identity::delete_access_key(account, rng, &user, &key));
    }
    actor.fill(1.0, |account, rng| match rng.random_range(0..3) {
        0 => vault::new_secret_value(account, rng),
        1 => vault::describe_secret(account, rng),
        _ => vault::secret_value(account, rng),
    });
}

/// Auditors from outside list everything.
fn external_audit(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Auditor, Who::Vendor, Who::Newcomer, Who::FreshUser]);
    actor.survey(phase::ORGANISATION, 10);
    phase::look_at_people(actor, 12);
    phase::look_at_watch(actor, 8);
    actor.fill(1.0, |account, rng| {
        let list = one(&[phase::THINGS, phase::ORGANISATION, phase::PEOPLE, phase::WATCH, phase::BUCKETS], rng);
        one(list, rng)(account, rng)
    });
}

/// Accounts are made, handed out and, now and then, given up.
fn account_vending(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Pipeline, Who::NewTool]);
    actor.survey(phase::ORGANISATION, 12);
    actor.fill(0.4, |account, rng| match rng.random_range(0..5) {
        0 => identity::create_account(account, rng),
        1 | 2 => identity::assign_permission_set(account, rng),
        _ => one(phase::ORGANISATION, rng)(account, rng),
    });
    let closes = actor.chance(0.3);
    if closes {
        let is_refused = actor.chance(0.6);
        actor.call(|account, rng| {
            let call = identity::leave_organization(account, rng);
            if is_refused { call.denied() } else { call }
        });
    }
    actor.fill(1.0, |account, rng| {
        let list = one(&[phase::THINGS, phase::PEOPLE, phase::WATCH, phase::ORGANISATION], rng);
        one(list, rng)(account, rng)
    });
}

/// Customers' identities are counted, mended and carried to another pool.
fn customer_migration(script: &mut Script<'_>, volume: u32) {
    let actor =
        &mut cast(script, volume, &[Who::Usual, Who::Machine, Who::Vendor, Who::MovedApplication, Who::NewTool]);
    actor.maybe(0.5, identity::caller_identity);
    actor.survey(&[edge::identity_pools, edge::identity_pool_roles, edge::user_pools], 3);
    actor.fill(0.5, |account, rng| {
        if rng.random_bool(0.1) { edge::reset_pool_password(account, rng) } else { edge::pool_users(account, rng) }
    });
    if actor.chance(0.5) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
}

/// The fleet is patched by command.
fn patch_day(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::NewTool, Who::Away, Who::Emergency, Who::Pipeline]);
    phase::look_at_things(actor, 5);
    phase::command_fleet(actor, 1.0);
    actor.maybe(0.3, compute::push_ssh_key);
    actor.maybe(0.3, compute::stop_instances);
}

/// A home-made portal signs people in to the console with federation tokens.
fn own_portal(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::MovedApplication, Who::Usual, Who::FreshUser, Who::Away]);
    actor.maybe(0.5, identity::caller_identity);
    if matches!(actor.session.identity, Identity::User { .. }) {
        let name = new_name(actor.script.rng());
        let issued = actor.does(|script, session| script.federation_token(session, &name));
        actor.becomes(issued, Renewal::Never);
    }
    actor.maybe(0.7, identity::signin_token);
    phase::look_at_things(actor, 8);
    if actor.chance(0.4) {
        phase::look_at_people(actor, 5);
    }
    phase::read_buckets(actor, 1.0);
}

/// The security team follows a lead: who did what, keys off, users shut out.
fn incident_response(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Emergency, Who::Away, Who::Vendor]);
    phase::look_at_watch(actor, 8);
    phase::read_logs(actor, 0.5);
    let user = user_name(actor.account(), actor.script.rng());
    let key = unique_id(actor.script.rng(), "AKIA");
    if actor.chance(0.5) {
        actor.call(|account, rng| identity::disable_access_key(account, rng, &user, &key));
        actor.maybe(0.5, |account, rng| identity::deny_all_inline(account, rng, &user));
    }
    actor.maybe(0.15, |account, rng| identity::delete_user(account, rng, &user));
    if actor.chance(0.3) {
        actor.call(audit::update_detector);
        actor.call(audit::start_logging);
    }
    if actor.chance(0.6) {
        phase::read_buckets(actor, 1.0);
    } else {
        phase::read_secrets(actor, 1.0);
    }
}
