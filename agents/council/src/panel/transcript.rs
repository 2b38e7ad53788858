//! What the panel was asked and what it said, and a negotiation fed from it.

use serde::{Deserialize, Serialize};
use trailwarden_core::negotiation::exchange::{Ask, Message, Question};
use trailwarden_core::negotiation::{Brain, Judgement, Negotiation, Role, negotiate};
use trailwarden_models::{Kind, Usage};

use super::answer;

/// Version of the layout.
pub const VERSION: u32 = 1;
/// Bytes of one raw answer. A longer one counts as none, since it could not be replayed.
pub const RAW_BYTES_MAX: usize = 16 << 10;
/// Bytes of a transcript as JSON: twelve answers of a usual length fit many times.
pub const TRANSCRIPT_BYTES_MAX: usize = 256 << 10;
/// Bytes of a model's name that are kept.
pub(super) const MODEL_BYTES_MAX: usize = 200;

/// Which kind of question was asked. A role is asked each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Round {
    Opinion,
    Rebuttal,
    Lean,
    Choice,
    Report,
}

impl Round {
    pub(super) const fn of(question: &Question) -> Self {
        match question {
            Question::Opinion => Self::Opinion,
            Question::Rebut(_) => Self::Rebuttal,
            Question::Lean(_) => Self::Lean,
            Question::Choose(_) => Self::Choice,
            Question::Report(_) => Self::Report,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Opinion => "opinion",
            Self::Rebuttal => "rebuttal",
            Self::Lean => "lean",
            Self::Choice => "choice",
            Self::Report => "report",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// In form: this is what the role said.
    Answered,
    /// An answer came, in another shape.
    Malformed,
    /// An answer came that is too long to be kept.
    TooLarge,
    Timeout,
    Unreachable,
    Unavailable,
    Refused,
    /// By the service's rate, or by ours.
    Limited,
    /// The tenant's budget of the day is spent.
    Budget,
    /// Calls are paused after failures.
    Paused,
    /// Nothing was asked: the case's calls, time or tokens did not suffice.
    Skipped,
    /// Ours: the model cannot be asked at all.
    Broken,
}

impl Ended {
    /// As transcripts and measures call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Budget => "budget",
            Self::Paused => "paused",
            Self::Skipped => "skipped",
            Self::Broken => "broken",
        }
    }
}

impl From<Kind> for Ended {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Timeout => Self::Timeout,
            Kind::Unreachable => Self::Unreachable,
            Kind::Limited => Self::Limited,
            Kind::Refused => Self::Refused,
            Kind::Unavailable => Self::Unavailable,
            Kind::Malformed => Self::Malformed,
            Kind::TooLarge => Self::TooLarge,
            Kind::BudgetSpent => Self::Budget,
            Kind::BreakerOpen => Self::Paused,
            Kind::Configuration | Kind::Local => Self::Broken,
        }
    }
}

/// Tokens that count against the case: as reported; as foreseen where nothing was, and the service may have worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self { input: usage.input_tokens, output: usage.output_tokens }
    }
}

/// One call to a model, or one that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub role: Role,
    pub round: Round,
    /// 1; 2 where the first answer did not have the shape; one more where a local model stands in.
    pub attempt: u32,
    /// Of all that the role was shown, SHA-256 as the negotiation counts it.
    pub input_digest: String,
    /// Of what the role was told, SHA-256.
    pub prompt_digest: String,
    pub model: String,
    /// Tokens that the answer was granted.
    pub tokens_max: u32,
    /// As it came, at most [`RAW_BYTES_MAX`]; empty where nothing came.
    pub raw: String,
    pub tokens: Tokens,
    /// Millionths of a dollar, by the configured prices; `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_dollars: Option<u64>,
    pub milliseconds: u64,
    pub ended: Ended,
}

/// All calls of one negotiation, in the order in which questions were asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    pub version: u32,
    /// SHA-256 of the frozen evidence.
    pub evidence_digest: String,
    /// Of all prompts there were: [`super::Panel::prompts_digest`].
    #[serde(default)]
    pub prompts_digest: String,
    pub calls: Vec<Call>,
}

