//! How an intruder comes by a credential, and the principal of one's own that some bring or make.

use rand::RngExt;

use super::actor::{Actor, Renewal};
use super::vocabulary::{identity, new_name, one, pick};
use super::{Caller, Plan};
use crate::generate::agent;
use crate::generate::script::{Identity, Script, Session};
use crate::generate::settings::Setting;
use crate::generate::world::{Holder, Role, UserKind, foreign_network};

/// Whose credential is stolen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prey {
    /// Somebody of the staff: a key out of a laptop or repository, or a session at the console.
    Person,
    /// What a build server holds.
    Pipeline,
    /// An instance's or a container's, read out of the metadata service.
    Machine,
    /// A function's, read out of its environment.
    Function,
    /// An application's long-term key, out of a file or an image.
    Application,
    /// Nobody's but one's own: somebody of the staff turns.
    Insider,
}

impl Prey {
    /// Chance that the credential is used where it belongs: on the same host, or from its owner's network.
    const fn at_home(self) -> f64 {
        match self {
            Self::Insider => 0.8,
            Self::Machine | Self::Function => 0.4,
            Self::Pipeline => 0.2,
            Self::Person | Self::Application => 0.15,
        }
    }
}

/// Who vouches for the pipelines' jobs.
pub(in crate::generate) const PROVIDER: &str = "token.actions.example.com";

/// The intruder, ready to act. Where the plan asks for a new principal, the stolen credential makes it first.
pub(super) fn enter<'s, 'w>(script: &'s mut Script<'w>, plan: &Plan, prey: Prey) -> Actor<'s, 'w> {
    let network = foreign_network(script.rng());
    let source = network.address(script.rng());
    let is_at_home = script.rng().random_bool(prey.at_home());
    let careless = if script.world().setting == Setting::Plain { 0.9 } else { 0.5 };
    let refusals = if script.rng().random_bool(careless) { script.rng().random_range(0.05..0.35) } else { 0.0 };
    let is_partner = plan.caller == Caller::New && script.rng().random_bool(0.2);
    let (session, renewal) = if is_partner {
        partner(script, plan, source)
    } else {
        stolen(script, plan, prey, if is_at_home { None } else { Some(source) })
    };
    let mut actor = Actor::new(script, session, renewal, plan.pace, plan.volume).hostile();
    actor.refusals = refusals;
    if plan.caller == Caller::New && !is_partner {
        own_principal(&mut actor);
    }
    actor
}

/// A principal of an account outside takes a role whose trust is too wide.
fn partner(script: &mut Script<'_>, plan: &Plan, source: String) -> (Session, Renewal) {
    let tool = agent::any(script.rng());
    let role =
        any_role(script, plan.victim, |holder| matches!(holder, Holder::Vendor | Holder::Auditor | Holder::Deploy));
    let name = session_name(script);
    let by = script.foreign(plan.victim, source, tool);
    script.attack("T1199");
    let session = script.assume_role(&by, &role, &name);
    (session, Renewal::Assume { by: Box::new(by), role: Box::new(role), name })
}

/// One of the account's roles, of these holders if there are any.
pub(in crate::generate) fn any_role(script: &mut Script<'_>, account: usize, wanted: fn(Holder) -> bool) -> Role {
    let owner = &script.world().accounts[account];
    let rng = script.rng();
    if let Some(role) = owner.role_of(wanted, rng) {
        return role.clone();
    }
    let others = |holder| !matches!(holder, Holder::ServiceLinked(_));
    owner.role_of(others, rng).unwrap_or(&owner.roles[0]).clone()
}

/// What people and programs call their role sessions.
pub(in crate::generate) fn session_name(script: &mut Script<'_>) -> String {
    let rng = script.rng();
    match rng.random_range(0..4) {
        0 => format!("botocore-session-{}", rng.random_range(1_772_000_000_u64..1_776_000_000)),
        1 => format!("aws-cli-session-{}", rng.random_range(1_772_000_000_u64..1_776_000_000)),
        2 => format!("aws-go-sdk-{}", rng.random_range(1_772_000_000_000_000_000_u64..1_776_000_000_000_000_000)),
        _ => new_name(rng),
    }
}

