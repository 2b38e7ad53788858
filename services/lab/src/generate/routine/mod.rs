//! The innocent: what happens in an account on an ordinary day, and on the days that are not.

mod caretaker;
mod duty;
mod machine;
mod oddity;
mod people;
mod pipeline;
mod service;
mod stranger;
mod task;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::campaign::vocabulary::Make;
use super::names::stream;
use super::script::{Recorded, Script, Session};
use super::settings::Setting;
use super::world::{Account, DAY_MS, World};

/// What a script is seeded with, so that no two share their random numbers.
mod seeds {
    pub(super) const SHARES: u64 = 10;
    pub(super) const PERSON: u64 = 11;
    pub(super) const PIPELINE: u64 = 12;
    pub(super) const CARETAKER: u64 = 13;
    pub(super) const ODDITY: u64 = 14;
    pub(super) const SERVICE: u64 = 15;
    pub(super) const MACHINE: u64 = 16;
}

/// Exactly `quota` records of one account's day.
///
/// People, pipelines, caretakers and oddities come first, each within a share of the day; services and machines
/// fill what is left, as they make most of any trail.
pub(super) fn day(world: &World, account: usize, day: i64, quota: u64) -> Vec<Recorded> {
    let rng = &mut stream(world.seed, &[seeds::SHARES, account as u64, day as u64]);
    let start_ms = world.start_ms + day * DAY_MS;
    let share = |part: f64| (quota as f64 * part) as u64;
    let mut records = Vec::with_capacity(quota as usize);
    let script = |kind: u64, who: usize| Script::new(world, &[kind, account as u64, day as u64, who as u64], start_ms);

    let mut left = share(0.27);
    let mut people: Vec<usize> = (0..world.people.len()).filter(|at| world.people[*at].account == account).collect();
    people.shuffle(rng);
    for at in people {
        let mut one = script(seeds::PERSON, at).limited(left);
        people::day(&mut one, &world.people[at]);
        left -= one.written() as u64;
        records.append(&mut one.into_records());
    }
    let mut odd = script(seeds::ODDITY, 0).limited(share(if world.setting == Setting::Hard { 0.25 } else { 0.06 }));
    oddity::day(&mut odd, account);
    records.append(&mut odd.into_records());
    let mut pipelines = script(seeds::PIPELINE, 0).limited(share(0.12));
    pipeline::day(&mut pipelines, account);
    records.append(&mut pipelines.into_records());
    let mut caretakers = script(seeds::CARETAKER, 0).limited(share(0.1));
    caretaker::day(&mut caretakers, account);
    records.append(&mut caretakers.into_records());

    let left = quota.saturating_sub(records.len() as u64);
    let of_services = (left as f64 * rng.random_range(0.14..0.2)) as u64;
    let mut services = script(seeds::SERVICE, 0).limited(of_services);
    service::day(&mut services, account);
    records.append(&mut services.into_records());
    let left = quota.saturating_sub(records.len() as u64);
    let mut machines = script(seeds::MACHINE, 0).limited(left);
    machine::day(&mut machines, account);
    records.append(&mut machines.into_records());
    records.truncate(quota as usize);
    records
}

/// Makes one call of the vocabulary.
fn make(script: &mut Script<'_>, session: &Session, call: Make) {
    let account = &script.world().accounts[session.account];
    let call = call(account, script.rng());
    script.call(session, call);
}

/// As [`make`], refused with a chance, or failed some other way with a quarter of it.
fn attempt(script: &mut Script<'_>, session: &Session, call: Make, refused: f64) -> bool {
    let account = &script.world().accounts[session.account];
    let mut call = call(account, script.rng());
    let luck: f64 = script.rng().random();
    let fails = luck < refused * 1.25;
    if luck < refused {
        call = call.denied();
    } else if fails {
        call = fail(call, script.rng());
    }
    script.call(session, call);
    !fails
}

/// The everyday errors: what is not there, not allowed in this state, or asked too often.
fn fail(call: super::call::Call, rng: &mut ChaCha8Rng) -> super::call::Call {
    let throttled = rng.random_bool(0.3);
    match call.service {
        "ec2" if throttled => call.failed("Client.RequestLimitExceeded", "Request limit exceeded."),
        "ec2" => call.failed("Client.InvalidParameterValue", "Value for parameter is invalid."),
        "iam" if throttled => call.failed("ThrottlingException", "Rate exceeded"),
        "iam" => call.failed("NoSuchEntityException", "The entity cannot be found."),
        "s3" if call.is_data => call.failed("NoSuchKey", "The specified key does not exist."),
        "s3" => call.failed("NoSuchBucket", "The specified bucket does not exist"),
        "dynamodb" => call.failed("ConditionalCheckFailedException", "The conditional request failed"),
        "ssm" => call.failed("ParameterNotFound", "The parameter could not be found."),
        _ if throttled => call.failed("ThrottlingException", "Rate exceeded"),
        "secretsmanager" | "lambda" | "kms" | "logs" => {
            call.failed("ResourceNotFoundException", "The requested resource was not found.")
        }
        _ => call.failed("ValidationException", "The request is not valid."),
    }
}

/// A time of the day in milliseconds from its start, by how load comes.
#[derive(Clone, Copy, Debug)]
enum Curve {
    Flat,
    /// People's hours at this offset from UTC: low at night, a dip at lunch.
    Business(i32),
    /// A batch: begins at this hour (UTC) and takes so many minutes.
    Nightly(f64, f64),
    /// Every so many minutes, at once.
    Cron(i64),
}

impl Curve {
    fn moment(self, rng: &mut ChaCha8Rng) -> i64 {
        match self {
            Self::Flat => rng.random_range(0..DAY_MS),
            Self::Business(offset) => loop {
                let ms = rng.random_range(0..DAY_MS);
                let hour = (ms as f64 / 3_600_000.0 + f64::from(offset)).rem_euclid(24.0);
                let load = match hour {
                    h if h < 6.0 => 0.16,
                    h if h < 9.0 => 0.16 + (h - 6.0) * 0.28,
                    h if (12.0..13.2).contains(&h) => 0.72,
                    h if h < 18.0 => 1.0,
                    h if h < 23.0 => 1.0 - (h - 18.0) * 0.15,
                    _ => 0.22,
                };
                if rng.random_bool(load) {
                    return ms;
                }
            },
            Self::Nightly(hour, minutes) => {
                let spread = rng.random_range(0.0..1.0_f64) * minutes * 60_000.0;
                ((hour * 3_600_000.0 + spread) as i64).rem_euclid(DAY_MS)
            }
            Self::Cron(minutes) => {
                let period = minutes * 60_000;
                let tick = rng.random_range(0..(DAY_MS / period).max(1));
                (tick * period + rng.random_range(800..14_000)).min(DAY_MS - 1)
            }
        }
    }
}

/// Regions that the account does not use.
fn unused_region(account: &Account, rng: &mut ChaCha8Rng) -> &'static str {
    const SOME: &[&str] = &["us-west-1", "ap-south-1", "eu-south-1", "us-east-2", "ap-northeast-2", "eu-west-2"];
    let region = *super::names::pick(rng, SOME);
    if account.regions.contains(&region) { "ap-east-1" } else { region }
}
