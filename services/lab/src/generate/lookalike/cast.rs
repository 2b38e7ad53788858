//! The people and programs of the innocent stories.

use rand::RngExt;

use super::super::agent;
use super::super::campaign::Pace;
use super::super::campaign::actor::{Actor, Hours, Renewal};
use super::super::campaign::entry::{PROVIDER, any_role, new_user, session_name};
use super::super::campaign::vocabulary::{new_name, one, pick};
use super::super::names;
use super::super::script::{Identity, Script, Session};
use super::super::world::{Holder, Person, UserKind, foreign_network};

/// Who does the work, and what is strange about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody of the staff, from a usual place with a usual tool.
    Usual,
    /// The same from a network never seen: travel, a new flat, a conference.
    Away,
    /// The same from a usual place with a tool never used before.
    NewTool,
    /// Somebody's first days.
    Newcomer,
    /// A pipeline's role or key where it always runs.
    Pipeline,
    /// The pipelines move to another build system: other network, other tool.
    NewPipeline,
    /// A user made for the job, with a key used from a supplier's or a new host's network.
    FreshUser,
    /// A supplier's staff or product, from an account outside.
    Vendor,
    /// The auditors' role.
    Auditor,
    /// Somebody who takes the break-glass or another strong role.
    Emergency,
    /// An instance with a new task.
    Machine,
    /// An application that moved to another host.
    MovedApplication,
}

/// One of these, ready to work; some stories are slow.
pub(super) fn cast<'s, 'w>(script: &'s mut Script<'w>, volume: u32, choice: &[Who]) -> Actor<'s, 'w> {
    let who = one(choice, script.rng());
    let accounts = script.world().accounts.len();
    let account = script.rng().random_range(0..accounts);
    let slow = script.rng().random_bool(0.4);
    let pace = if slow { Pace::Slow } else { Pace::Fast };
    let (session, renewal, hours) = match who {
        Who::Usual | Who::Away | Who::NewTool | Who::Newcomer | Who::FreshUser | Who::Emergency => {
            of_staff(script, account, who)
        }
        Who::Pipeline | Who::NewPipeline => of_pipeline(script, account, who),
        Who::Vendor => of_vendor(script, account),
        Who::Auditor => of_auditor(script, account),
        Who::Machine => of_machine(script, account),
        Who::MovedApplication => of_application(script, account),
    };
    let mut actor = Actor::new(script, session, renewal, pace, volume);
    actor.hours = hours;
    if actor.chance(0.45) {
        actor.refusals = actor.script.rng().random_range(0.03..0.35);
    }
    match who {
        Who::FreshUser => {
            new_user(&mut actor);
            let network = foreign_network(actor.script.rng());
            actor.session.source = network.address(actor.script.rng());
            actor.session.agent = agent::any(actor.script.rng());
            actor.hours = Hours::Any;
        }
        Who::Emergency => {
            let account = actor.session.account;
            let role = any_role(actor.script, account, |holder| {
                matches!(holder, Holder::BreakGlass | Holder::Deploy | Holder::Workforce(_))
            });
            let name = session_name(actor.script);
            actor.assumes(&role, &name);
        }
        _ => {}
    }
    actor
}

fn of_staff(script: &mut Script<'_>, account: usize, who: Who) -> (Session, Renewal, Hours) {
    let world = script.world();
    let (now_ms, day) = (script.now_ms(), script.day());
    let mut person: Person = world.person_of(account, now_ms, script.rng()).clone();
    let hours = if who == Who::Emergency { Hours::Any } else { Hours::Office(person.utc_offset_h) };
    if who == Who::Newcomer {
        let (first, last) = (one(names::FIRST, script.rng()), one(names::LAST, script.rng()));
        person.name =
            if person.name.contains('.') { format!("{first}.{last}") } else { format!("{}{last}", &first[..1]) };
        person.user = None;
        person.agents = vec![agent::browser(script.rng()), agent::cli(script.rng())];
    }
    let source = if who == Who::Away {
        let network = foreign_network(script.rng());
        network.address(script.rng())
    } else {
        person.address(day, script.rng())
    };
    let usual = person.tool(script.rng()).to_owned();
    let tool = if who == Who::NewTool { agent::any(script.rng()) } else { usual };
    if let Some(at) = person.user.filter(|_| script.rng().random_bool(0.4)) {
        let session = script.user(at.0, world.user(at), source, tool);
        return (session, Renewal::Never, hours);
    }
    let role = world.role(person.role_in(account).unwrap_or(person.roles[0]));
    let browser = person.browser().to_owned();
    let mut session = script.sign_in_from(&person, role.account, role, source, browser);
    if script.rng().random_bool(0.5) {
        session.agent = tool;
        session.is_console = false;
    }
    (session, Renewal::SignIn { person: Box::new(person), role: Box::new(role.clone()) }, hours)
}

