//! Other people's machines, models and hands.

use rand::RngExt;

use super::entry::{Prey, enter, new_user};
use super::phase;
use super::vocabulary::{compute, functions, identity, new_name};
use super::{Campaign, Plan};
use crate::generate::script::Script;

pub(super) const FAMILIES: &[Campaign] = &[
    Campaign {
        family: "model_hijack",
        source: "Sysdig, LLMjacking (May 2024) and Permiso (October 2024): stolen keys call hosted language models, logging asked about first",
        play: model_hijack,
    },
    Campaign {
        family: "unusual_service_mining",
        source: "Sysdig, AMBERSQUID (September 2023): mining through Amplify, CodeBuild, SageMaker, ECS instead of instances",
        play: unusual_service_mining,
    },
    Campaign {
        family: "console_mining",
        source: "Permiso, GUI-vil (May 2023): leaked key, then the console by hand, buckets viewed, instances started, users made",
        play: console_mining,
    },
    Campaign {
        family: "fleet_command",
        source: "Mandiant on UNC3944 and Mitiga on the SSM agent (2023): an administrator's session runs commands on the whole fleet",
        play: fleet_command,
    },
    Campaign {
        family: "container_mining",
        source: "Cado and Trend Micro on TeamTNT (2020-2021): credentials read from containers, the account searched, containers run",
        play: container_mining,
    },
];

fn model_hijack(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Application } else { Prey::Person };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1526");
    actor.survey(
        &[
            functions::foundation_models,
            functions::model_logging,
            functions::model_availability,
            functions::inference_profiles,
            identity::caller_identity,
            compute::quotas,
        ],
        6,
    );
    if actor.chance(0.3) {
        actor.step("T1098");
        actor.maybe(0.6, functions::model_use_case);
        actor.call(functions::model_agreement);
    }
    phase::ask_models(actor, 1.0);
    actor.script.innocent();
}

fn unusual_service_mining(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Pipeline } else { Prey::Person };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1580");
    actor.survey(
        &[compute::clusters, compute::notebooks, compute::build_projects, compute::stacks, compute::regions],
        4,
    );
    if !actor.is_slow() && actor.chance(0.5) {
        let role = new_name(actor.script.rng());
        actor.step("T1098.003");
        actor.call(|account, rng| identity::create_role(account, rng, &role, "codebuild.amazonaws.com"));
        actor.call(|account, rng| {
            identity::attach_role_policy(account, rng, &role, "AmazonEC2ContainerRegistryFullAccess")
        });
    }
    actor.step("T1496");
    if actor.chance(0.5) {
        actor.rounds(0.4, 3, |actor| {
            let by_app = actor.chance(0.5);
            actor.quick(if by_app { compute::amplify_app } else { compute::build_project });
            actor.quick(if by_app { compute::amplify_job } else { compute::start_build });
            actor.quick(compute::build_logs);
        });
    }
    if actor.chance(0.4) {
        actor.fill(0.3, compute::notebook);
    }
    phase::run_containers(actor, 1.0);
    actor.script.innocent();
}

fn console_mining(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    phase::look_at_people(actor, 6);
    phase::look_at_things(actor, 12);
    phase::read_buckets(actor, 0.3);
    if !actor.is_slow() && actor.chance(0.4) {
        if actor.chance(0.5) {
            new_user(actor);
        } else {
            let user = super::vocabulary::user_name(actor.account(), actor.script.rng());
            actor.step("T1098");
            actor.call(|account, rng| identity::login_profile_for(account, rng, &user));
        }
    }
    phase::start_instances(actor, 1.0, &["m5.xlarge", "c5.2xlarge", "t3.xlarge", "p3.2xlarge"]);
    actor.script.innocent();
}

fn fleet_command(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    phase::look_at_things(actor, 6);
    if actor.chance(0.3) {
        phase::read_secrets(actor, 0.3);
    }
    phase::command_fleet(actor, 1.0);
    if actor.chance(0.3) {
        actor.step("T1021.004");
        actor.call(compute::push_ssh_key);
    }
    actor.script.innocent();
}

fn container_mining(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Machine);
    actor.step("T1552.005");
    actor.maybe(0.8, identity::caller_identity);
    phase::look_at_people(actor, 6);
    phase::look_at_things(actor, 14);
    if actor.chance(0.4) {
        phase::read_secrets(actor, 0.3);
    }
    if actor.chance(0.7) {
        phase::run_containers(actor, 1.0);
    } else {
        phase::start_instances(actor, 1.0, &["c5.xlarge", "m5.large"]);
    }
    actor.script.innocent();
}
