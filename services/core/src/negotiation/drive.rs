//! Driving a negotiation to its end, one question after the other.

use std::collections::VecDeque;

use super::exchange::{Ask, Message, Reply, Step};
use super::freeze::freeze;
use super::machine::Negotiation;
use super::{Brain, Judgement, Terms};
use crate::api::Vocabulary;
use crate::case::Case;
use crate::detection::Rule;
use crate::registry::Registry;

/// Freezes a case and lets the deterministic brains negotiate it to the end.
pub fn negotiate_deterministically(
    case: &Case,
    rules: &[Rule],
    registry: &Registry,
    vocabulary: &Vocabulary,
    terms: &Terms,
) -> Judgement {
    let (pack, handles) = freeze(case, rules, registry, vocabulary);
    let (negotiation, asks) = Negotiation::open(pack, handles, terms.clone());
    negotiate(negotiation, asks, Negotiation::deterministic_answer)
}

/// Drives a negotiation that was just opened to its end, one question after the other. An answer to another question than
/// the one that was asked counts as none.
pub fn negotiate(
    mut negotiation: Negotiation,
    asks: Vec<Ask>,
    mut answer: impl FnMut(&Negotiation, &Ask) -> Message,
) -> Judgement {
    let mut asks = VecDeque::from(asks);
    loop {
        let ask =
            asks.pop_front().expect("until it concludes, every stage but a waiting one asks, and none waits here");
        let mut message = answer(&negotiation, &ask);
        if message.role != ask.role || message.input_digest != ask.input_digest {
            let Ask { role, input_digest, .. } = ask;
            message = Message { role, brain: Brain::Deterministic, input_digest, reply: Reply::Missing };
        }
        for step in negotiation.apply(message) {
            match step {
                Step::Ask(ask) => asks.push_back(ask),
                Step::Concluded(judgement) => return *judgement,
            }
        }
    }
}
