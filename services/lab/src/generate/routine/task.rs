//! What people do with an account: short coherent pieces of work.

use rand::RngExt;

use super::super::campaign::vocabulary::{Make, audit, compute, data, edge, functions, identity, storage, vault};
use super::super::names::pick;
use super::super::script::{Script, Session};
use super::super::world::Job;
use super::attempt;
use super::duty::{
    change_roles, change_users, costs, find_customer, name_records, organisation_work, review_findings,
    review_identities, rotate_key, search_trail, tidy_snapshots,
};

/// A piece of work; the number is the chance that a call is refused.
pub(super) type Task = fn(&mut Script<'_>, &Session, f64);

/// What somebody of a job does, the usual first.
pub(super) const fn tasks_of(job: Job) -> &'static [Task] {
    match job {
        Job::Developer => &[
            read_logs,
            debug_function,
            look_at_compute,
            read_logs,
            look_up_setting,
            query_table,
            deploy_service,
            pull_images,
            fetch_objects,
            watch_alarms,
        ],
        Job::DataScientist => {
            &[query_lake, fetch_objects, query_lake, ask_model, list_storage, query_table, notebook_work, read_logs]
        }
        Job::PlatformEngineer => &[
            look_at_compute,
            plan_infrastructure,
            read_logs,
            deploy_service,
            shell_into,
            look_up_setting,
            tidy_snapshots,
            name_records,
            change_roles,
            watch_alarms,
            keys_and_secrets,
        ],
        Job::SecurityAnalyst => &[
            review_findings,
            review_identities,
            search_trail,
            review_identities,
            list_storage,
            read_logs,
            look_at_compute,
        ],
        Job::Administrator => &[
            review_identities,
            change_roles,
            change_users,
            look_at_compute,
            search_trail,
            organisation_work,
            costs,
            rotate_key,
            name_records,
            keys_and_secrets,
        ],
        Job::Support => &[read_logs, query_table, watch_alarms, find_customer, look_at_compute, shell_into],
        Job::Finance => &[costs, costs, costs, organisation_work, list_storage],
        Job::Manager => &[watch_alarms, costs, look_at_compute],
    }
}

/// Makes some of the calls in their order, a page of the console or a script's lines at a time.
pub(super) fn some_of(script: &mut Script<'_>, session: &Session, refused: f64, calls: &[Make], share: f64) {
    for call in calls {
        if script.rng().random_bool(share) {
            attempt(script, session, *call, refused);
            pause(script, session);
        }
    }
}

/// The console asks several things at once; fingers take their time.
fn pause(script: &mut Script<'_>, session: &Session) {
    if session.is_console && script.rng().random_bool(0.7) {
        script.wait_ms(20, 900);
    } else {
        script.wait_s(2.0, 45.0);
    }
}

/// The same call several times; waits in seconds.
pub(super) fn repeat(
    script: &mut Script<'_>,
    session: &Session,
    refused: f64,
    call: Make,
    from: u32,
    to: u32,
    wait: (f64, f64),
) {
    for _ in 0..script.rng().random_range(from..to) {
        attempt(script, session, call, refused);
        script.wait_s(wait.0, wait.1);
    }
}

pub(super) fn look_at_compute(script: &mut Script<'_>, session: &Session, refused: f64) {
    let calls: &[Make] = &[
        compute::instances,
        compute::volumes,
        compute::security_groups,
        compute::subnets,
        compute::vpcs,
        compute::images,
        compute::addresses,
        compute::key_pairs,
        audit::alarms,
        compute::regions,
        compute::account_attributes,
        compute::instance_types,
        compute::snapshots,
        compute::clusters,
        compute::stacks,
        compute::kubernetes_clusters,
    ];
    some_of(script, session, refused, calls, 0.5);
    if script.rng().random_bool(0.1) {
        attempt(script, session, compute::stop_instances, refused);
    }
}

pub(super) fn read_logs(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(script, session, refused, &[audit::log_groups, audit::log_streams], 0.8);
    repeat(script, session, refused, audit::filter_log_events, 1, 9, (1.0, 40.0));
    if script.rng().random_bool(0.3) {
        repeat(script, session, refused, audit::log_query, 1, 4, (5.0, 60.0));
    }
}

