//! Auditors, posture scanners, backups and vendors: they list everything, every day, from the same place.

use rand::RngExt;

use super::super::agent;
use super::super::campaign::vocabulary::{Make, audit, compute, data, edge, functions, identity, storage, vault};
use super::super::names::{pick, stream};
use super::super::network::Network;
use super::super::script::{Identity, Script, Session};
use super::super::settings::Setting;
use super::super::world::{DAY_MS, Holder};
use super::attempt;

/// What a scanner asks, in its order.
pub(super) const EVERYTHING: &[Make] = &[
    identity::caller_identity,
    identity::account_summary,
    identity::list_users,
    identity::list_roles,
    identity::list_groups,
    identity::local_policies,
    identity::password_policy,
    identity::mfa_devices,
    identity::access_keys,
    identity::user_policies,
    identity::role_policies,
    identity::get_role,
    identity::policy_version,
    identity::generate_credential_report,
    identity::credential_report,
    identity::authorization_details,
    storage::list_buckets,
    compute::regions,
    compute::instances,
    compute::security_groups,
    compute::volumes,
    compute::snapshots,
    compute::images,
    compute::vpcs,
    compute::subnets,
    compute::addresses,
    compute::key_pairs,
    compute::user_data,
    functions::list_functions,
    functions::function_policy,
    functions::get_function,
    functions::rest_apis,
    data::list_tables,
    data::describe_table,
    data::list_db_instances,
    data::list_db_clusters,
    data::db_snapshots,
    vault::list_keys,
    vault::describe_key,
    vault::key_policy,
    vault::key_aliases,
    vault::list_secrets,
    vault::describe_secret,
    vault::describe_parameters,
    vault::backup_vaults,
    vault::backup_plans,
    audit::trails,
    audit::trail_status,
    audit::event_selectors,
    audit::detectors,
    audit::detector,
    audit::recorders,
    audit::security_hub,
    audit::alarms,
    audit::log_groups,
    edge::topics,
    edge::hosted_zones,
    edge::distributions,
    edge::certificates,
    edge::mail_identities,
    edge::send_quota,
    edge::user_pools,
    compute::clusters,
    compute::describe_repositories,
    compute::stacks,
    compute::notebooks,
    compute::build_projects,
    functions::foundation_models,
    functions::model_logging,
    compute::managed_instances,
    identity::saml_providers,
    identity::openid_providers,
];