/// `source` is none where the credential is used from where it always is.
fn stolen(script: &mut Script<'_>, plan: &Plan, prey: Prey, source: Option<String>) -> (Session, Renewal) {
    match prey {
        Prey::Person | Prey::Insider => of_person(script, plan, source),
        Prey::Pipeline => of_program(script, plan, source, UserKind::Pipeline),
        Prey::Application => of_program(script, plan, source, UserKind::Application),
        Prey::Machine => of_machine(script, plan, source),
        Prey::Function => of_function(script, plan, source),
    }
}

fn of_person(script: &mut Script<'_>, plan: &Plan, source: Option<String>) -> (Session, Renewal) {
    let world = script.world();
    let now_ms = script.now_ms();
    let person = world.person_of(plan.victim, now_ms, script.rng());
    let usual = person.tool(script.rng()).to_owned();
    let day = script.day();
    let source = source.unwrap_or_else(|| person.address(day, script.rng()));
    let tool = if script.rng().random_bool(0.5) { usual } else { agent::any(script.rng()) };
    if let Some((account, at)) = person.user.filter(|_| script.rng().random_bool(0.6)) {
        let user = &world.accounts[account].users[at];
        return (script.user(account, user, source, tool), Renewal::Never);
    }
    let role = world.role(person.role_in(plan.victim).unwrap_or(person.roles[0]));
    let account = role.account;
    let browser =
        if script.rng().random_bool(0.4) { person.browser().to_owned() } else { agent::browser(script.rng()) };
    let renewal = Renewal::SignIn { person: Box::new(person.clone()), role: Box::new(role.clone()) };
    let mut session = if script.rng().random_bool(0.6) {
        // A phished password and a worn-down second factor.
        script.attack("T1078.004");
        script.sign_in_from(person, account, role, source, browser)
    } else {
        // The session's own token, out of the browser or the tool's cache.
        script.innocent();
        let theirs = script.sign_in(person, account, role);
        script.wait_s(300.0, 2_400.0);
        Session { source, agent: browser, ..theirs }
    };
    if script.rng().random_bool(0.5) {
        session.agent = tool;
        session.is_console = false;
    }
    (session, renewal)
}

fn of_program(script: &mut Script<'_>, plan: &Plan, source: Option<String>, kind: UserKind) -> (Session, Renewal) {
    let owner = &script.world().accounts[plan.victim];
    let users: Vec<_> = owner.users.iter().filter(|user| user.kind == kind).collect();
    let tool = agent::any(script.rng());
    if users.is_empty() && kind == UserKind::Application {
        return of_function(script, plan, source);
    }
    let source = source.unwrap_or_else(|| owner.egress.address(script.rng()));
    if !users.is_empty() {
        let user = *pick(script.rng(), &users);
        // An application's usual library as often as not: the same language, or its own code run elsewhere.
        let usual = agent::of_role(&owner.roles[user.name.len() % owner.roles.len()]);
        let is_usual = kind == UserKind::Application && script.rng().random_bool(0.5);
        let tool = if is_usual { usual } else { tool };
        return (script.user(plan.victim, user, source, tool), Renewal::Never);
    }
    let role = any_role(script, plan.victim, |holder| matches!(holder, Holder::Pipeline | Holder::Deploy));
    let tool = if script.rng().random_bool(0.5) { agent::of_role(&role) } else { tool };
    let subject = format!("repo:{}/{}:ref:refs/heads/main", script.world().company, new_name(script.rng()));
    if script.rng().random_bool(0.5) {
        // A job of the intruder's own asks for the role.
        let provider = PROVIDER.to_owned();
        script.attack("T1078.004");
        let session = script.web_identity(&role, &provider, &subject, source, tool);
        return (session, Renewal::Token { role: Box::new(role), provider, subject });
    }
    // What an honest job was given, read out of its environment.
    let runner = owner.egress.address(script.rng());
    script.innocent();
    let theirs = script.web_identity(&role, PROVIDER, &subject, runner, agent::of_role(&role));
    script.wait_s(60.0, 1_500.0);
    let name = match &theirs.identity {
        Identity::Role { session_name, .. } => session_name.clone(),
        _ => String::new(),
    };
    (Session { source, agent: tool, ..theirs }, Renewal::Reread { role: Box::new(role), name })
}

