//! Staying: functions, trust, federation, names, and less logging.

use rand::RngExt;

use super::actor::Renewal;
use super::entry::{Prey, any_role, enter, session_name};
use super::phase;
use super::vocabulary::{Make, audit, edge, functions, identity, new_name, one};
use super::{Campaign, Plan};
use crate::generate::names::account_id;
use crate::generate::script::{Identity, Script};
use crate::generate::world::{Holder, foreign_network};

pub(super) const FAMILIES: &[Campaign] = &[
    Campaign {
        family: "function_backdoor",
        source: "Datadog Security Labs, Tales from the cloud trenches (May 2025): a function behind an API or a timer hands out credentials",
        play: function_backdoor,
    },
    Campaign {
        family: "trust_backdoor",
        source: "Invictus on DangerDev (January 2024) and Unit 42 on JavaGhost (2025): roles that trust an outside account",
        play: trust_backdoor,
    },
    Campaign {
        family: "federation_survival",
        source: "CrowdStrike (January 2023): GetFederationToken and a sign-in token outlive the deleted key",
        play: federation_survival,
    },
    Campaign {
        family: "name_tampering",
        source: "Cisco Talos, Sea Turtle (2019), at Route 53 and CloudFront: records and origins turned elsewhere, certificates asked for",
        play: name_tampering,
    },
    Campaign {
        family: "quiet_logs",
        source: "Permiso on LUCR-3 and CISA AA23-320A (2023): trails and detectors turned down before data is taken",
        play: quiet_logs,
    },
];

fn function_backdoor(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.6) { Prey::Person } else { Prey::Pipeline };
    let actor = &mut enter(script, plan, prey);
    phase::look_at_things(actor, 6);
    let own = new_name(actor.script.rng());
    let theirs = actor.name(|account| &account.functions);
    let makes_new = actor.chance(0.5);
    let function = if makes_new { own } else { theirs };
    let rule = new_name(actor.script.rng());
    actor.step("T1648");
    if makes_new {
        actor.call(|account, rng| functions::create_function(account, rng, &function));
    } else {
        actor.call(|account, rng| functions::update_function(account, rng, &function));
        actor.maybe(0.4, |account, rng| functions::configure_function(account, rng, &function));
    }
    actor.step("T1546");
    match actor.script.rng().random_range(0..3) {
        0 => {
            actor.call(|account, rng| functions::put_rule(account, rng, &rule));
            actor.call(|account, rng| functions::put_targets(account, rng, &rule, &function));
        }
        1 => {
            actor.call(functions::create_rest_api);
            actor.call(functions::create_deployment);
            actor.maybe(0.6, |account, rng| {
                functions::permit_function(account, rng, &function, "apigateway.amazonaws.com")
            });
        }
        _ => actor.call(|account, rng| functions::function_url(account, rng, &function)),
    }
    actor.step("T1648");
    actor.fill(0.6, |account, rng| functions::invoke(account, rng, &function));
    phase::read_secrets(actor, 1.0);
    actor.script.innocent();
}

fn trust_backdoor(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    phase::look_at_people(actor, 12);
    let account = actor.session.account;
    let outside = account_id(actor.script.rng());
    let existing =
        any_role(actor.script, account, |holder| matches!(holder, Holder::Vendor | Holder::Backup | Holder::Deploy));
    let opens_existing = actor.is_slow() || actor.chance(0.6);
    actor.step("T1098.003");
    if opens_existing {
        actor.call(|account, rng| identity::update_trust(account, rng, &existing.name, &outside));
    } else {
        let name = new_name(actor.script.rng());
        actor.call(|account, rng| identity::create_role(account, rng, &name, &outside));
        let policy = one(&["ReadOnlyAccess", "AdministratorAccess", "PowerUserAccess"], actor.script.rng());
        actor.call(|account, rng| identity::attach_role_policy(account, rng, &name, policy));
    }
    // Back through the new door, from elsewhere.
    let network = foreign_network(actor.script.rng());
    let source = network.address(actor.script.rng());
    let tool = actor.session.agent.clone();
    let name = session_name(actor.script);
    let by = actor.script.foreign(account, source, tool);
    actor.step("T1199");
    let session = actor.does(|script, _| script.assume_role(&by, &existing, &name));
    actor.becomes(session, Renewal::Assume { by: Box::new(by), role: Box::new(existing), name });
    phase::look_at_things(actor, 6);
    if actor.chance(0.5) {
        phase::read_buckets(actor, 1.0);
    } else {
        phase::read_secrets(actor, 1.0);
    }
    actor.script.innocent();
}

fn federation_survival(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1087.004");
    actor.maybe(0.8, identity::caller_identity);
    if matches!(actor.session.identity, Identity::User { .. }) {
        let name = new_name(actor.script.rng());
        actor.step("T1550.001");
        let issued = actor.does(|script, session| script.federation_token(session, &name));
        actor.becomes(issued, Renewal::Never);
        actor.maybe(0.6, identity::signin_token);
    }
    phase::look_at_people(actor, 8);
    phase::look_at_things(actor, 10);
    if actor.chance(0.5) {
        phase::read_secrets(actor, 0.4);
    }
    phase::read_buckets(actor, 1.0);
    actor.script.innocent();
}

fn name_tampering(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1590.002");
    actor.survey(&[edge::hosted_zones, edge::domains, edge::distributions, edge::certificates, edge::zone], 5);
    actor.fill(0.7, |account, rng| match rng.random_range(0..4) {
        0 => edge::zone(account, rng),
        1 => edge::distribution_configuration(account, rng),
        _ => edge::record_sets(account, rng),
    });
    let network = foreign_network(actor.script.rng());
    actor.step("T1584.002");
    if actor.chance(0.3) {
        actor.call(edge::update_distribution);
        actor.maybe(0.5, edge::request_certificate);
    }
    if !actor.is_slow() && actor.chance(0.3) {
        actor.call(edge::name_servers);
    }
    actor.fill(1.0, |account, rng| {
        let address = network.address(rng);
        if rng.random_bool(0.6) {
            edge::record_sets(account, rng)
        } else {
            edge::change_records(account, rng, &address)
        }
    });
    actor.script.innocent();
}

fn quiet_logs(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    phase::look_at_watch(actor, 8);
    actor.step("T1562.008");
    if actor.is_slow() {
        let deeds: &[Make] = &[audit::retention, audit::finding_filter, audit::mute_alarms];
        let deed = one(deeds, actor.script.rng());
        actor.call(deed);
    } else {
        let deeds: &[Make] = &[
            audit::stop_logging,
            audit::narrow_selectors,
            audit::update_detector,
            audit::finding_filter,
            audit::stop_recorder,
            audit::delete_log_stream,
        ];
        let (first, second) = (one(deeds, actor.script.rng()), one(deeds, actor.script.rng()));
        actor.call(first);
        actor.maybe(0.5, second);
    }
    if actor.chance(0.5) {
        phase::read_secrets(actor, 0.4);
    }
    if actor.chance(0.5) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
    actor.script.innocent();
}
