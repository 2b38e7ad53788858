//! Alerts: what a person is told of, in three levels of watching (the system's own health, anomalies, responses).
//!
//! An alert is facts, no sentences: whoever sends it says it in the reader's language and in the channel's form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::level::Severity;
use crate::time::Timestamp;
use crate::untrusted::visible;

/// Score from which on an event is worth caution, and worth a warning.
pub const SCORE_CAUTION: f64 = 0.7;
pub const SCORE_WARNING: f64 = 0.9;
/// The same for a distance, as parts of its threshold; from the last on it is danger.
pub const DISTANCE_CAUTION: f64 = 1.0;
pub const DISTANCE_WARNING: f64 = 1.2;
pub const DISTANCE_DANGER: f64 = 1.5;

/// Characters of a name, of a sentence, and of an id.
const NAME_CHARS_MAX: usize = 128;
const SENTENCE_CHARS_MAX: usize = 240;
const ID_CHARS_MAX: usize = 96;
/// Reasons and steps that an alert carries; the case has all of them.
pub const REASONS_MAX: usize = 3;
pub const STEPS_MAX: usize = 5;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    Health,
    Anomaly,
    Response,
    /// Whether the channels themselves work.
    Channel,
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $variant:ident = $name:literal, $watch:ident;)+) => {
        /// What an alert is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[$meta])* $variant),+ }

        impl Kind {
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $name),+ }
            }

            pub const fn watch(self) -> Watch {
                match self { $(Kind::$variant => Watch::$watch),+ }
            }
        }
    };
}

kinds! {
    /// More messages wait than should.
    Lag = "lag", Health;
    DeadLetters = "dead_letters", Health;
    NotReady = "not_ready", Health;
    EventDelay = "event_delay", Health;
    Cpu = "cpu", Health;
    Memory = "memory", Health;
    /// One event's score or distance.
    Anomaly = "anomaly", Anomaly;
    /// A case was judged.
    Case = "case", Anomaly;
    /// The three responses, in the order in which they come.
    Block = "block", Response;
    CallAdministrator = "call_administrator", Response;
    BackUpLogs = "back_up_logs", Response;
    /// A step that blocks nobody: something was put right, marked or saved.
    Respond = "respond", Response;
    /// A channel does not deliver.
    ChannelFailed = "channel_failed", Channel;
    /// Asked for, to see whether it arrives.
    Test = "test", Channel;
}

/// A word that is no kind of alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of alert")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or_else(|| UnknownKind(visible(text, NAME_CHARS_MAX)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How bad a score is; `None` where it is ordinary. What is no number is not ordinary.
pub fn of_score(score: f64) -> Option<Severity> {
    match score {
        score if score <= SCORE_CAUTION => None,
        score if score <= SCORE_WARNING => Some(Severity::Medium),
        _ => Some(Severity::High),
    }
}

/// How bad a distance is, as a part of its threshold: caution, warning, danger; `None` where it is ordinary.
pub fn of_distance(distance: f64, threshold: f64) -> Option<Severity> {
    match distance / threshold {
        part if part < DISTANCE_CAUTION => None,
        part if part < DISTANCE_WARNING => Some(Severity::Medium),
        part if part < DISTANCE_DANGER => Some(Severity::High),
        _ => Some(Severity::Critical),
    }
}

/// A step of a response, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub playbook: String,
    pub target: String,
    pub state: StepState,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Nothing was changed, and nobody was asked.
    Proposed,
    /// It waits for so many people to approve it.
    Waits {
        approvers: u8,
    },
    Done,
    Failed,
    Undone,
}

/// Where the time went between an act and the person who hears of it. What is not known is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event's own time, by AWS' clock; of a case, its latest event's.
    pub event: Option<Timestamp>,
    /// The broker took it in: what lies before is AWS' share, what follows is ours.
    pub delivered: Option<Timestamp>,
    pub scored: Option<Timestamp>,
    pub judged: Option<Timestamp>,
    pub acted: Option<Timestamp>,
}

/// What a person should know of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What it comes from; the same again is the same alert.
    pub id: String,
    pub kind: Kind,
    pub severity: Severity,
    pub at: Timestamp,
    /// Empty where no account is concerned.
    pub account: String,
    /// Who: a principal, or the role of ours, or the channel.
    pub principal: String,
    pub case: Option<String>,
    /// The condition ended.
    pub ended: bool,
    /// What was seen, and what it was held against, in the kind's own unit: messages, seconds, percent.
    pub seen: u64,
    pub limit: u64,
    /// Probability of an attack, or the score.
    pub score: Option<f64>,
    /// The call, the playbook, or why a channel failed.
    pub what: String,
    pub verdict: String,
    /// The most weighty reasons, each a sentence.
    pub reasons: Vec<String>,
    pub steps: Vec<Step>,
    /// Steps beyond those.
    pub steps_more: u32,
    pub receipt: Receipt,
    /// The one channel that it is for; `None` for all that want it.
    pub only: Option<String>,
}

