//! Drawing the people of an organisation: their trades, habits, places and tools.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::agent;
use super::names::{self, pick, stream, unique_id};
use super::network::{Network, foreign_network};
use super::settings::Setting;
use super::world::{Holder, Job, Person, Purpose, User, UserKind, World};

/// Adds everybody; `has_hyphens` is how the organisation writes users' names.
pub(super) fn add_people(world: &mut World, has_hyphens: bool, per_account_day: f64) {
    let rng = &mut stream(world.seed, &[3]);
    let dotted = rng.random_bool(0.6);
    let offsets: [i32; 3] = [rng.random_range(-8..10), rng.random_range(-8..10), rng.random_range(-8..10)];
    let office: Vec<Network> = (0..3).map(|_| Network::any(rng, 2)).collect();
    let vpn = Network::any(rng, 6);
    for at in 0..world.accounts.len() {
        // About a sixth of the volume is people's, at some 70 events a working day.
        let share = per_account_day * world.accounts[at].weight * 0.15 / 70.0;
        let count = (share.round() as usize).clamp(2, 40);
        for _ in 0..count {
            let place = if rng.random_bool(0.7) { 0 } else { rng.random_range(0..3) };
            let mut networks = vec![office[place].clone(), Network::any(rng, 1), Network::any(rng, 90), vpn.clone()];
            if rng.random_bool(0.25) {
                networks.swap(0, 1);
            }
            let mut person = build_person(world, rng, at, offsets[place], networks, dotted);
            add_travel(world, &mut person, rng);
            give_user(world, &mut person, has_hyphens, rng);
            world.people.push(person);
        }
    }
}

fn build_person(
    world: &World,
    rng: &mut ChaCha8Rng,
    account: usize,
    utc_offset_h: i32,
    networks: Vec<Network>,
    dotted: bool,
) -> Person {
    let job = job(world.accounts[account].purpose, rng);
    let name = loop {
        let (first, last) = (pick(rng, names::FIRST), pick(rng, names::LAST));
        let name = if dotted { format!("{first}.{last}") } else { format!("{}{last}", &first[..1]) };
        let taken = |name: &str| world.people.iter().any(|person| person.name == name);
        if !taken(&name) {
            break name;
        }
        let numbered = format!("{name}{}", rng.random_range(2..99));
        if !taken(&numbered) {
            break numbered;
        }
    };
    let mut agents = vec![agent::browser(rng), agent::cli(rng)];
    for _ in 0..rng.random_range(0..3) {
        agents.push(agent::any(rng));
    }
    let days = i64::from(world.days);
    let is_new = rng.random_bool(if world.setting == Setting::Hard { 0.22 } else { 0.08 });
    let joins_day = if is_new { rng.random_range(1..days.max(2)) } else { -100 };
    let leaves_day = if rng.random_bool(0.06) { rng.random_range(days / 2..days + 1) } else { days + 100 };
    let mut holidays = Vec::new();
    if rng.random_bool(0.3) {
        let first = rng.random_range(0..days.max(1));
        holidays.push((first, first + rng.random_range(1..10)));
    }
    let role_for = |account: usize| -> Option<(usize, usize)> {
        let roles = &world.accounts[account].roles;
        roles.iter().position(|role| role.held_by == Holder::Workforce(job)).map(|role| (account, role))
    };
    let mut roles: Vec<(usize, usize)> = role_for(account).into_iter().collect();
    for _ in 0..rng.random_range(0..4) {
        let other = rng.random_range(0..world.accounts.len());
        if !roles.iter().any(|role| role.0 == other) {
            roles.extend(role_for(other));
        }
    }
    Person {
        name,
        job,
        account,
        networks,
        utc_offset_h,
        joins_day,
        leaves_day: leaves_day.max(joins_day),
        holidays,
        travels: Vec::new(),
        roles,
        user: None,
        agents,
        is_on_nights: rng.random_bool(0.05),
        activity: (70.0 * rng.random_range(0.3..1.0_f64) / rng.random_range(0.3..1.0_f64)).clamp(8.0, 320.0),
    }
}

fn job(purpose: Purpose, rng: &mut ChaCha8Rng) -> Job {
    let jobs: &[Job] = match purpose {
        Purpose::Management => &[Job::Administrator, Job::Finance, Job::Manager, Job::PlatformEngineer],
        Purpose::Security | Purpose::LogArchive => &[Job::SecurityAnalyst, Job::SecurityAnalyst, Job::PlatformEngineer],
        Purpose::Tools => &[Job::PlatformEngineer, Job::PlatformEngineer, Job::Developer, Job::Administrator],
        Purpose::Data => &[Job::DataScientist, Job::DataScientist, Job::Developer, Job::PlatformEngineer],
        Purpose::Production => {
            &[Job::PlatformEngineer, Job::Developer, Job::Support, Job::Developer, Job::Administrator]
        }
        Purpose::Staging | Purpose::Development | Purpose::Sandbox => {
            &[Job::Developer, Job::Developer, Job::Developer, Job::PlatformEngineer, Job::DataScientist]
        }
    };
    *pick(rng, jobs)
}

fn add_travel(world: &World, person: &mut Person, rng: &mut ChaCha8Rng) {
    let days = i64::from(world.days);
    let often = if world.setting == Setting::Hard { 0.3 } else { 0.08 };
    if rng.random_bool(often) {
        let first = rng.random_range(0..days.max(1));
        person.travels.push((first, first + rng.random_range(0..5), foreign_network(rng)));
    }
}

/// Some people have an IAM user with a key of their own besides the role.
fn give_user(world: &mut World, person: &mut Person, has_hyphens: bool, rng: &mut ChaCha8Rng) {
    if !rng.random_bool(0.25) {
        return;
    }
    let account = person.account;
    let name = if has_hyphens { person.name.replace('.', "-") } else { person.name.clone() };
    person.user = Some((account, world.accounts[account].users.len()));
    world.accounts[account].users.push(User {
        account,
        name,
        id: unique_id(rng, "AIDA"),
        keys: vec![unique_id(rng, "AKIA")],
        kind: UserKind::Person,
        has_mfa: rng.random_bool(0.8),
    });
}
