//! Trying things out: experiments, load tests, new services, new mail, new people.

use rand::RngExt;

use super::Lookalike;
use super::cast::{Who, cast};
use crate::generate::campaign::entry::new_user;
use crate::generate::campaign::phase;
use crate::generate::campaign::vocabulary::{compute, edge, functions, identity, new_name, one, user_name};
use crate::generate::script::Script;

pub(super) const TWINS: &[Lookalike] = &[
    Lookalike { of: "leaked_key_mail", play: mail_campaign },
    Lookalike { of: "public_key_mining", play: load_test },
    Lookalike { of: "public_key_mining", play: short_lived_runners },
    Lookalike { of: "model_hijack", play: model_experiment },
    Lookalike { of: "unusual_service_mining", play: platform_trial },
    Lookalike { of: "console_mining", play: workshop },
    Lookalike { of: "container_mining", play: batch_burst },
    Lookalike { of: "function_backdoor", play: new_integration },
    Lookalike { of: "repository_key_archive", play: data_science },
];

/// A product launch: a new sender and many letters.
fn mail_campaign(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::MovedApplication, Who::Usual, Who::FreshUser, Who::Vendor]);
    actor.survey(
        &[
            edge::send_quota,
            edge::sending_account,
            edge::send_statistics,
            edge::mail_identities,
            edge::mail_verification,
            edge::sms_attributes,
            edge::sms_sandbox,
            edge::topics,
            identity::caller_identity,
        ],
        7,
    );
    actor.maybe(0.6, edge::create_mail_identity);
    actor.maybe(0.4, edge::verify_mail_identity);
    actor.maybe(0.3, edge::mail_account_details);
    actor.maybe(0.2, edge::enable_sending);
    phase::send_mail(actor, 1.0);
}

/// Many instances for an afternoon, in more than one region.
fn load_test(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Away, Who::NewPipeline, Who::NewTool, Who::FreshUser]);
    actor.survey(
        &[
            compute::regions,
            compute::account_attributes,
            compute::instances,
            compute::quotas,
            compute::instance_types,
            compute::security_groups,
            compute::vpcs,
            compute::subnets,
        ],
        6,
    );
    actor.maybe(0.4, compute::quota_increase);
    phase::start_instances(
        actor,
        0.8,
        &[
            "c5.4xlarge",
            "m5.xlarge",
            "c5a.24xlarge",
            "t3.medium",
            "m5.large",
            "c5.2xlarge",
            "g4dn.xlarge",
            "p3.2xlarge",
            "t3.xlarge",
        ],
    );
    actor.fill(1.0, compute::terminate_instances);
}

/// Builds that bring their own machines, or a grid that grows at night: started and gone within the hour.
fn short_lived_runners(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::NewPipeline, Who::Pipeline, Who::Machine, Who::MovedApplication]);
    let kinds =
        ["c5.large", "m5.large", "c5.xlarge", "c5.2xlarge", "c5.4xlarge", "m5.xlarge", "t3.medium", "g4dn.xlarge"];
    let kind = one(&kinds, actor.script.rng());
    actor.survey(&[compute::images, compute::subnets, compute::security_groups, compute::quotas], 3);
    actor.rounds(1.0, 3, |actor| {
        actor.quick(|account, rng| compute::run_instances(account, rng, kind));
        actor.quick(compute::instances);
        let ends = actor.chance(0.6);
        actor.quick(if ends { compute::terminate_instances } else { compute::instances });
    });
}

/// Somebody tries which model answers best.
fn model_experiment(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(
        script,
        volume,
        &[Who::Usual, Who::NewTool, Who::Away, Who::MovedApplication, Who::FreshUser, Who::Newcomer],
    );
    actor.survey(
        &[
            functions::foundation_models,
            functions::model_availability,
            functions::inference_profiles,
            functions::model_logging,
            identity::caller_identity,
            compute::quotas,
        ],
        5,
    );
    actor.maybe(0.3, functions::model_use_case);
    actor.maybe(0.4, functions::model_agreement);
    phase::ask_models(actor, 1.0);
}

