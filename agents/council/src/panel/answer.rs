//! What a model said, read into a reply that core then checks. Untrusted: any text may stand in it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use trailwarden_core::negotiation::brain::{Claim, Lean, Opinion, Pick, TechniqueClaim};
use trailwarden_core::negotiation::exchange::Reply;
use trailwarden_core::negotiation::rebuttal::Play;

use super::Round;

/// The answer to one kind of question. What it says beyond its fields is not read.
pub(super) trait Answer: DeserializeOwned {
    /// `evidence_digest` is of the evidence that was shown.
    fn reply(self, evidence_digest: &str) -> Reply;
}

#[derive(Deserialize)]
pub(super) struct OpinionAnswer {
    claims: Vec<Claim>,
    #[serde(default)]
    abstain: bool,
    #[serde(default)]
    techniques: Vec<TechniqueClaim>,
}

#[derive(Deserialize)]
pub(super) struct RebuttalAnswer {
    attacks: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct LeanAnswer {
    lean: Lean,
}

#[derive(Deserialize)]
pub(super) struct ChoiceAnswer {
    steps: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ReportAnswer {
    sentence: String,
}

impl Answer for OpinionAnswer {
    fn reply(self, evidence_digest: &str) -> Reply {
        let Self { claims, abstain, techniques } = self;
        Reply::Opinion(Opinion { evidence_digest: evidence_digest.to_owned(), claims, abstain, techniques })
    }
}

impl Answer for RebuttalAnswer {
    fn reply(self, _: &str) -> Reply {
        let play = |text: String| match text.split_once(" on ") {
            Some((by, on)) => Play { by: by.to_owned(), on: on.to_owned() },
            // No attack of the table: it is rejected as such.
            None => Play { by: text, on: String::new() },
        };
        Reply::Rebuttal(self.attacks.into_iter().map(play).collect())
    }
}

impl Answer for LeanAnswer {
    fn reply(self, _: &str) -> Reply {
        Reply::Lean(self.lean)
    }
}

impl Answer for ChoiceAnswer {
    fn reply(self, _: &str) -> Reply {
        let pick = |text: String| match text.split_once(' ') {
            Some((playbook, target)) => Pick { playbook: playbook.to_owned(), target: target.to_owned() },
            None => Pick { playbook: text, target: String::new() },
        };
        Reply::Choice(self.steps.into_iter().map(pick).collect())
    }
}

impl Answer for ReportAnswer {
    fn reply(self, _: &str) -> Reply {
        Reply::Sentence(self.sentence)
    }
}

/// Reads what was said in a round; `None` where it does not have the shape.
pub(super) fn read(round: Round, raw: &str, evidence_digest: &str) -> Option<Reply> {
    fn of<T: Answer>(raw: &str, evidence_digest: &str) -> Option<Reply> {
        serde_json::from_str::<T>(raw).ok().map(|answer| answer.reply(evidence_digest))
    }
    match round {
        Round::Opinion => of::<OpinionAnswer>(raw, evidence_digest),
        Round::Rebuttal => of::<RebuttalAnswer>(raw, evidence_digest),
        Round::Lean => of::<LeanAnswer>(raw, evidence_digest),
        Round::Choice => of::<ChoiceAnswer>(raw, evidence_digest),
        Round::Report => of::<ReportAnswer>(raw, evidence_digest),
    }
}
