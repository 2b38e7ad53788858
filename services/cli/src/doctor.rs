//! `doctor`: whether the servers that a deployment needs are there and as they should be, and what to do where not. Also
//! what could not be worked on, and its way back.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use trailwarden_bus::{Bus, Connection, DeadLetter, Error as BusError, JetStream, Memory, Published, Sequence};
use trailwarden_core::plan::Tier;
use trailwarden_core::time::Timestamp;
use trailwarden_featurizer::store::WindowStore;
use trailwarden_runtime::Clock;
use trailwarden_runtime::metrics::Metrics;
use trailwarden_runtime::readiness::Readiness;

use crate::command::{Surroundings, print, tell};
use crate::config::Config;
use crate::executor;
use crate::notify;
use crate::run::{layout, redis};
use crate::untrusted::{addresses, name, visible};

/// No server gets longer than this to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks whether a server answers yet.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Exit code when something is not as it should be.
const AILING: u8 = 1;
/// Dead letters that are listed at once.
const LETTERS_MAX: usize = 1_000;
/// Dead letters that are held in memory at once: each may be a megabyte.
const LETTERS_PAGE: usize = 16;
/// Characters shown of what the bus says, which may quote the subject of a letter.
const ERROR_CHARS_MAX: usize = 400;

/// What `doctor` is asked to do.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Looks whether all is as it should be; with `set_up`, makes the streams first.
    Check { set_up: bool },
    /// Lists dead letters after a sequence.
    DeadLetters { after: Sequence },
    /// Sends one dead letter back.
    Redrive(Sequence),
}

/// One line: what was looked at, whether it is good, and what to do if not.
struct Line {
    what: String,
    /// `None` where it cannot be learned from here.
    good: Option<bool>,
    fix: String,
}