fn of_pipeline(script: &mut Script<'_>, account: usize, who: Who) -> (Session, Renewal, Hours) {
    let owner = &script.world().accounts[account];
    let moved = who == Who::NewPipeline;
    let network = if moved { foreign_network(script.rng()) } else { owner.egress.clone() };
    let source = network.address(script.rng());
    let users: Vec<_> = owner.users.iter().filter(|user| user.kind == UserKind::Pipeline).collect();
    if !users.is_empty() && script.rng().random_bool(0.5) {
        let tool = agent::any(script.rng());
        let user = *pick(script.rng(), &users);
        return (script.user(account, user, source, tool), Renewal::Never, Hours::Any);
    }
    let role = any_role(script, account, |holder| matches!(holder, Holder::Pipeline | Holder::Deploy));
    let tool = if moved { agent::any(script.rng()) } else { agent::of_role(&role) };
    if !moved && script.rng().random_bool(0.5) {
        let name = format!("run-{}", script.rng().random_range(1_000_000_u64..90_000_000));
        let session = script.held(&role, &name, source, tool);
        return (session, Renewal::Reread { role: Box::new(role), name }, Hours::Any);
    }
    let provider = one(&[PROVIDER, PROVIDER, "builds.example.net"], script.rng()).to_owned();
    let subject = format!("repo:{}/{}:ref:refs/heads/main", script.world().company, new_name(script.rng()));
    let session = script.web_identity(&role, &provider, &subject, source, tool);
    (session, Renewal::Token { role: Box::new(role), provider, subject }, Hours::Any)
}

fn of_vendor(script: &mut Script<'_>, account: usize) -> (Session, Renewal, Hours) {
    let network = foreign_network(script.rng());
    let (source, tool) = (network.address(script.rng()), agent::any(script.rng()));
    let role = any_role(script, account, |holder| matches!(holder, Holder::Vendor | Holder::Auditor));
    let name = session_name(script);
    let by = script.foreign(account, source, tool);
    let session = script.assume_role(&by, &role, &name);
    (session, Renewal::Assume { by: Box::new(by), role: Box::new(role), name }, Hours::Any)
}

fn of_auditor(script: &mut Script<'_>, account: usize) -> (Session, Renewal, Hours) {
    let who = if script.rng().random_bool(0.5) { Who::Away } else { Who::Usual };
    let (by, _, hours) = of_staff(script, account, who);
    let role = any_role(script, account, |holder| matches!(holder, Holder::Auditor | Holder::Scanner));
    let name = session_name(script);
    script.wait_s(5.0, 90.0);
    let session = script.assume_role(&by, &role, &name);
    (session, Renewal::Assume { by: Box::new(by), role: Box::new(role), name }, hours)
}

fn of_machine(script: &mut Script<'_>, account: usize) -> (Session, Renewal, Hours) {
    let owner = &script.world().accounts[account];
    if owner.instances.is_empty() {
        return of_pipeline(script, account, Who::Pipeline);
    }
    let instance = pick(script.rng(), &owner.instances);
    let role = owner.roles[instance.role.min(owner.roles.len() - 1)].clone();
    let mut session = script.instance(account, instance);
    if script.rng().random_bool(0.3) {
        // Somebody works on the machine by hand, or a new version brings another library.
        session.agent = agent::any(script.rng());
    }
    if script.rng().random_bool(0.3) {
        // The subnet goes out by another gateway.
        let network = foreign_network(script.rng());
        session.source = network.address(script.rng());
        session.through_endpoint = false;
    }
    (session, Renewal::Reread { role: Box::new(role), name: instance.id.clone() }, Hours::Any)
}

fn of_application(script: &mut Script<'_>, account: usize) -> (Session, Renewal, Hours) {
    let owner = &script.world().accounts[account];
    let network = foreign_network(script.rng());
    let source = network.address(script.rng());
    let users: Vec<_> = owner.users.iter().filter(|user| user.kind == UserKind::Application).collect();
    if users.is_empty() {
        let name = pick(script.rng(), &owner.functions).clone();
        let session = Session { source, ..script.function(account, &name) };
        let renewal = match &session.identity {
            Identity::Role { role, .. } => Renewal::Reread { role: role.clone(), name },
            _ => Renewal::Never,
        };
        return (session, renewal, Hours::Any);
    }
    let user = *pick(script.rng(), &users);
    let tool = agent::any(script.rng());
    (script.user(account, user, source, tool), Renewal::Never, Hours::Any)
}