/// The script stands at midnight UTC.
pub(super) fn day(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let account = &world.accounts[at];
    let (midnight, today) = (script.now_ms(), script.day());
    // What is fixed for the account: hours, places, tools.
    let fixed = &mut stream(world.seed, &[50, at as u64]);
    let scanner_hour = fixed.random_range(0.0..23.0);
    let vendor_place = Network::any(fixed, 3);
    let scanner_tool = agent::boto(fixed);
    let vendor_tool = agent::go(fixed);
    let security =
        world.accounts.iter().position(|one| one.purpose == super::super::world::Purpose::Security).unwrap_or(0);

    backup(script, at);
    if let Some(role) = account.roles_of(|holder| holder == Holder::Scanner).next() {
        let place = world.accounts[security].egress.address(&mut stream(world.seed, &[51]));
        let hour = midnight + (scanner_hour * 3_600_000.0) as i64;
        script.between(hour, hour + 90_000);
        // The scanner comes from the security account, through its own role there.
        let by = world.accounts[security].roles_of(|holder| holder == Holder::Scanner).next();
        let session = match by {
            Some(by) if security != at => {
                let first = script.held(by, "scan", place, scanner_tool);
                script.assume_role(&first, role, "posture-scan")
            }
            _ => script.held(role, "posture-scan", place, scanner_tool),
        };
        let most = (script.left() / 2).clamp(10, 400) as usize;
        scan(script, &session, most, (40, 420));
    }
    // A vendor's monitor asks the same few things every hour or so.
    if let Some(role) = account.roles_of(|holder| holder == Holder::Vendor).next() {
        let vendor_account = super::super::names::account_id(&mut stream(world.seed, &[52]));
        let times = (script.left() / 18).min(24) as i64;
        for hour in 0..times {
            let hour = midnight + hour * (DAY_MS / times.max(1));
            script.between(hour, hour + 120_000);
            let source = vendor_place.address(script.rng());
            let mut by = script.foreign(at, source, vendor_tool.clone());
            by.identity = Identity::ForeignAccount {
                id: vendor_account.clone(),
                principal: super::super::names::unique_id(&mut stream(world.seed, &[55]), "AIDA"),
            };
            let session = script.assume_role(&by, role, "monitoring");
            for call in [
                compute::instances as Make,
                audit::alarms,
                data::list_db_instances,
                functions::list_functions,
                edge::topics,
            ] {
                attempt(script, &session, call, 0.002);
                script.wait_ms(80, 900);
            }
        }
    }
    // Auditors come for some days.
    let hard = world.setting == Setting::Hard;
    let audited = (today + at as i64 * 3) % if hard { 11 } else { 23 } < 2;
    if let (true, Some(role)) = (audited && today % 7 < 5, account.roles_of(|holder| holder == Holder::Auditor).next())
    {
        let place = super::super::world::foreign_network(&mut stream(world.seed, &[53, at as u64, (today / 4) as u64]));
        script.between(midnight + 25_000_000, midnight + 50_000_000);
        let source = place.address(script.rng());
        let tool = if script.rng().random_bool(0.5) { agent::cli(script.rng()) } else { agent::boto(script.rng()) };
        let mut session = script.held(role, "external-auditor", source, tool);
        session.mfa = true;
        scan(script, &session, 160, (300, 20_000));
    }
}

/// Goes through everything, some of it several times, refused here and there.
pub(super) fn scan(script: &mut Script<'_>, session: &Session, most: usize, wait_ms: (i64, i64)) {
    let refused = script.rng().random_range(0.0..0.06);
    let mut made = 0;
    let mut session = session.clone();
    'all: for region in script.world().accounts[session.account].regions.clone() {
        session.region = region;
        for call in EVERYTHING {
            for _ in 0..*pick(script.rng(), &[0, 1, 1, 1, 3]) {
                attempt(script, &session, *call, refused);
                script.wait_ms(wait_ms.0, wait_ms.1);
                made += 1;
                if made >= most {
                    break 'all;
                }
            }
        }
    }
}

fn backup(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let account = &world.accounts[at];
    let midnight = script.now_ms();
    let Some(role) = account.roles_of(|holder| holder == Holder::Backup).next() else { return };
    let hour = stream(world.seed, &[54, at as u64]).random_range(0.0..6.0);
    script.at(midnight + (hour * 3_600_000.0) as i64);
    let mut session = script.service_assumes("backup.amazonaws.com", role, "AWSBackup-Job");
    session.identity = Identity::Role {
        role: Box::new(role.clone()),
        session_name: "AWSBackup-Job".to_owned(),
        delivery: None,
        invoked_by: Some("backup.amazonaws.com"),
        web_identity: None,
    };
    let count = (script.left() / 40).clamp(1, 30);
    for _ in 0..count {
        for call in [compute::create_snapshot as Make, compute::snapshots, vault::recovery_points] {
            attempt(script, &session, call, 0.002);
            script.wait_ms(400, 20_000);
        }
        if script.rng().random_bool(0.6) {
            attempt(script, &session, compute::delete_snapshot, 0.0);
            script.wait_ms(100, 2_000);
            attempt(script, &session, vault::delete_recovery_point, 0.0);
            if script.rng().random_bool(0.4) {
                attempt(script, &session, data::delete_db_snapshot, 0.0);
            }
        }
        if script.rng().random_bool(0.3) {
            let database = pick(script.rng(), &account.databases).clone();
            let snapshot = format!("{database}-{}", script.day());
            let call = data::create_db_snapshot(account, script.rng(), &database, &snapshot);
            script.call(&session, call);
            script.wait_ms(400, 9_000);
        }
    }
}