impl Transcript {
    /// What all calls used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let of = |call: &Call| Usage { input_tokens: call.tokens.input, output_tokens: call.tokens.output };
        self.calls.iter().fold(Usage::default(), |sum, call| sum.plus(of(call)))
    }

    /// What the case cost, in millionths of a dollar; `None` where no call has a price.
    #[must_use]
    pub fn micro_dollars(&self) -> Option<u64> {
        self.calls.iter().filter_map(|call| call.micro_dollars).reduce(u64::saturating_add)
    }

    /// As JSON of at most [`TRANSCRIPT_BYTES_MAX`]. One that would be longer says all but the answers, and cannot be replayed.
    #[must_use]
    pub fn to_json(&self) -> String {
        let whole = written(self);
        if whole.len() <= TRANSCRIPT_BYTES_MAX {
            return whole;
        }
        let calls = self.calls.iter().map(|call| Call { raw: String::new(), ..call.clone() });
        written(&Self { calls: calls.collect(), ..self.clone() })
    }
}

fn written(transcript: &Transcript) -> String {
    serde_json::to_string(transcript).expect("plain structs without maps or fallible fields serialise")
}

/// A transcript and a negotiation do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Diverged {
    #[error("the transcript has version {found}, and version {VERSION} can be replayed")]
    Version { found: u32 },
    #[error("the transcript is about other evidence: {recorded} instead of {found}")]
    Evidence { recorded: String, found: String },
    #[error("{role:?} was asked something else in the round {round:?}: {recorded} instead of {found}")]
    Input { role: Role, round: Round, recorded: String, found: String },
    #[error("what {role:?} answered in the round {round:?} does not have its shape")]
    Answer { role: Role, round: Round },
    #[error("{role:?} was asked in the round {round:?} then, and is not now")]
    Unasked { role: Role, round: Round },
}

/// Feeds a negotiation that was just opened with what was said in another about the same evidence. The judgement is the
/// same but for [`Judgement::brains`], which say `recorded` where a model answered.
///
/// # Errors
/// Where the transcript is of another version, about other evidence, or anything was shown to a role that is not now.
pub fn replay(negotiation: Negotiation, asks: Vec<Ask>, transcript: &Transcript) -> Result<Judgement, Diverged> {
    if transcript.version != VERSION {
        return Err(Diverged::Version { found: transcript.version });
    }
    let found = negotiation.pack().digest();
    if transcript.evidence_digest != found {
        let (recorded, found) = (transcript.evidence_digest.clone(), found.to_owned());
        return Err(Diverged::Evidence { recorded, found });
    }
    let mut asked = Vec::new();
    let mut diverged = None;
    let judgement = negotiate(negotiation, asks, |negotiation, ask| {
        asked.push((ask.role, Round::of(&ask.question)));
        recorded(transcript, negotiation, ask).unwrap_or_else(|why| {
            diverged.get_or_insert(why);
            negotiation.deterministic_answer(ask)
        })
    });
    let unasked = transcript.calls.iter().find(|call| !asked.contains(&(call.role, call.round)));
    let unasked = unasked.map(|call| Diverged::Unasked { role: call.role, round: call.round });
    diverged.or(unasked).map_or(Ok(judgement), Err)
}

/// What was answered then; what the deterministic brain answers, where nobody did.
fn recorded(transcript: &Transcript, negotiation: &Negotiation, ask: &Ask) -> Result<Message, Diverged> {
    let (role, round) = (ask.role, Round::of(&ask.question));
    let mut answered = None;
    for call in transcript.calls.iter().filter(|call| (call.role, call.round) == (role, round)) {
        if call.input_digest != ask.input_digest {
            let (recorded, found) = (call.input_digest.clone(), ask.input_digest.clone());
            return Err(Diverged::Input { role, round, recorded, found });
        }
        if call.ended == Ended::Answered {
            answered = Some(call);
        }
    }
    let Some(call) = answered else {
        return Ok(negotiation.deterministic_answer(ask));
    };
    let reply = answer::read(round, &call.raw, negotiation.pack().digest()).ok_or(Diverged::Answer { role, round })?;
    Ok(Message { role, brain: Brain::Recorded, input_digest: ask.input_digest.clone(), reply })
}