fn watch_alarms(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[audit::alarms, edge::topics, functions::list_functions, data::list_db_instances],
        0.7,
    );
}

fn debug_function(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[
            functions::list_functions,
            functions::get_function,
            functions::function_configuration,
            functions::function_policy,
        ],
        0.7,
    );
    let account = &script.world().accounts[session.account];
    let name = pick(script.rng(), &account.functions).clone();
    for _ in 0..script.rng().random_range(0..5) {
        let call = functions::invoke(account, script.rng(), &name);
        script.call(session, call);
        script.wait_s(3.0, 60.0);
        attempt(script, session, audit::filter_log_events, refused);
        script.wait_s(3.0, 60.0);
    }
    if script.rng().random_bool(0.35) {
        let call = functions::update_function(account, script.rng(), &name);
        script.call(session, call);
        script.wait_s(5.0, 60.0);
        let call = functions::configure_function(account, script.rng(), &name);
        script.call(session, call);
    }
}

fn look_up_setting(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[vault::describe_parameters, vault::parameters_by_path, vault::list_secrets, vault::describe_secret],
        0.6,
    );
    repeat(script, session, refused * 1.5, vault::parameter, 0, 6, (1.0, 30.0));
    repeat(script, session, refused * 1.5, vault::secret_value, 0, 3, (2.0, 40.0));
}

fn keys_and_secrets(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[
            vault::list_keys,
            vault::key_aliases,
            vault::describe_key,
            vault::key_policy,
            vault::list_secrets,
            vault::new_secret_value,
            vault::grant,
        ],
        0.5,
    );
    repeat(script, session, refused, vault::secret_value, 0, 5, (1.0, 20.0));
}

fn query_table(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(script, session, refused, &[data::list_tables, data::describe_table], 0.8);
    let account = &script.world().accounts[session.account];
    let table = pick(script.rng(), &account.tables).clone();
    for _ in 0..script.rng().random_range(1..8) {
        let rng = script.rng();
        let call = match rng.random_range(0..4) {
            0 => data::scan(account, rng, &table),
            1 => data::get_item(account, rng, &table),
            _ => data::query(account, rng, &table),
        };
        let refuses = script.rng().random_bool(refused);
        script.call(session, if refuses { call.denied() } else { call });
        script.wait_s(2.0, 50.0);
    }
}

fn query_lake(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(script, session, refused, &[data::work_groups, data::catalogue_databases, data::catalogue_tables], 0.7);
    for _ in 0..script.rng().random_range(1..6) {
        attempt(script, session, data::start_query, refused);
        repeat(script, session, 0.0, data::query_state, 1, 5, (0.5, 4.0));
        attempt(script, session, data::query_results, 0.0);
        script.wait_s(20.0, 400.0);
    }
}

pub(super) fn list_storage(script: &mut Script<'_>, session: &Session, refused: f64) {
    attempt(script, session, storage::list_buckets, refused);
    let account = &script.world().accounts[session.account];
    for _ in 0..script.rng().random_range(1..6) {
        let bucket = pick(script.rng(), &account.buckets).clone();
        let call = storage::list_objects(account, script.rng(), &bucket);
        script.call(session, call);
        pause(script, session);
    }
}

/// Copies some or many objects of one bucket: `aws s3 sync` by a person.
pub(super) fn fetch_objects(script: &mut Script<'_>, session: &Session, refused: f64) {
    let account = &script.world().accounts[session.account];
    let bucket = pick(script.rng(), &account.buckets).clone();
    let call = storage::list_objects(account, script.rng(), &bucket);
    script.call(session, call);
    let many = if script.rng().random_bool(0.12) { 180 } else { 25 };
    for _ in 0..script.rng().random_range(2..many) {
        let key = object_key(script.rng());
        let call = storage::get_object(account, script.rng(), &bucket, &key);
        let refuses = script.rng().random_bool(refused);
        script.call(session, if refuses { call.denied() } else { call });
        script.wait_ms(60, 1_500);
    }
    if script.rng().random_bool(0.3) {
        let key = object_key(script.rng());
        let call = storage::put_object(account, script.rng(), &bucket, &key);
        script.call(session, call);
    }
}