impl Alert {
    /// An alert without any facts yet.
    pub fn new(id: impl Into<String>, kind: Kind, severity: Severity, at: Timestamp, principal: &str) -> Self {
        Self {
            id: id.into(),
            kind,
            severity,
            at,
            account: String::new(),
            principal: principal.to_owned(),
            case: None,
            ended: false,
            seen: 0,
            limit: 0,
            score: None,
            what: String::new(),
            verdict: String::new(),
            reasons: Vec::new(),
            steps: Vec::new(),
            steps_more: 0,
            receipt: Receipt::default(),
            only: None,
        }
    }

    /// The same within the bounds of a message, and with nothing in its texts that acts or hides: attackers write names.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |text: &mut String, chars_max: usize| *text = cut(text, chars_max);
        cut(&mut self.id, ID_CHARS_MAX);
        for text in [&mut self.account, &mut self.principal, &mut self.verdict] {
            cut(text, NAME_CHARS_MAX);
        }
        cut(&mut self.what, SENTENCE_CHARS_MAX);
        self.case.iter_mut().chain(&mut self.only).for_each(|text| cut(text, ID_CHARS_MAX));
        self.reasons.truncate(REASONS_MAX);
        self.reasons.iter_mut().for_each(|reason| cut(reason, SENTENCE_CHARS_MAX));
        let more = self.steps.len().saturating_sub(STEPS_MAX);
        self.steps_more = self.steps_more.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.steps.truncate(STEPS_MAX);
        for step in &mut self.steps {
            cut(&mut step.playbook, NAME_CHARS_MAX);
            cut(&mut step.target, NAME_CHARS_MAX);
        }
        self.score = self.score.filter(|score| score.is_finite());
        self
    }
}

/// Cut, with what acts or hides spelled out; a text that is so already stays as it is.
fn cut(text: &str, chars_max: usize) -> String {
    // What is far too long is not looked at to its end.
    let shown = visible(&text[..text.floor_char_boundary(chars_max * 4)], usize::MAX);
    if shown.chars().count() <= chars_max && text.len() <= chars_max * 4 {
        return shown;
    }
    shown.chars().take(chars_max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_distances_have_the_published_bounds() {
        for (score, expected) in [
            (0.7, None),
            (0.700_1, Some(Severity::Medium)),
            (0.9, Some(Severity::Medium)),
            (0.900_1, Some(Severity::High)),
            (f64::NAN, Some(Severity::High)),
        ] {
            assert_eq!(of_score(score), expected, "{score}");
        }
        for (distance, expected) in [
            (0.99, None),
            (1.0, Some(Severity::Medium)),
            (1.19, Some(Severity::Medium)),
            (1.2, Some(Severity::High)),
            (1.49, Some(Severity::High)),
            (1.5, Some(Severity::Critical)),
            (f64::INFINITY, Some(Severity::Critical)),
        ] {
            assert_eq!(of_distance(distance * 4.0, 4.0), expected, "{distance}");
        }
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.as_str());
        }
        assert!("nothing\u{1b}".parse::<Kind>().is_err_and(|error| error.to_string().contains("\\u{1b}")));
    }

    #[test]
    fn whatever_is_put_into_an_alert_it_stays_small_and_inert_and_bounding_again_changes_nothing() {
        let evil = "\u{202e}\r\nBcc: all\u{1b}[2J".repeat(500);
        let step = Step { playbook: evil.clone(), target: evil.clone(), state: StepState::Proposed };
        let alert = Alert {
            case: Some(evil.clone()),
            account: evil.clone(),
            what: evil.clone(),
            verdict: evil.clone(),
            reasons: vec![evil.clone(); 50],
            steps: vec![step; 50],
            score: Some(f64::NAN),
            only: Some(evil.clone()),
            ..Alert::new(evil.clone(), Kind::Case, Severity::High, Timestamp::default(), &evil)
        };
        let bounded = alert.bounded();
        let json = serde_json::to_string(&bounded).expect("JSON");
        assert!(json.len() < 8 << 10, "{} bytes", json.len());
        assert!(!json.contains(crate::untrusted::is_hidden));
        assert_eq!((bounded.steps.len(), bounded.steps_more), (STEPS_MAX, 45));
        assert_eq!(bounded.clone().bounded(), bounded);
        assert_eq!(serde_json::from_str::<Alert>(&json).expect("it reads back"), bounded);
    }
}
