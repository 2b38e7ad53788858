//! A person's working day.

use rand::RngExt;
use rand_distr::{Distribution, LogNormal, Normal};

use super::super::agent;
use super::super::names::{mix, pick};
use super::super::script::{Script, Session};
use super::super::settings::Setting;
use super::super::world::{DAY_MS, Job, Person, UserKind};
use super::task::{Task, tasks_of};

const HOUR_MS: f64 = 3_600_000.0;

/// The script stands at midnight UTC of the day.
pub(super) fn day(script: &mut Script<'_>, person: &Person) {
    let (midnight, today) = (script.now_ms(), script.day());
    if !person.is_there(today) {
        return;
    }
    let weekend = today % 7 >= 5;
    let comes = if weekend { 0.06 } else { 0.93 };
    if !script.rng().random_bool(comes) {
        return;
    }
    let start_hour = if person.is_on_nights { 21.5 } else { normal(script, 9.0, 0.7).clamp(6.0, 13.0) };
    let hours = if weekend { script.rng().random_range(0.4..3.0) } else { normal(script, 8.3, 0.9).clamp(3.0, 11.0) };
    let start = midnight + ((start_hour - f64::from(person.utc_offset_h)) * HOUR_MS) as i64;
    let end = start + (hours * HOUR_MS) as i64;
    let lunch = start + (normal(script, 3.4, 0.4) * HOUR_MS) as i64;
    let wanted = person.activity * LogNormal::new(-0.1, 0.55).map_or(1.0, |tail| tail.sample(script.rng()));
    let first = script.written();

    script.at(start);
    let mut hands = Hands::new(script, person);
    let refused = refusals(script, person, today);
    let pace = (hours * 3_600.0) / (wanted / 9.0).max(1.0);
    while script.now_ms() < end && ((script.written() - first) as f64) < wanted && script.left() > 0 {
        let now = script.now_ms();
        if (lunch..lunch + 2_400_000).contains(&now) {
            script.wait_until(lunch + 2_400_000);
        }
        let session = hands.session(script, person);
        let task = choose(script, person);
        task(script, &session, refused);
        script.wait_s(pace * 0.15, pace * 1.4);
    }
}

fn normal(script: &mut Script<'_>, mean: f64, deviation: f64) -> f64 {
    Normal::new(mean, deviation).map_or(mean, |bell| bell.sample(script.rng()))
}

/// Newcomers meet refusals; some people always do.
fn refusals(script: &Script<'_>, person: &Person, today: i64) -> f64 {
    let habit = mix(person.name.bytes().fold(1, |sum, byte| mix(sum ^ u64::from(byte)))) % 100;
    let noisy = if habit < 12 { 0.16 } else { 0.015 };
    let is_new = person.joins_day > 0 && today - person.joins_day < 6;
    let hard = script.world().setting == Setting::Hard;
    if is_new {
        noisy + 0.12
    } else if hard {
        noisy
    } else {
        noisy * 0.5
    }
}

/// Mostly the own trade, the first tasks of it most; now and then another's.
fn choose(script: &mut Script<'_>, person: &Person) -> Task {
    const JOBS: [Job; 6] = [
        Job::Developer,
        Job::DataScientist,
        Job::PlatformEngineer,
        Job::SecurityAnalyst,
        Job::Administrator,
        Job::Support,
    ];
    let rng = script.rng();
    let job = if rng.random_bool(0.035) { *pick(rng, &JOBS) } else { person.job };
    let tasks = tasks_of(job);
    let at = rng.random_range(0..tasks.len()).min(rng.random_range(0..tasks.len()));
    // Everybody has an order of preference of their own.
    let shift = mix(person.name.len() as u64 ^ mix(u64::from(person.name.as_bytes()[0]))) as usize;
    tasks[if rng.random_bool(0.6) { (at + shift) % tasks.len() } else { at }]
}