/// A team tries managed builds, notebooks and containers.
fn platform_trial(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Newcomer, Who::NewPipeline, Who::NewTool]);
    actor.survey(
        &[compute::clusters, compute::notebooks, compute::build_projects, compute::stacks, compute::regions],
        4,
    );
    if actor.chance(0.4) {
        let role = new_name(actor.script.rng());
        actor.call(|account, rng| identity::create_role(account, rng, &role, "codebuild.amazonaws.com"));
        actor.call(|account, rng| {
            identity::attach_role_policy(account, rng, &role, "AmazonEC2ContainerRegistryFullAccess")
        });
    }
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
    if actor.chance(0.5) {
        phase::run_containers(actor, 1.0);
    } else {
        phase::read_code(actor, 1.0);
    }
}

/// A newcomer, or a whole class, looks at everything in the console and starts what the course asks for.
fn workshop(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Newcomer, Who::Newcomer, Who::Away, Who::Usual]);
    phase::look_at_people(actor, 5);
    phase::look_at_things(actor, 14);
    if actor.chance(0.5) {
        phase::read_buckets(actor, 0.3);
    }
    if actor.chance(0.3) {
        let user = user_name(actor.account(), actor.script.rng());
        actor.call(|account, rng| identity::login_profile_for(account, rng, &user));
        if actor.chance(0.5) {
            new_user(actor);
        }
    }
    if actor.chance(0.6) {
        phase::start_instances(actor, 1.0, &["t3.micro", "m5.large", "m5.xlarge", "t3.xlarge"]);
    } else {
        phase::read_code(actor, 1.0);
    }
}

/// Month-end computing.
fn batch_burst(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Machine, Who::Machine, Who::Pipeline, Who::NewPipeline]);
    actor.maybe(0.5, identity::caller_identity);
    if actor.chance(0.5) {
        phase::look_at_things(actor, 8);
    }
    if actor.chance(0.3) {
        phase::read_secrets(actor, 0.2);
    }
    if actor.chance(0.7) {
        phase::run_containers(actor, 1.0);
    } else {
        phase::start_instances(actor, 1.0, &["c5.xlarge", "m5.large"]);
    }
}

/// A function behind an address, a timer or an API is built and tried until it works.
fn new_integration(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Away, Who::NewTool, Who::NewPipeline, Who::Newcomer]);
    if actor.chance(0.5) {
        phase::look_at_things(actor, 5);
    }
    let fresh = new_name(actor.script.rng());
    let existing = actor.name(|account| &account.functions);
    let rule = new_name(actor.script.rng());
    let makes_new = actor.chance(0.6);
    let function = if makes_new { fresh } else { existing };
    if makes_new {
        actor.call(|account, rng| functions::create_function(account, rng, &function));
    }
    actor.call(|account, rng| functions::update_function(account, rng, &function));
    actor.maybe(0.5, |account, rng| functions::configure_function(account, rng, &function));
    match actor.script.rng().random_range(0..3) {
        0 => {
            actor.call(|account, rng| functions::put_rule(account, rng, &rule));
            actor.call(|account, rng| functions::put_targets(account, rng, &rule, &function));
        }
        1 => {
            actor.call(functions::create_rest_api);
            actor.call(functions::create_deployment);
            actor.maybe(0.7, |account, rng| {
                functions::permit_function(account, rng, &function, "apigateway.amazonaws.com")
            });
        }
        _ => actor.call(|account, rng| functions::function_url(account, rng, &function)),
    }
    actor.fill(0.7, |account, rng| match rng.random_range(0..6) {
        0 => functions::update_function(account, rng, &function),
        _ => functions::invoke(account, rng, &function),
    });
    if actor.chance(0.3) {
        phase::read_secrets(actor, 1.0);
    } else {
        phase::read_logs(actor, 1.0);
    }
}

/// A data scientist follows an idea through buckets, tables and lake.
fn data_science(script: &mut Script<'_>, volume: u32) {
    let actor = &mut cast(script, volume, &[Who::Usual, Who::Away, Who::Newcomer, Who::NewTool]);
    actor.maybe(0.4, identity::caller_identity);
    if actor.chance(0.3) {
        phase::look_at_things(actor, 4);
    }
    if actor.chance(0.5) {
        phase::query_lake(actor, 0.4);
    }
    phase::read_buckets(actor, 0.7);
    if actor.chance(0.4) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
}
