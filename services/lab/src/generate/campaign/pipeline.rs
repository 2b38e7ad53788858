//! Build servers, containers and engineers' machines as the way in.

use rand::RngExt;

use super::actor::{Actor, Renewal};
use super::entry::{Prey, any_role, enter, session_name};
use super::phase;
use super::vocabulary::{compute, data, functions, identity, storage, vault};
use super::{Campaign, Plan};
use crate::generate::agent;
use crate::generate::script::Script;
use crate::generate::world::{Holder, Purpose};

pub(super) const FAMILIES: &[Campaign] = &[
    Campaign {
        family: "pipeline_secrets",
        source: "CircleCI incident report (January 2023): customers' cloud keys taken from a build service and tried",
        play: pipeline_secrets,
    },
    Campaign {
        family: "container_to_state_files",
        source: "Sysdig, SCARLETEEL (February 2023): container, instance metadata, function code, state files in a bucket, other accounts",
        play: container_to_state_files,
    },
    Campaign {
        family: "source_and_images",
        source: "Sisense incident, CISA alert of April 2024: a token in source code opened terabytes in buckets",
        play: source_and_images,
    },
    Campaign {
        family: "engineer_backups",
        source: "LastPass notices (December 2022, March 2023): an engineer's keys, decryption keys and backups in a shared bucket",
        play: engineer_backups,
    },
    Campaign {
        family: "deploy_role_hop",
        source: "Unit 42 and Datadog on role chaining from build systems (2023-2024): a deploy role leads from account to account",
        play: deploy_role_hop,
    },
    Campaign {
        family: "build_tampering",
        source: "AWS-2025-015 and Wiz on CodeBreach: a build project's credentials misused to change what is built",
        play: build_tampering,
    },
];

fn pipeline_secrets(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Pipeline);
    actor.step("T1078.004");
    actor.maybe(0.7, identity::caller_identity);
    if actor.chance(0.5) {
        phase::look_at_people(actor, 5);
    }
    if actor.chance(0.4) {
        hop(actor, "T1550.001");
    }
    phase::read_secrets(actor, 1.0);
    actor.script.innocent();
}

/// Takes a deploy role of another account of the organisation, or of this one.
fn hop(actor: &mut Actor<'_, '_>, technique: &'static str) {
    let world = actor.script.world();
    let now = actor.session.account;
    let purpose = if actor.chance(0.5) { Purpose::Production } else { Purpose::Staging };
    let target = if actor.chance(0.7) { world.account_for(purpose, actor.script.rng()) } else { now };
    let role = any_role(actor.script, target, |holder| matches!(holder, Holder::Deploy | Holder::Pipeline));
    let name = session_name(actor.script);
    actor.step(technique);
    actor.assumes(&role, &name);
}

fn container_to_state_files(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.7) { Prey::Machine } else { Prey::Function };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1552.005");
    actor.call(identity::caller_identity);
    phase::look_at_things(actor, 8);
    phase::read_code(actor, 0.35);
    phase::read_buckets(actor, 0.6);
    actor.step("T1552.001");
    // A key out of the state file opens another door.
    let account = actor.session.account;
    let owner = &actor.script.world().accounts[account];
    if let Some(user) = owner.users.first().filter(|_| actor.chance(0.6)) {
        let tool = agent::any(actor.script.rng());
        let source = actor.session.source.clone();
        let session = actor.script.user(account, user, source, tool);
        actor.becomes(session, Renewal::Never);
    } else {
        hop(actor, "T1550.001");
    }
    phase::look_at_people(actor, 4);
    phase::look_at_things(actor, 6);
    actor.step("T1555.006");
    actor.fill(1.0, |account, rng| {
        if rng.random_bool(0.5) { vault::secret_value(account, rng) } else { vault::parameter(account, rng) }
    });
    actor.script.innocent();
}

fn source_and_images(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Pipeline);
    phase::read_code(actor, 0.6);
    phase::read_buckets(actor, 1.0);
    actor.script.innocent();
}

fn engineer_backups(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1580");
    actor.survey(
        &[
            vault::backup_vaults,
            vault::protected_resources,
            vault::list_keys,
            vault::key_aliases,
            storage::list_buckets,
        ],
        4,
    );
    if actor.chance(0.5) {
        phase::read_secrets(actor, 0.2);
    }
    let bucket = actor.name(|account| &account.buckets);
    actor.step("T1619");
    actor.call(|account, rng| storage::list_objects(account, rng, &bucket));
    actor.step("T1530");
    let by_snapshot = actor.chance(0.25);
    if by_snapshot {
        phase::read_snapshots(actor, 1.0);
    } else {
        actor.fill(1.0, |account, rng| {
            let key = storage::object_key(rng);
            if rng.random_bool(0.3) {
                vault::decrypt(account, rng)
            } else {
                storage::get_object(account, rng, &bucket, &key)
            }
        });
    }
    actor.script.innocent();
}

fn deploy_role_hop(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.6) { Prey::Pipeline } else { Prey::Person };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1526");
    actor.survey(phase::ORGANISATION, 4);
    actor.step("T1069.003");
    actor.survey(
        &[identity::list_roles, identity::get_role, identity::role_policies, identity::inline_role_policies],
        4,
    );
    let hops = if actor.is_slow() { 2 } else { actor.script.rng().random_range(1..4) };
    for _ in 0..hops {
        hop(actor, "T1078.004");
        actor.step("T1580");
        actor.maybe(0.8, identity::caller_identity);
        actor.survey(phase::THINGS, 4);
    }
    if actor.chance(0.5) {
        phase::read_secrets(actor, 1.0);
    } else {
        phase::read_tables(actor, 1.0);
    }
    actor.script.innocent();
}

fn build_tampering(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Pipeline);
    actor.step("T1580");
    actor.survey(
        &[compute::build_projects, functions::list_functions, compute::describe_repositories, compute::stacks],
        4,
    );
    actor.step("T1195.002");
    if actor.chance(0.5) {
        actor.call(compute::build_project);
    }
    let function = actor.name(|account| &account.functions);
    actor.rounds(0.5, 3, |actor| {
        actor.quick(compute::start_build);
        actor.quick(compute::build_logs);
        actor.quick(compute::build_logs);
    });
    actor.step("T1648");
    actor.call(|account, rng| functions::update_function(account, rng, &function));
    actor.step("T1552");
    actor.fill(1.0, |account, rng| match rng.random_range(0..4) {
        0 => data::get_any_item(account, rng),
        1 => functions::invoke(account, rng, &function),
        2 => vault::parameter(account, rng),
        _ => vault::secret_value(account, rng),
    });
    actor.script.innocent();
}