/// The credentials somebody has at hand, and where they sit.
struct Hands {
    console: Option<Session>,
    tool: Option<Session>,
    /// Prefers tools to the console, 0 to 1.
    tools: f64,
}

impl Hands {
    fn new(script: &mut Script<'_>, person: &Person) -> Self {
        let tools = match person.job {
            Job::Finance | Job::Manager => 0.02,
            Job::Support | Job::SecurityAnalyst => 0.35,
            _ => script.rng().random_range(0.35..0.85),
        };
        Self { console: None, tool: None, tools }
    }

    fn session(&mut self, script: &mut Script<'_>, person: &Person) -> Session {
        let by_tool = script.rng().random_bool(self.tools);
        let held = if by_tool { &mut self.tool } else { &mut self.console };
        let fresh_for = if by_tool { HOUR_MS * 3.0 } else { HOUR_MS * 7.0 };
        if let Some(session) = held
            && ((script.now_ms() - session.issued_ms) as f64) < fresh_for
        {
            // A laptop leaves the office, or the line changes its address.
            if script.rng().random_bool(0.03) {
                session.source = person.address(script.day(), script.rng());
            }
            return session.clone();
        }
        let session = if by_tool { tool_session(script, person) } else { console_session(script, person) };
        *held = Some(session.clone());
        session
    }
}

fn usual_role(script: &mut Script<'_>, person: &Person) -> (usize, usize) {
    if script.rng().random_bool(0.75) { person.roles[0] } else { *pick(script.rng(), &person.roles) }
}

fn console_session(script: &mut Script<'_>, person: &Person) -> Session {
    let world = script.world();
    if let Some(at) = person.user
        && script.rng().random_bool(0.35)
    {
        let source = person.address(script.day(), script.rng());
        return script.sign_in_user(at.0, world.user(at), source, person.browser());
    }
    // A portal of the organisation's own hands out consoles by federation tokens.
    if !world.seed.is_multiple_of(3) && script.rng().random_bool(0.05) {
        let owner = &world.accounts[person.account];
        let portal = owner.users.iter().find(|user| user.kind == UserKind::Pipeline);
        if let Some(portal) = portal {
            let source = owner.egress.address(script.rng());
            let by = script.user(person.account, portal, source, agent::of_role(&owner.roles[0]));
            let mut session = script.federation_token(&by, &person.name);
            session.source = person.address(script.day(), script.rng());
            person.browser().clone_into(&mut session.agent);
            session.is_console = true;
            return session;
        }
    }
    let at = usual_role(script, person);
    let session = script.sign_in(person, at.0, world.role(at));
    script.wait_s(0.5, 4.0);
    session
}

fn tool_session(script: &mut Script<'_>, person: &Person) -> Session {
    let world = script.world();
    let source = person.address(script.day(), script.rng());
    // The tool of the day; programs are updated now and then.
    let tool =
        if script.rng().random_bool(0.015) { agent::any(script.rng()) } else { person.tool(script.rng()).to_owned() };
    let mut session = match person.user {
        Some(at) if script.rng().random_bool(0.6) => {
            let own = script.user(at.0, world.user(at), source, tool);
            match script.rng().random_range(0..10) {
                0 => script.session_token(&own),
                1 => script.federation_token(&own, &person.name),
                2..5 => {
                    let role = usual_role(script, person);
                    script.assume_role(&own, world.role(role), &person.name)
                }
                _ => own,
            }
        }
        _ => {
            let at = usual_role(script, person);
            let subject = format!("{}@{}.example.com", person.name, world.company);
            let mut session = script.held(world.role(at), &subject, source, tool);
            session.mfa = true;
            session.issued_ms = script.now_ms() - script.rng().random_range(500..20_000);
            session
        }
    };
    if script.rng().random_bool(0.2) {
        session.region = world.accounts[session.account].region(script.rng());
    }
    debug_assert!(script.now_ms() > world.start_ms - 2 * DAY_MS);
    session
}
