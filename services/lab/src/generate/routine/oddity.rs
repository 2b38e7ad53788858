//! Days that are not like others, for innocent reasons.

use rand::RngExt;

use super::super::agent;
use super::super::campaign::vocabulary::{
    Make, audit, compute, data, edge, functions, identity, new_name, storage, vault,
};
use super::super::names::pick;
use super::super::script::{Script, Session};
use super::super::settings::Setting;
use super::super::world::{DAY_MS, Holder, Person, foreign_network};
use super::stranger::{
    break_glass, debug_with_role_of_machine, first_days, key_rotation, mass_secrets, new_laptop, role_chain,
    shared_key, stranger_tool, wide_listing,
};
use super::task::{list_storage, look_at_compute, object_key, read_logs, some_of};
use super::{attempt, caretaker, unused_region};

type Oddity = fn(&mut Script<'_>, usize);

/// With how often they happen in an account's day on the hard setting.
const ODDITIES: &[(f64, Oddity)] = &[
    (0.22, broken_job),
    (0.14, night_incident),
    (0.26, migration),
    (0.22, new_service),
    (0.08, new_application),
    (0.05, vendor_visit),
    (0.04, break_glass),
    (0.09, new_laptop),
    (0.22, first_days),
    (0.12, shared_key),
    (0.10, debug_with_role_of_machine),
    (0.20, role_chain),
    (0.22, stranger_tool),
    (0.14, mass_secrets),
    (0.20, wide_listing),
    (0.08, key_rotation),
];

/// The script stands at midnight UTC.
pub(super) fn day(script: &mut Script<'_>, at: usize) {
    let midnight = script.now_ms();
    let often = if script.world().setting == Setting::Hard { 1.0 } else { 0.2 };
    let first = script.rng().random_range(0..ODDITIES.len());
    for turn in 0..ODDITIES.len() {
        let (chance, oddity) = ODDITIES[(first + turn) % ODDITIES.len()];
        if script.left() < 12 {
            return;
        }
        if script.rng().random_bool(chance * often) {
            let moment = if script.rng().random_bool(0.7) {
                script.rng().random_range(DAY_MS / 4..DAY_MS * 3 / 4)
            } else {
                script.rng().random_range(0..DAY_MS)
            };
            script.at(midnight + moment);
            oddity(script, at);
        }
    }
}

/// How many calls a mass of them may take without using the whole day up.
pub(super) fn mass(script: &mut Script<'_>, from: u64, to: u64) -> u64 {
    let wanted = script.rng().random_range(from..to);
    wanted.min(script.left() / 2)
}

pub(super) fn somebody<'w>(script: &mut Script<'w>, at: usize) -> &'w Person {
    let now = script.now_ms();
    script.world().person_of(at, now, script.rng())
}

/// The credential of somebody's tool in this account, from wherever they are.
pub(super) fn tool_session(
    script: &mut Script<'_>,
    person: &Person,
    at: usize,
    source: String,
    tool: String,
) -> Session {
    let world = script.world();
    if let Some(own) = person.user
        && own.0 == at
        && script.rng().random_bool(0.6)
    {
        return script.user(at, world.user(own), source, tool);
    }
    let role = world.role(person.role_in(at).unwrap_or(person.roles[0]));
    let subject = format!("{}@{}.example.com", person.name, world.company);
    script.held(role, &subject, source, tool)
}

pub(super) fn usual(script: &mut Script<'_>, at: usize) -> Session {
    let person = somebody(script, at);
    let source = person.address(script.day(), script.rng());
    let tool = person.tool(script.rng()).to_owned();
    tool_session(script, person, at, source, tool)
}

/// A permission went missing: a program is refused again and again until somebody notices.
fn broken_job(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let session = if script.rng().random_bool(0.6) {
        let instance = pick(script.rng(), &account.instances).clone();
        script.instance(at, &instance)
    } else {
        let name = pick(script.rng(), &account.functions).clone();
        script.function(at, &name)
    };
    let call: Make = *pick(
        script.rng(),
        &[
            vault::secret_value as Make,
            vault::decrypt,
            vault::parameters_by_path,
            compute::instances,
            functions::invoke_model,
            storage::list_buckets,
            data::describe_table,
            identity::get_role,
        ],
    );
    let wait = *pick(script.rng(), &[(200, 2_000), (4_000, 20_000), (29_000, 31_000)]);
    for _ in 0..mass(script, 60, 3_000) {
        let call = call(account, script.rng()).denied();
        script.call(&session, call);
        script.wait_ms(wait.0, wait.1);
    }
}

/// Something breaks at night: the one on call looks everywhere, quickly, and repairs.
fn night_incident(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let person = somebody(script, at);
    let role = world.role(person.role_in(at).unwrap_or(person.roles[0]));
    let hour = 3_600_000 * i64::from(27 - person.utc_offset_h) % DAY_MS;
    let midnight = script.now_ms() - (script.now_ms() - world.start_ms).rem_euclid(DAY_MS);
    script.between(midnight + hour, midnight + hour + 5_400_000);
    let place = person.networks[(1 + script.rng().random_range(0..2)) % person.networks.len()].clone();
    let source = place.address(script.rng());
    let console = script.sign_in_from(person, role.account, role, source, person.browser().to_owned());
    for _ in 0..script.rng().random_range(2..6) {
        read_logs(script, &console, 0.02);
        look_at_compute(script, &console, 0.02);
    }
    let calls: &[Make] = &[
        compute::managed_instances,
        compute::shell_session,
        compute::send_command,
        compute::command_result,
        compute::stop_instances,
        compute::terminate_instances,
        data::db_snapshots,
        vault::secret_value,
        compute::run_task,
        compute::describe_tasks,
        audit::mute_alarms,
    ];
    some_of(script, &console, 0.03, calls, 0.6);
}

