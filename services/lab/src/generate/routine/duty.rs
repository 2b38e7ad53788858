//! Work on the account itself: identities, names, money, findings.

use rand::RngExt;

use super::super::campaign::vocabulary::{Make, audit, compute, data, edge, identity, new_name, vault};
use super::super::names::pick;
use super::super::script::{Script, Session};
use super::task::{repeat, some_of};
use super::{attempt, make};

pub(super) fn tidy_snapshots(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[compute::snapshots, compute::volumes, data::db_snapshots, vault::backup_vaults, vault::recovery_points],
        0.7,
    );
    repeat(script, session, refused, compute::create_snapshot, 0, 3, (2.0, 30.0));
    repeat(script, session, refused, compute::delete_snapshot, 0, 8, (1.0, 8.0));
}

pub(super) fn name_records(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[edge::hosted_zones, edge::zone, edge::record_sets, edge::certificates, edge::distributions],
        0.7,
    );
}

pub(super) fn change_roles(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[identity::list_roles, identity::get_role, identity::role_policies, identity::policy_version],
        0.7,
    );
    let account = &script.world().accounts[session.account];
    if script.rng().random_bool(0.4) {
        let role = new_name(script.rng());
        let call = identity::create_role(account, script.rng(), &role, "lambda.amazonaws.com");
        script.call(session, call);
        script.wait_s(2.0, 60.0);
        let call = identity::role_inline_policy(account, script.rng(), &role, "s3:GetObject");
        script.call(session, call);
    } else {
        let role = pick(script.rng(), &account.roles).name.clone();
        let action =
            *pick(script.rng(), &["s3:PutObject", "sqs:SendMessage", "dynamodb:Query", "logs:*", "kms:Decrypt"]);
        let call = identity::role_inline_policy(account, script.rng(), &role, action);
        let refuses = script.rng().random_bool(refused);
        script.call(session, if refuses { call.denied() } else { call });
    }
}

pub(super) fn change_users(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[
            identity::list_users,
            identity::list_groups,
            identity::get_user,
            identity::user_groups,
            identity::mfa_devices,
        ],
        0.7,
    );
    if script.rng().random_bool(0.3) {
        let name = new_name(script.rng());
        let user = script.create_user(session, &name);
        script.wait_s(3.0, 60.0);
        let account = &script.world().accounts[session.account];
        let call = identity::add_to_group(account, script.rng(), &user.name);
        script.call(session, call);
        script.wait_s(3.0, 60.0);
        if script.rng().random_bool(0.5) {
            script.create_access_key(session, &user.name);
        }
    }
}

pub(super) fn rotate_key(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(script, session, refused, &[identity::list_users, identity::access_keys], 0.9);
    let account = &script.world().accounts[session.account];
    let user = pick(script.rng(), &account.users).clone();
    script.create_access_key(session, &user.name);
    script.wait_s(60.0, 1_800.0);
    let old = user.keys.last().map_or("", String::as_str);
    let call = identity::disable_access_key(account, script.rng(), &user.name, old);
    script.call(session, call);
    script.wait_s(60.0, 1_800.0);
    let call = identity::delete_access_key(account, script.rng(), &user.name, old);
    script.call(session, call);
}

pub(super) fn review_identities(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[
            identity::list_users,
            identity::list_roles,
            identity::local_policies,
            identity::account_summary,
            identity::password_policy,
            identity::generate_credential_report,
            identity::credential_report,
            identity::authorization_details,
        ],
        0.55,
    );
    for call in [
        identity::get_role as Make,
        identity::role_policies,
        identity::user_policies,
        identity::access_keys,
        identity::policy_version,
    ] {
        repeat(script, session, refused, call, 0, 7, (0.3, 12.0));
    }
}

pub(super) fn review_findings(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[audit::detectors, audit::detector, audit::findings, audit::security_hub, audit::analyzers, audit::findings],
        0.8,
    );
    search_trail(script, session, refused);
}

pub(super) fn search_trail(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(script, session, refused, &[audit::trails, audit::trail_status, audit::event_selectors], 0.5);
    repeat(script, session, refused, audit::lookup_events, 1, 14, (1.5, 40.0));
}

pub(super) fn organisation_work(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[
            identity::describe_organization,
            identity::organization_accounts,
            identity::organization_roots,
            identity::organization_children,
            identity::permission_sets,
            identity::account_assignments,
            identity::describe_account,
        ],
        0.6,
    );
}

pub(super) fn costs(script: &mut Script<'_>, session: &Session, refused: f64) {
    repeat(script, session, refused, audit::costs, 2, 14, (0.5, 30.0));
}

pub(super) fn find_customer(script: &mut Script<'_>, session: &Session, refused: f64) {
    make(script, session, edge::user_pools);
    script.wait_s(1.0, 10.0);
    repeat(script, session, refused, edge::pool_users, 1, 5, (3.0, 60.0));
    if script.rng().random_bool(0.25) {
        attempt(script, session, edge::reset_pool_password, refused);
    }
}