/// Does it with the bus and the window store that the configuration names.
pub fn doctor(task: Task, config: Option<&Path>, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    let config = Config::load(config, surroundings.environment.iter().cloned())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    runtime.block_on(async {
        match task {
            Task::Check { set_up } => {
                let mut lines = bus(&config, set_up, surroundings).await;
                lines.extend(windows(&config, surroundings.now).await);
                lines.extend(channels(&config, surroundings));
                lines.extend(executor_needs(&config, surroundings));
                show(&lines)
            }
            Task::DeadLetters { after } => {
                let Listed { text, letters, more } = letters(&letter_bus(&config).await?, after).await?;
                print(&text)?;
                if letters == 0 {
                    tell("there are no dead letters\n");
                }
                if let Some(last) = more {
                    tell(&format!("there are more than these {letters}; `--dead-letters={last}` goes on\n"));
                }
                Ok(ExitCode::SUCCESS)
            }
            Task::Redrive(sequence) => {
                print(&redrive(&letter_bus(&config).await?, sequence).await?)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

fn show(lines: &[Line]) -> Result<ExitCode> {
    for line in lines {
        let mark = match line.good {
            Some(true) => "ok   ",
            Some(false) => "wrong",
            None => "?    ",
        };
        print(&format!("{mark}  {}\n", line.what))?;
        if line.good != Some(true) && !line.fix.is_empty() {
            print(&format!("       {}\n", line.fix))?;
        }
    }
    let wrong = lines.iter().filter(|line| line.good == Some(false)).count();
    tell(&match wrong {
        0 => "doctor     nothing is wrong\n".to_owned(),
        1 => "doctor     one thing is wrong\n".to_owned(),
        many => format!("doctor     {many} things are wrong\n"),
    });
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(AILING) })
}

async fn bus(config: &Config, set_up: bool, surroundings: &Surroundings<'_>) -> Vec<Line> {
    let Some(url) = &config.bus.url else {
        return vec![Line {
            what: "bus: none is configured, so everything stays in one process and nothing outlives it".into(),
            good: Some(!set_up),
            fix: "set bus.url to a NATS server with JetStream: nats://127.0.0.1:4222".into(),
        }];
    };
    let wrong = |error: BusError| {
        // What answers and refuses need not be started; most often a disk is too small for all streams together.
        let fix = match error.is_transient() {
            true => "start NATS with JetStream (`nats-server -js`), or correct bus.url",
            false => "set bus.stream_mib_max to what the broker's disk holds for each stream, or give it a larger disk",
        };
        vec![Line { what: format!("bus at {}: {error}", addresses(url)), good: Some(false), fix: fix.into() }]
    };
    let bus = match connect(url, config).await {
        Ok(bus) => bus,
        Err(error) => return wrong(error),
    };
    let layout = layout(config);
    if set_up && let Err(error) = bus.set_up(&layout).await {
        return wrong(error);
    }
    match bus.check(&layout, surroundings.now).await {
        Ok(findings) => findings
            .into_iter()
            .map(|finding| Line {
                what: format!("bus: {}", finding.what),
                good: finding.good,
                fix: finding.fix.unwrap_or_default(),
            })
            .collect(),
        Err(error) => wrong(error),
    }
}

/// Whether every channel of alerts has what it needs. Nothing is sent: a test is a person's to ask for.
fn channels(config: &Config, surroundings: &Surroundings<'_>) -> Vec<Line> {
    let (bus, now) = (Arc::new(Memory::default()), surroundings.now);
    let clock: Clock = Arc::new(move || now);
    let specs = config.notify.channels.iter();
    specs
        .map(|spec| match notify::open(config, spec, bus.clone(), &clock, surroundings) {
            Ok(_) => Line {
                what: format!("alerts: channel {} ({}) has what it needs", spec.name, spec.kind.as_str()),
                good: Some(true),
                fix: String::new(),
            },
            Err(error) => Line {
                what: format!("alerts: {}", visible(&error.to_string(), ERROR_CHARS_MAX)),
                good: Some(false),
                fix: "correct the channel, or set the variable where `run --role notify` runs; `trailwarden notify test` tries it".into(),
            },
        })
        .collect()
}

/// Whether the executor has what it needs, where one may do something. AWS is not asked.
fn executor_needs(config: &Config, surroundings: &Surroundings<'_>) -> Vec<Line> {
    if !executor::is_on(config) {
        return vec![];
    }
    let (bus, now) = (Arc::new(Memory::default()), surroundings.now);
    let watched = (Readiness::default(), Metrics::nowhere());
    let world = executor::world(config, &surroundings.environment, bus, Arc::new(move || now), watched);
    let (own, deps) = match world {
        Ok(world) => world,
        Err(error) => {
            return vec![Line {
                what: format!("executor: {}", visible(&format!("{error:#}"), ERROR_CHARS_MAX)),
                good: Some(false),
                fix: "mend it where `run --role executor` runs; `trailwarden config print` explains [executor]".into(),
            }];
        }
    };
    let registry = &own.settings.registry;
    let mut lines = vec![Line {
        what: format!("executor: has its key; `audit verify --trust {}` trusts it", deps.key.public()),
        good: Some(true),
        fix: String::new(),
    }];
    for (tier, need) in [(Tier::T1, 1), (Tier::T2, 1), (Tier::T3, 2)] {
        let have = registry.approving(tier);
        lines.push(Line {
            what: format!("executor: {have} may approve {tier:?}, which needs {need}"),
            good: if have < need { None } else { Some(true) },
            fix: "until then such steps are refused; `trailwarden approver keygen` makes a key".into(),
        });
    }
    if config.executor.external_id_variable.is_none() {
        lines.push(Line {
            what: "executor: no external id is set".into(),
            good: None,
            fix: "where the roles' trust policies ask for one, set executor.external_id_variable".into(),
        });
    }
    lines
}

/// The bus, once it answers.
pub(crate) async fn connect(url: &str, config: &Config) -> Result<JetStream, BusError> {
    let connection = Connection { url: url.to_owned(), tenant: config.run.tenant.clone() };
    let bus = match tokio::time::timeout(DEADLINE, JetStream::connect(connection)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(BusError::Unavailable { what: "no answer in 10 s".into() }),
    };
    answers(&bus).await?;
    Ok(bus)
}

/// The bus for whoever asks after dead letters: one that stays in a process has none to show to another.
async fn letter_bus(config: &Config) -> Result<JetStream> {
    let Some(url) = &config.bus.url else {
        bail!("no bus is configured, so dead letters stay in the process that buried them; set bus.url");
    };
    connect(url, config).await.with_context(|| format!("the bus at {}", addresses(url)))
}

/// Dead letters as a table.
#[derive(Debug)]
struct Listed {
    text: String,
    letters: usize,
    /// The last of these, where others follow it.
    more: Option<Sequence>,
}

async fn letters(bus: &dyn Bus, after: Sequence) -> Result<Listed> {
    let mut text = String::new();
    let (mut letters, mut last) = (0, after);
    loop {
        let page = bus.dead_letters(last, LETTERS_PAGE).await.map_err(told)?;
        if page.is_empty() {
            return Ok(Listed { text, letters, more: None });
        }
        for (sequence, letter) in &page {
            if letters == LETTERS_MAX {
                return Ok(Listed { text, letters, more: Some(last) });
            }
            if letters == 0 {
                text.push_str(&row("SEQUENCE", "SUBJECT", "ORIGINAL", "PLACE", "BYTES", "REASON"));
            }
            text.push_str(&letter_row(*sequence, letter));
            (letters, last) = (letters + 1, *sequence);
        }
    }
}

fn letter_row(sequence: Sequence, letter: &DeadLetter) -> String {
    row(
        &sequence.to_string(),
        // A letter quotes what could not be worked on, and names whatever it was found in: both may be an attacker's.
        &name(&letter.subject),
        &letter.sequence.to_string(),
        &letter.place.map_or_else(|| "all".to_owned(), |place| place.to_string()),
        &letter.payload.len().to_string(),
        &name(&letter.reason),
    )
}

fn row(sequence: &str, subject: &str, original: &str, place: &str, bytes: &str, reason: &str) -> String {
    format!("{sequence:>8}  {subject:<28}  {original:>10}  {place:>5}  {bytes:>9}  {reason}\n")
}

/// Sends a letter back, and says what happened.
async fn redrive(bus: &dyn Bus, sequence: Sequence) -> Result<String> {
    match bus.redrive(sequence).await {
        Ok(Published::Stored(at)) => Ok(format!("dead letter {sequence} was sent back, and stands at {at} now\n")),
        Ok(Published::Duplicate(at)) => {
            Ok(format!("dead letter {sequence} was sent back before, and stands at {at}; nothing was done\n"))
        }
        Err(BusError::Missing { what }) if what == format!("dead letter {sequence}") => {
            bail!("there is no dead letter {sequence}; `trailwarden doctor --dead-letters` lists those that there are")
        }
        Err(error) => Err(told(error)),
    }
}

/// What the bus says may quote the subject of a letter.
fn told(error: BusError) -> anyhow::Error {
    anyhow::Error::msg(visible(&error.to_string(), ERROR_CHARS_MAX))
}

/// Waits until the broker answers: the connection is made in the background, and a server may have been started a moment ago.
pub(crate) async fn answers(bus: &JetStream) -> Result<(), BusError> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut latest = None;
    let asked = async {
        loop {
            looks.tick().await;
            match bus.ping().await {
                Err(error) if error.is_transient() => latest = Some(error),
                answer => return answer,
            }
        }
    };
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(latest.unwrap_or(BusError::Unavailable { what: "no answer in 10 s".into() })),
    }
}

async fn windows(config: &Config, now: Timestamp) -> Vec<Line> {
    let Some(url) = &config.windows.url else {
        return vec![Line {
            what: "window store: none is configured, so windows stay in one process".into(),
            good: Some(config.bus.url.is_none()),
            fix: "set windows.url to a Redis or Valkey server: redis://127.0.0.1:6379".into(),
        }];
    };
    let wrong = |error: trailwarden_featurizer::store::Error| {
        vec![Line {
            what: format!("window store at {}: {error}", addresses(url)),
            good: Some(false),
            fix: "start Valkey or Redis with `maxmemory-policy noeviction`, or correct windows.url".into(),
        }]
    };
    let checked = async { redis(config, Arc::new(move || now))?.check().await };
    match tokio::time::timeout(DEADLINE, checked).await {
        Ok(Ok(findings)) => findings
            .into_iter()
            .map(|finding| Line {
                what: format!("window store: {}", finding.what),
                good: Some(finding.good),
                fix: finding.fix,
            })
            .collect(),
        Ok(Err(error)) => wrong(error),
        Err(_) => wrong(trailwarden_featurizer::store::Error::Unavailable("no answer in 10 s".into())),
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_bus::{Layout, Memory, Stream, Subject};

    use super::*;
    use crate::untrusted::is_hidden;

    const HOSTILE: &str = "file:\u{1b}]0;owned\u{7}\u{202e}txt\u{9b}2J\r\n";

    fn letter(subject: &str, sequence: Sequence) -> DeadLetter {
        let (subject, reason) = (subject.to_owned(), format!("not JSON: {HOSTILE}"));
        DeadLetter { subject, sequence, place: Some(4), reason, payload: b"record".to_vec().into() }
    }

    async fn buried(letters: impl IntoIterator<Item = DeadLetter>) -> Memory {
        let bus = Memory::default();
        bus.set_up(&Layout::in_memory("default", 4)).await.expect("in memory");
        for letter in letters {
            bus.bury(&letter).await.expect("in memory");
        }
        bus
    }

    #[tokio::test]
    async fn letters_are_listed_in_part_and_do_nothing_to_the_terminal() {
        let none = letters(&buried([]).await, 0).await.expect("in memory");
        assert_eq!((none.text.as_str(), none.letters, none.more), ("", 0, None));
        let most = LETTERS_MAX as u64;
        let bus = buried((1..=most + 2).map(|sequence| letter(HOSTILE, sequence))).await;
        let listed = letters(&bus, 0).await.expect("in memory");
        assert_eq!((listed.letters, listed.more), (LETTERS_MAX, Some(most)));
        assert_eq!(listed.text.lines().count(), LETTERS_MAX + 1, "a head, and a line for each");
        assert!(!listed.text.replace('\n', "").contains(is_hidden), "{}", listed.text);
        let rest = letters(&bus, most).await.expect("in memory");
        assert_eq!((rest.letters, rest.more), (2, None));
    }

    #[tokio::test]
    async fn a_letter_is_sent_back_once_and_others_are_refused_in_words() {
        let activity = Subject::partition(Stream::Activity, "default", 0).to_string();
        let bus = buried([letter(&activity, 17), letter(HOSTILE, 1)]).await;
        assert!(redrive(&bus, 1).await.expect("it begins a chain").contains("was sent back, and stands at 1"));
        assert!(redrive(&bus, 1).await.expect("asked again").contains("nothing was done"));
        let refused = redrive(&bus, 2).await.expect_err("it begins none").to_string();
        assert!(refused.contains("cannot be sent again") && !refused.contains(is_hidden), "{refused:?}");
        let missing = redrive(&bus, 99).await.expect_err("there is none").to_string();
        assert!(missing.contains("there is no dead letter 99"), "{missing}");
    }
}