/// Data moves house: the same read and write, thousands of times, by somebody who never did it before.
fn migration(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let session = if script.rng().random_bool(0.5) {
        usual(script, at)
    } else {
        let by = usual(script, at);
        match account.role_of(|holder| matches!(holder, Holder::Deploy | Holder::Backup), script.rng()) {
            Some(role) => script.assume_role(&by, role, "migration"),
            None => by,
        }
    };
    let (bucket, table) = (pick(script.rng(), &account.buckets).clone(), pick(script.rng(), &account.tables).clone());
    let kind = script.rng().random_range(0..4);
    let target = pick(script.rng(), &account.buckets).clone();
    for _ in 0..mass(script, 80, 1_500) {
        let key = object_key(script.rng());
        let rng = script.rng();
        let call = match kind {
            0 => storage::get_object(account, rng, &bucket, &key),
            1 => data::batch_get_item(account, rng, &table),
            2 => storage::copy_object(account, rng, &target, &key, &bucket),
            _ => data::scan(account, rng, &table),
        };
        script.call(&session, call);
        script.wait_ms(40, 900);
    }
}

/// A team tries what nobody here has used, perhaps in a region of its own.
fn new_service(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let mut session = usual(script, at);
    if script.rng().random_bool(0.5) {
        session.region = unused_region(account, script.rng());
    }
    let sets: &[&[Make]] = &[
        &[
            functions::foundation_models,
            functions::model_availability,
            functions::model_use_case,
            functions::model_agreement,
            functions::invoke_model,
            functions::invoke_model,
            functions::invoke_model,
            functions::converse,
        ],
        &[
            edge::mail_identities,
            edge::verify_mail_identity,
            edge::send_quota,
            edge::mail_account_details,
            edge::send_statistics,
            edge::sending_account,
        ],
        &[
            compute::clusters,
            compute::create_cluster,
            compute::task_definition,
            compute::run_task,
            compute::describe_tasks,
            compute::create_service,
        ],
        &[compute::notebooks, compute::notebook, compute::quotas, compute::quota_increase],
        &[compute::build_projects, compute::build_project, compute::start_build, compute::build_logs],
        &[functions::rest_apis, functions::create_rest_api, functions::create_deployment, functions::list_functions],
        &[compute::amplify_app, compute::amplify_job, edge::hosted_zones, edge::request_certificate],
        &[edge::identity_pools, edge::identity_pool_roles, edge::user_pools, edge::pool_users],
        &[
            compute::instance_types,
            compute::key_pair,
            compute::security_group,
            compute::images,
            gpu,
            compute::instances,
            compute::quota_increase,
        ],
        &[
            vault::backup_vaults,
            vault::backup_plans,
            vault::protected_resources,
            vault::recovery_points,
            vault::restore_job,
        ],
    ];
    let calls = *pick(script.rng(), sets);
    for _ in 0..script.rng().random_range(1..4) {
        some_of(script, &session, 0.12, calls, 0.85);
    }
}

fn gpu(account: &super::super::world::Account, rng: &mut rand_chacha::ChaCha8Rng) -> super::super::call::Call {
    let kind = *pick(rng, &["g5.2xlarge", "p3.8xlarge", "c6i.24xlarge", "g4dn.xlarge"]);
    compute::run_instances(account, rng, kind)
}

/// An administrator makes a user for a new program; it begins its work elsewhere, at once.
fn new_application(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let person = somebody(script, at);
    let role = world.role(person.role_in(at).unwrap_or(person.roles[0]));
    let console = script.sign_in(person, role.account, role);
    script.wait_s(5.0, 40.0);
    let name = new_name(script.rng());
    let user = script.create_user(&console, &name);
    script.wait_s(4.0, 60.0);
    let account = &world.accounts[console.account];
    let call = identity::inline_policy(account, script.rng(), &user.name, "s3:GetObject");
    script.call(&console, call);
    script.wait_s(4.0, 60.0);
    let mut key = script.create_access_key(&console, &user.name);
    script.wait_s(60.0, 4_000.0);
    // Mostly a machine of the house; now and then a hoster's.
    key.source = if script.rng().random_bool(0.7) {
        account.egress.address(script.rng())
    } else {
        foreign_network(script.rng()).address(script.rng())
    };
    key.agent = agent::any(script.rng());
    let bucket = pick(script.rng(), &account.buckets).clone();
    attempt(script, &key, identity::caller_identity, 0.0);
    for _ in 0..mass(script, 10, 300) {
        let object = object_key(script.rng());
        let call = storage::get_object(account, script.rng(), &bucket, &object);
        script.call(&key, call);
        script.wait_ms(90, 6_000);
    }
}

/// A consultant of a vendor, from a foreign account and a foreign network.
fn vendor_visit(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let Some(role) = account.role_of(|holder| matches!(holder, Holder::Vendor | Holder::Auditor), script.rng()) else {
        return;
    };
    let source = foreign_network(script.rng()).address(script.rng());
    let tool = agent::any(script.rng());
    let by = script.foreign(at, source, tool);
    let name = new_name(script.rng());
    let session = script.assume_role(&by, role, &name);
    attempt(script, &session, identity::caller_identity, 0.0);
    script.wait_s(1.0, 30.0);
    look_at_compute(script, &session, 0.1);
    if script.rng().random_bool(0.5) {
        caretaker::scan(script, &session, 90, (100, 6_000));
    } else {
        list_storage(script, &session, 0.1);
        read_logs(script, &session, 0.1);
    }
}
