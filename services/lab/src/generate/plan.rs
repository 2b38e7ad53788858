//! Which stories are told, when and where: attack campaigns up to the wanted number of events, their innocent twins
//! all over the time, and the routine's share of every account and day.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

use super::campaign::{self, Caller, Campaign, Pace, Plan};
use super::layout::Truth;
use super::names::stream;
use super::script::{Recorded, Script};
use super::settings::{Setting, Settings};
use super::world::{DAY_MS, Purpose, World};
use super::{Error, Incident, lookalike};

/// Share of the days before the first campaign, so that there is history to learn from.
const WARM_UP: f64 = 0.4;
/// Attack events may miss the wanted number by this share.
const TOLERANCE: f64 = 0.006;
/// Fewer attack events are no story; so many may be missing too.
const STORY_LEAST: u64 = 3;
/// More attempts at a story mean that none can be told, as when the time is too short.
const TRIES_MAX: u64 = 100_000;

/// Records of stories by (day, account).
pub(super) type Stories = BTreeMap<(i64, usize), Vec<Recorded>>;

#[derive(Default)]
pub(super) struct Planned {
    pub(super) stories: Stories,
    pub(super) incidents: Vec<Incident>,
    pub(super) truth: Vec<Truth>,
    pub(super) attack_events: u64,
    /// Records of all stories, innocent ones too.
    pub(super) events: u64,
}

impl Planned {
    fn keep(&mut self, world: &World, records: Vec<Recorded>) {
        self.events += records.len() as u64;
        for record in records {
            let day = (record.at_ms - world.start_ms).div_euclid(DAY_MS);
            self.stories.entry((day, record.account)).or_default().push(record);
        }
    }
}

/// Tells all stories.
///
/// # Errors
/// Where a family is not known.
pub(super) fn stories(world: &World, settings: &Settings) -> Result<Planned, Error> {
    let mut planned = Planned::default();
    let all = campaign::all();
    for name in &settings.families {
        if !all.iter().any(|one| one.family == name) {
            return Err(Error::Settings(format!("no campaign family is called {name}")));
        }
    }
    let chosen: Vec<&Campaign> = all
        .iter()
        .filter(|one| settings.families.is_empty() || settings.families.iter().any(|name| name == one.family))
        .collect();
    let wanted = (settings.events as f64 * settings.attack_share).round() as u64;
    plant(world, &chosen, wanted, &mut planned);
    twins(world, settings, &mut planned);
    Ok(planned)
}

/// Heavy-tailed: most stories are of some dozens of events, a few of a thousand.
fn volume(rng: &mut ChaCha8Rng, most: u64) -> u32 {
    let drawn = LogNormal::new(4.15, 0.95).map_or(63.0, |tail| tail.sample(rng));
    (drawn as u32).clamp(10, 1_500).min(u32::try_from(most).unwrap_or(u32::MAX)).max(8)
}

fn plant(world: &World, chosen: &[&Campaign], wanted: u64, planned: &mut Planned) {
    let rng = &mut stream(world.seed, &[20]);
    let mut ways: Vec<(usize, Pace, Caller)> = Vec::new();
    for at in 0..chosen.len() {
        for pace in [Pace::Fast, Pace::Slow] {
            for caller in [Caller::Stolen, Caller::New] {
                ways.push((at, pace, caller));
            }
        }
    }
    if ways.is_empty() {
        return;
    }
    // Few events are still told as several stories.
    let most = (wanted / 6).max(12);
    let enough = (wanted as f64 * (1.0 - TOLERANCE)).ceil() as u64;
    let mut number: BTreeMap<String, u32> = BTreeMap::new();
    let mut tries = 0_u64;
    let mut victims: Vec<usize> = Vec::new();
    'rounds: loop {
        ways.shuffle(rng);
        for &(at, pace, caller) in &ways {
            let left = wanted - planned.attack_events;
            if planned.attack_events >= enough || left < STORY_LEAST || tries > TRIES_MAX {
                break 'rounds;
            }
            tries += 1;
            if victims.is_empty() {
                victims = (0..world.accounts.len()).collect();
                victims.shuffle(rng);
            }
            let Some(victim) = victims.pop() else { break 'rounds };
            let plan = Plan { pace, caller, volume: volume(rng, most.min(left)), victim };
            let campaign = chosen[at];
            let mut script = Script::new(world, &[21, tries], start(world, pace, rng)).with_attacks_limited(left);
            (campaign.play)(&mut script, &plan);
            let attacker = script.attacker().unwrap_or_default().to_owned();
            let records = script.into_records();
            let attacks = records.iter().filter(|record| record.technique.is_some()).count() as u64;
            // Nothing is left of a story that began too late.
            if attacks < STORY_LEAST {
                continue;
            }
            let way = format!("{}.{}.{}", campaign.family, pace_word(pace), caller_word(caller));
            let count = number.entry(way.clone()).or_default();
            *count += 1;
            let name = format!("{way}.{count}");
            record_incident(world, planned, &records, campaign.family, &plan, name, attacker);
            planned.attack_events += attacks;
            planned.keep(world, records);
        }
    }
}

const fn pace_word(pace: Pace) -> &'static str {
    match pace {
        Pace::Fast => "fast",
        Pace::Slow => "slow",
    }
}

const fn caller_word(caller: Caller) -> &'static str {
    match caller {
        Caller::Stolen => "stolen",
        Caller::New => "new",
    }
}

