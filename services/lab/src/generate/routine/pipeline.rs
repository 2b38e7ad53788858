//! Pipelines: builds at all hours of the working day, deployments in bursts, nightly jobs.

use rand::RngExt;

use super::super::campaign::vocabulary::{
    Make, audit, compute, data, edge, functions, identity, new_name, storage, vault,
};
use super::super::names::{mix, pick, stream};
use super::super::network::Network;
use super::super::script::{Script, Session};
use super::super::world::{DAY_MS, Holder, Role, UserKind, World};
use super::task::{object_key, plan_infrastructure};
use super::{Curve, attempt};

const PROVIDER: &str = "token.actions.example.com";

/// The script stands at midnight UTC.
pub(super) fn day(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let account = &world.accounts[at];
    let (midnight, today) = (script.now_ms(), script.day());
    let roles: Vec<&Role> = account.roles_of(|holder| matches!(holder, Holder::Pipeline | Holder::Deploy)).collect();
    // Deploy days: Tuesdays and Thursdays, or whatever the organisation keeps to.
    let deploys = (today + (mix(world.seed) % 3) as i64) % 7 % 3 == 1;
    let busy = if today % 7 >= 5 {
        0.3
    } else if deploys {
        1.6
    } else {
        0.8
    };
    let runs = ((script.left() as f64 / 45.0) * busy * script.rng().random_range(0.6..1.4)).ceil() as u64;
    for _ in 0..runs.min(400) {
        let curve = if script.rng().random_bool(0.8) { Curve::Business(1) } else { Curve::Nightly(1.0, 240.0) };
        let moment = curve.moment(script.rng());
        script.at(midnight + moment);
        let role = *pick(script.rng(), &roles);
        let session = session(script, world, at, role);
        run(script, &session);
        if script.left() == 0 || script.now_ms() > midnight + 2 * DAY_MS {
            return;
        }
    }
}

/// Runners sit in many networks of one hoster; some organisations run their own.
fn runner(world: &World, script: &mut Script<'_>) -> String {
    let shared: u64 = script.rng().random_range(0..14);
    let rng = &mut stream(mix(world.seed % 3), &[40, shared]);
    let network = Network::any(rng, 200);
    network.address(script.rng())
}

fn session(script: &mut Script<'_>, world: &World, at: usize, role: &Role) -> Session {
    let account = &world.accounts[at];
    // A role is used by one repository's jobs, with one tool.
    let habit = mix(role.id.bytes().fold(9, |sum, byte| mix(sum ^ u64::from(byte))));
    let agent = match habit % 4 {
        0 => super::super::agent::terraform(&mut stream(habit, &[41])),
        1 => super::super::agent::boto(&mut stream(habit, &[41])),
        _ => super::super::agent::cli(&mut stream(habit, &[41])),
    };
    let source = runner(world, script);
    let deployer = account.users.iter().find(|user| user.kind == UserKind::Pipeline);
    match (habit % 5, deployer) {
        (0, Some(user)) => {
            let own = script.user(at, user, account.egress.address(&mut stream(habit, &[42])), agent);
            script.assume_role(&own, role, "deploy")
        }
        (1, _) => {
            // From the tools account, by way of its deploy role.
            let tools = world.accounts.iter().position(|one| one.purpose == super::super::world::Purpose::Tools);
            let from = tools.and_then(|tools| world.accounts[tools].roles_of(|holder| holder == Holder::Deploy).next());
            match from {
                Some(from) if from.account != at => {
                    let first = script.held(from, "pipeline", source, agent);
                    script.assume_role(&first, role, "deploy")
                }
                _ => script.web_identity(role, PROVIDER, &subject(world, habit), source, agent),
            }
        }
        _ => script.web_identity(role, PROVIDER, &subject(world, habit), source, agent),
    }
}

fn subject(world: &World, habit: u64) -> String {
    let product = super::super::names::PRODUCT[(habit % super::super::names::PRODUCT.len() as u64) as usize];
    format!("repo:{}/{product}:ref:refs/heads/main", world.company)
}

fn run(script: &mut Script<'_>, session: &Session) {
    let account = &script.world().accounts[session.account];
    let refused = if script.rng().random_bool(0.06) { 0.3 } else { 0.006 };
    attempt(script, session, identity::caller_identity, 0.0);
    script.wait_ms(200, 3_000);
    match script.rng().random_range(0..13) {
        10 => build(script, session, refused),
        11 => tear_down(script, session, refused),
        0..3 => plan_infrastructure(script, session, refused),
        3..6 => {
            let calls: &[Make] = &[
                compute::registry_token,
                compute::describe_repositories,
                compute::batch_get_image,
                vault::parameters_by_path,
                vault::secret_value,
                compute::task_definition,
                compute::describe_tasks,
                compute::describe_tasks,
                compute::run_task,
                compute::describe_tasks,
                audit::log_streams,
            ];
            steps(script, session, calls, refused);
        }
        6..8 => {
            let name = pick(script.rng(), &account.functions).clone();
            let call = functions::update_function(account, script.rng(), &name);
            script.call(session, call);
            script.wait_ms(800, 9_000);
            let calls: &[Make] =
                &[functions::get_function, functions::function_configuration, functions::create_deployment];
            steps(script, session, calls, refused);
        }
        8 => {
            let bucket = pick(script.rng(), &account.buckets).clone();
            for _ in 0..script.rng().random_range(4..40) {
                let key = object_key(script.rng());
                let call = storage::put_object(account, script.rng(), &bucket, &key);
                script.call(session, call);
                script.wait_ms(30, 500);
            }
            steps(script, session, &[edge::distributions, edge::distribution_configuration], refused);
        }
        _ => {
            let stack = new_name(script.rng());
            debug_assert!(!stack.is_empty());
            let calls: &[Make] = &[
                compute::stacks,
                compute::create_stack,
                compute::stacks,
                compute::stacks,
                compute::build_logs,
                data::describe_table,
                identity::get_role,
            ];
            steps(script, session, calls, refused);
        }
    }
}

/// A build and the wait for it.
fn build(script: &mut Script<'_>, session: &Session, refused: f64) {
    attempt(script, session, compute::repository_pull, refused);
    script.wait_s(0.5, 4.0);
    attempt(script, session, compute::start_build, refused);
    for _ in 0..script.rng().random_range(3..22) {
        script.wait_s(4.0, 16.0);
        attempt(script, session, compute::build_logs, 0.0);
    }
}

/// What a test run had built goes away again.
fn tear_down(script: &mut Script<'_>, session: &Session, refused: f64) {
    let account = &script.world().accounts[session.account];
    for call in
        [compute::terminate_instances as Make, compute::delete_volume, compute::delete_snapshot, compute::delete_volume]
    {
        for _ in 0..script.rng().random_range(0..4) {
            attempt(script, session, call, refused);
            script.wait_ms(300, 5_000);
        }
    }
    if script.rng().random_bool(0.5) {
        let database = format!("test-{}", super::super::names::hex(script.rng(), 6));
        let call = data::delete_db(account, script.rng(), &database);
        script.call(session, call);
        script.wait_ms(300, 5_000);
        attempt(script, session, data::delete_db_snapshot, refused);
    }
}

fn steps(script: &mut Script<'_>, session: &Session, calls: &[Make], refused: f64) {
    for call in calls {
        attempt(script, session, *call, refused);
        script.wait_ms(150, 6_000);
    }
}