fn of_machine(script: &mut Script<'_>, plan: &Plan, source: Option<String>) -> (Session, Renewal) {
    let owner = &script.world().accounts[plan.victim];
    if owner.instances.is_empty() {
        return of_function(script, plan, source);
    }
    let instance = pick(script.rng(), &owner.instances);
    let role = owner.roles[instance.role.min(owner.roles.len() - 1)].clone();
    let mut session = script.instance(plan.victim, instance);
    if let Some(source) = source {
        session.source = source;
        session.through_endpoint = false;
    }
    if script.rng().random_bool(0.5) {
        session.agent = agent::any(script.rng());
    }
    (session, Renewal::Reread { role: Box::new(role), name: instance.id.clone() })
}

fn of_function(script: &mut Script<'_>, plan: &Plan, source: Option<String>) -> (Session, Renewal) {
    let owner = &script.world().accounts[plan.victim];
    let name = pick(script.rng(), &owner.functions).clone();
    let mut session = script.function(plan.victim, &name);
    if let Some(source) = source {
        session.source = source;
    }
    if script.rng().random_bool(0.5) {
        session.agent = agent::any(script.rng());
    }
    let renewal = match &session.identity {
        Identity::Role { role, .. } => Renewal::Reread { role: role.clone(), name },
        _ => Renewal::Never,
    };
    (session, renewal)
}

/// With the stolen credential to a principal of the intruder's own.
fn own_principal(actor: &mut Actor<'_, '_>) {
    actor.step("T1078.004");
    actor.maybe(0.6, identity::caller_identity);
    let is_user = matches!(actor.session.identity, Identity::User { .. });
    match actor.script.rng().random_range(0..if is_user { 5 } else { 4 }) {
        0 | 1 => new_user(actor),
        2 | 3 => {
            let account = actor.session.account;
            let role = any_role(actor.script, account, |holder| {
                matches!(holder, Holder::Workforce(_) | Holder::Deploy | Holder::BreakGlass | Holder::Backup)
            });
            let name = session_name(actor.script);
            actor.step("T1550.001");
            actor.assumes(&role, &name);
        }
        _ => {
            actor.step("T1550.001");
            let name = new_name(actor.script.rng());
            let issued = actor.does(|script, session| script.federation_token(session, &name));
            actor.becomes(issued, Renewal::Never);
        }
    }
}

/// Makes a user with a key and some rights, and goes on as that user.
pub(in crate::generate) fn new_user(actor: &mut Actor<'_, '_>) {
    let name = new_name(actor.script.rng());
    actor.step("T1136.003");
    actor.does(|script, session| script.create_user(session, &name));
    actor.step("T1098.003");
    let way = actor.script.rng().random_range(0..5);
    let policy = one(&["ReadOnlyAccess", "PowerUserAccess"], actor.script.rng());
    let action = one(&["s3:*", "secretsmanager:*", "ec2:*"], actor.script.rng());
    actor.call(|account, rng| match way {
        0 | 1 => identity::add_to_group(account, rng, &name),
        2 => identity::attach_user_policy(account, rng, &name, policy),
        3 => identity::inline_policy(account, rng, &name, "*"),
        _ => identity::inline_policy(account, rng, &name, action),
    });
    actor.step("T1098.001");
    let issued = actor.does(|script, session| script.create_access_key(session, &name));
    actor.becomes(issued, Renewal::Never);
}