/// After the warm-up; slow ones early enough to come far. Attackers do not keep office hours, nor do they only work
/// at night: two in three begin in the victim's busy half of the day.
fn start(world: &World, pace: Pace, rng: &mut ChaCha8Rng) -> i64 {
    let days = f64::from(world.days);
    let latest = match pace {
        Pace::Fast => days - 0.15,
        Pace::Slow => (days - 5.0).max(days * 0.65),
    };
    let day = rng.random_range(days * WARM_UP..latest.max(days * WARM_UP + 0.01)).floor();
    let hour = if rng.random_bool(0.66) { rng.random_range(7.0..19.0) } else { rng.random_range(0.0..21.0) };
    let begins = (day + hour / 24.0).max(days * WARM_UP);
    world.start_ms + (begins * DAY_MS as f64).ceil() as i64
}

fn record_incident(
    world: &World,
    planned: &mut Planned,
    records: &[Recorded],
    family: &'static str,
    plan: &Plan,
    name: String,
    attacker: String,
) {
    let at = planned.incidents.len();
    let mut incident = Incident {
        name,
        family,
        pace: pace_word(plan.pace),
        caller: caller_word(plan.caller),
        attacker,
        events: 0,
        first_ms: i64::MAX,
        last_ms: i64::MIN,
        accounts: Vec::new(),
    };
    for record in records {
        let Some(technique) = record.technique else { continue };
        incident.events += 1;
        incident.first_ms = incident.first_ms.min(record.at_ms);
        incident.last_ms = incident.last_ms.max(record.at_ms);
        let id = &world.accounts[record.account].id;
        if !incident.accounts.contains(id) {
            incident.accounts.push(id.clone());
        }
        planned.truth.push(Truth { at_ms: record.at_ms, event_id: record.event_id.clone(), incident: at, technique });
    }
    incident.accounts.sort();
    planned.incidents.push(incident);
}

/// Twins of all families, planted or not: 1.5 to 3 times as many as campaigns, and never so few that a quiet
/// organisation would have no strange days.
fn twins(world: &World, settings: &Settings, planned: &mut Planned) {
    let all = lookalike::all();
    if all.is_empty() {
        return;
    }
    let rng = &mut stream(world.seed, &[22]);
    let (times, floor) = match settings.setting {
        Setting::Plain => (1.5, 0.008),
        Setting::Hard => (rng.random_range(1.6..2.2), 0.03),
    };
    let wanted = (planned.incidents.len() as f64 * times).round() as u64;
    let events_wanted = (settings.events as f64 * floor) as u64;
    let events_most = settings.events * 12 / 100;
    let mut order: Vec<usize> = (0..all.len()).collect();
    let (mut told, mut events) = (0_u64, 0_u64);
    while told < wanted || events < events_wanted {
        if told.is_multiple_of(all.len() as u64) {
            order.shuffle(rng);
        }
        let twin = &all[order[(told % all.len() as u64) as usize]];
        told += 1;
        let day = rng.random_range(0.0..f64::from(world.days)).floor();
        let hour = if rng.random_bool(0.72) { rng.random_range(7.0..19.0) } else { rng.random_range(0.0..24.0) };
        let at_ms = world.start_ms + ((day + hour / 24.0) * DAY_MS as f64) as i64;
        let left = events_most.saturating_sub(events);
        if left < 8 || told > 200_000 {
            break;
        }
        let volume = volume(rng, left.min((settings.events / 60).max(10)));
        let mut script = Script::new(world, &[23, told], at_ms).limited(left);
        (twin.play)(&mut script, volume);
        script.innocent();
        let records = script.into_records();
        events += records.len() as u64;
        planned.keep(world, records);
    }
}

/// How many routine records each (day, account) gets so that `events` come to be exactly.
pub(super) fn quotas(world: &World, events: u64) -> Vec<((i64, usize), u64)> {
    let rng = &mut stream(world.seed, &[24]);
    let mut weights: Vec<((i64, usize), f64)> = Vec::new();
    for day in 0..i64::from(world.days) {
        for (at, account) in world.accounts.iter().enumerate() {
            let noise = LogNormal::new(0.0, 0.12).map_or(1.0, |noise| noise.sample(rng));
            weights.push(((day, at), account.weight * season(account.purpose, day) * noise));
        }
    }
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut quotas: Vec<((i64, usize), u64)> =
        weights.iter().map(|(unit, weight)| (*unit, (events as f64 * weight / sum).floor() as u64)).collect();
    let given: u64 = quotas.iter().map(|(_, quota)| quota).sum();
    let units = quotas.len() as u64;
    for at in 0..events.saturating_sub(given) {
        quotas[(at % units) as usize].1 += 1;
    }
    quotas
}

/// Weekends are quiet where people drive the load; the end of a month is busy.
fn season(purpose: Purpose, day: i64) -> f64 {
    let weekday = day % 7;
    let weekend = match purpose {
        Purpose::Production | Purpose::LogArchive | Purpose::Security => 0.75,
        Purpose::Data => 0.65,
        Purpose::Management => 0.5,
        Purpose::Staging | Purpose::Tools => 0.4,
        Purpose::Development | Purpose::Sandbox => 0.28,
    };
    let month_end = if matches!(day % 30, 28 | 29) { 1.2 } else { 1.0 };
    month_end * if weekday >= 5 { weekend } else { 1.0 }
}