/// `reports/2026/02/part-00017.parquet`
pub(super) fn object_key(rng: &mut rand_chacha::ChaCha8Rng) -> String {
    let folder = pick(rng, &["reports", "raw", "exports", "images", "invoices", "models", "logs", "users"]);
    let end = pick(rng, &["parquet", "json", "csv.gz", "pdf", "jpg", "txt"]);
    format!("{folder}/2026/{:02}/part-{:05}.{end}", rng.random_range(1..4), rng.random_range(0..90_000))
}

fn ask_model(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[functions::foundation_models, functions::inference_profiles, functions::model_availability],
        0.4,
    );
    let call: Make =
        *pick(script.rng(), &[functions::invoke_model as Make, functions::converse, functions::stream_model]);
    repeat(script, session, refused, call, 2, 40, (1.0, 20.0));
}

fn notebook_work(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[compute::notebooks, data::catalogue_tables, compute::notebook, compute::quotas],
        0.5,
    );
}

fn deploy_service(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(
        script,
        session,
        refused,
        &[
            compute::registry_token,
            compute::describe_repositories,
            compute::clusters,
            compute::describe_tasks,
            compute::task_definition,
            compute::run_task,
            compute::describe_tasks,
            audit::filter_log_events,
        ],
        0.7,
    );
}

fn pull_images(script: &mut Script<'_>, session: &Session, refused: f64) {
    attempt(script, session, compute::registry_token, refused);
    script.wait_s(0.5, 2.0);
    attempt(script, session, compute::batch_get_image, refused);
    repeat(script, session, 0.0, compute::image_layer, 2, 10, (0.1, 0.9));
}

/// `terraform plan`: asks after everything, quickly, and now and then changes something.
pub(super) fn plan_infrastructure(script: &mut Script<'_>, session: &Session, refused: f64) {
    const ASKS: &[Make] = &[
        identity::get_role,
        identity::role_policies,
        identity::inline_role_policies,
        identity::policy_version,
        compute::instances,
        compute::subnets,
        compute::vpcs,
        compute::security_groups,
        vault::describe_key,
        vault::key_policy,
        data::describe_table,
        functions::get_function,
        audit::log_groups,
        edge::zone,
        edge::record_sets,
        vault::describe_secret,
        vault::parameters,
        data::list_db_instances,
        audit::alarms,
        edge::topics,
        functions::function_policy,
        compute::describe_repositories,
    ];
    let mut session = session.clone();
    session.agent = super::super::agent::terraform(&mut super::super::names::stream(
        super::super::names::mix(session.account as u64 + script.world().seed),
        &[4],
    ));
    session.is_console = false;
    attempt(script, &session, identity::caller_identity, 0.0);
    for _ in 0..script.rng().random_range(15..110) {
        let call = *pick(script.rng(), ASKS);
        attempt(script, &session, call, refused * 0.3);
        script.wait_ms(15, 260);
    }
    if script.rng().random_bool(0.4) {
        script.wait_s(20.0, 300.0);
        for _ in 0..script.rng().random_range(1..8) {
            let call: Make = *pick(
                script.rng(),
                &[
                    compute::security_group as Make,
                    audit::retention,
                    compute::task_definition,
                    functions::create_deployment,
                    compute::create_stack,
                    vault::grant,
                    edge::request_certificate,
                ],
            );
            attempt(script, &session, call, refused);
            script.wait_ms(300, 4_000);
        }
    }
}

fn shell_into(script: &mut Script<'_>, session: &Session, refused: f64) {
    some_of(script, session, refused, &[compute::instances, compute::managed_instances, compute::shell_session], 0.85);
    if script.rng().random_bool(0.35) {
        script.wait_s(20.0, 300.0);
        some_of(
            script,
            session,
            refused,
            &[compute::send_command, compute::command_result, compute::command_invocations],
            0.8,
        );
    }
}
