//! More odd days: known people with unusual tools, places and roles.

use rand::RngExt;

use super::super::agent;
use super::super::campaign::vocabulary::{Make, audit, compute, data, edge, functions, identity, vault};
use super::super::names::{pick, stream};
use super::super::script::Script;
use super::super::world::{Holder, UserKind, foreign_network};
use super::duty::{review_identities, rotate_key};
use super::oddity::{mass, somebody, tool_session, usual};
use super::task::{fetch_objects, list_storage, look_at_compute, read_logs, some_of};
use super::{attempt, caretaker};

/// The door for emergencies is tested or needed: the root user, the emergency user, or the emergency role.
pub(super) fn break_glass(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let account = &world.accounts[at];
    let person = somebody(script, at);
    let source = person.address(script.day(), script.rng());
    let session = match script.rng().random_range(0..3) {
        0 => script.root(at, source, person.browser()),
        1 => match account.users.iter().find(|user| user.kind == UserKind::BreakGlass) {
            Some(user) => script.sign_in_user(at, user, source, person.browser()),
            None => return,
        },
        _ => {
            let by = tool_session(script, person, at, source, person.tool(&mut stream(1, &[at as u64])).to_owned());
            match account.role_of(|holder| holder == Holder::BreakGlass, script.rng()) {
                Some(role) => script.assume_role(&by, role, &person.name),
                None => return,
            }
        }
    };
    review_identities(script, &session, 0.0);
    some_of(
        script,
        &session,
        0.0,
        &[compute::instances, vault::secret_value, identity::role_policies, audit::trails, audit::costs],
        0.7,
    );
}

/// A new laptop at home or on the road: same person, same work, other agent and network.
pub(super) fn new_laptop(script: &mut Script<'_>, at: usize) {
    let person = somebody(script, at);
    let known = script.rng().random_bool(0.5);
    let source = if known {
        person.address(script.day(), script.rng())
    } else {
        foreign_network(script.rng()).address(script.rng())
    };
    let tool = agent::any(script.rng());
    let session = tool_session(script, person, at, source, tool);
    attempt(script, &session, identity::caller_identity, 0.0);
    for _ in 0..script.rng().random_range(1..5) {
        script.wait_s(5.0, 200.0);
        match script.rng().random_range(0..3) {
            0 => fetch_objects(script, &session, 0.03),
            1 => read_logs(script, &session, 0.03),
            _ => look_at_compute(script, &session, 0.03),
        }
    }
}

/// Somebody new looks at everything and may do little of it.
pub(super) fn first_days(script: &mut Script<'_>, at: usize) {
    let session = usual(script, at);
    attempt(script, &session, identity::caller_identity, 0.0);
    let share = script.rng().random_range(0.15..0.6);
    some_of(script, &session, 0.3, caretaker::EVERYTHING, share);
    list_storage(script, &session, 0.3);
}

/// A program's key on a developer's laptop, to find a fault.
pub(super) fn shared_key(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let person = somebody(script, at);
    let source = person.address(script.day(), script.rng());
    let user = pick(script.rng(), &account.users).clone();
    let tool = person.tool(script.rng()).to_owned();
    let session = script.user(at, &user, source, tool);
    attempt(script, &session, identity::caller_identity, 0.0);
    list_storage(script, &session, 0.15);
    fetch_objects(script, &session, 0.1);
    some_of(
        script,
        &session,
        0.3,
        &[vault::secret_value, vault::parameter, data::list_tables, edge::send_quota, identity::own_user],
        0.6,
    );
}

/// A machine's role assumed or borrowed by an engineer to see what the machine sees.
pub(super) fn debug_with_role_of_machine(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let instance = pick(script.rng(), &account.instances).clone();
    let mut session = script.instance(at, &instance);
    let person = somebody(script, at);
    session.agent = person.tool(script.rng()).to_owned();
    if script.rng().random_bool(0.5) {
        session.source = person.address(script.day(), script.rng());
        session.through_endpoint = false;
    }
    attempt(script, &session, identity::caller_identity, 0.0);
    script.wait_s(2.0, 40.0);
    list_storage(script, &session, 0.2);
    some_of(
        script,
        &session,
        0.25,
        &[
            vault::parameters_by_path,
            vault::secret_value,
            vault::decrypt,
            data::describe_table,
            compute::instances,
            functions::list_functions,
        ],
        0.7,
    );
    fetch_objects(script, &session, 0.05);
}

/// From one account's role into another's and a third's.
pub(super) fn role_chain(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let mut session = usual(script, at);
    for _ in 0..script.rng().random_range(2..5) {
        let next = script.rng().random_range(0..world.accounts.len());
        let holder = |holder| matches!(holder, Holder::Deploy | Holder::Auditor | Holder::Workforce(_));
        let Some(role) = world.accounts[next].role_of(holder, script.rng()) else { continue };
        let name = format!("hop-{next}");
        session = script.assume_role(&session, role, &name);
        script.wait_s(1.0, 60.0);
        look_at_compute(script, &session, 0.08);
        if script.rng().random_bool(0.4) {
            list_storage(script, &session, 0.08);
        }
    }
}

/// A tool that nobody here has used: all that it can ask, once.
pub(super) fn stranger_tool(script: &mut Script<'_>, at: usize) {
    let mut session = usual(script, at);
    session.agent = agent::any(script.rng());
    session.is_console = false;
    let most = script.rng().random_range(20..200);
    caretaker::scan(script, &session, most, (30, 1_500));
}

/// Secrets are rotated or moved to another store: every one is read.
pub(super) fn mass_secrets(script: &mut Script<'_>, at: usize) {
    let session = usual(script, at);
    attempt(script, &session, vault::list_secrets, 0.0);
    let call: Make =
        *pick(script.rng(), &[vault::secret_value as Make, vault::parameter, vault::decrypt, vault::parameters]);
    for _ in 0..mass(script, 15, 160) {
        attempt(script, &session, call, 0.02);
        script.wait_ms(100, 2_500);
    }
    if script.rng().random_bool(0.4) {
        for _ in 0..mass(script, 3, 20) {
            attempt(script, &session, vault::new_secret_value, 0.02);
            script.wait_ms(300, 4_000);
        }
    }
}

/// An inventory for a budget or an audit: listings in every region.
pub(super) fn wide_listing(script: &mut Script<'_>, at: usize) {
    let account = &script.world().accounts[at];
    let mut session = usual(script, at);
    for region in [
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
        "eu-west-1",
        "eu-west-2",
        "eu-central-1",
        "ap-south-1",
        "ap-northeast-2",
        "sa-east-1",
        account.home(),
    ] {
        session.region = region;
        some_of(
            script,
            &session,
            0.06,
            &[
                compute::instances,
                compute::volumes,
                data::list_db_instances,
                functions::list_functions,
                compute::notebooks,
                functions::foundation_models,
                compute::quotas,
            ],
            0.7,
        );
    }
}

pub(super) fn key_rotation(script: &mut Script<'_>, at: usize) {
    let session = usual(script, at);
    for _ in 0..script.rng().random_range(1..4) {
        rotate_key(script, &session, 0.02);
    }
}
