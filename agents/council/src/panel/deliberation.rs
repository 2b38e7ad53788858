//! A negotiation in which a model is asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::{Instant, timeout};
use trailwarden_core::negotiation::exchange::{Ask, Message, Question, Reply, Step};
use trailwarden_core::negotiation::{Brain, Judgement, Negotiation};
use trailwarden_models::{self as models, Error, Model, Usage, ask_typed};

use super::allowance::Allowance;
use super::answer::{Answer, ChoiceAnswer, LeanAnswer, OpinionAnswer, RebuttalAnswer, ReportAnswer};
use super::question::Prompt;
use super::transcript::MODEL_BYTES_MAX;
use super::{Call, Ended, Panel, RAW_BYTES_MAX, Round, Transcript, VERSION};

/// Drives a negotiation that was just opened to its end. Questions that are open at once are asked at once.
///
/// Always concludes, within the panel's limits. Where no answer comes in time and in form, the deterministic brain
/// answers; where none comes at all, the judgement is that of the deterministic brains.
pub async fn deliberate(mut negotiation: Negotiation, asks: Vec<Ask>, panel: &Panel) -> (Judgement, Transcript) {
    let evidence_digest = negotiation.pack().digest().to_owned();
    let mut transcript = Transcript { version: VERSION, evidence_digest, calls: Vec::new() };
    let sitting = Sitting { panel, begun: Instant::now(), allowance: Mutex::new(Allowance::new(panel.limits)) };
    let mut asks = asks;
    loop {
        assert!(!asks.is_empty(), "until it concludes, a negotiation of which all questions are answered asks another");
        let answers = join_all(asks.iter().map(|ask| sitting.answer(&negotiation, ask))).await;
        asks = Vec::new();
        for (message, calls) in answers {
            transcript.calls.extend(calls);
            for step in negotiation.apply(message) {
                match step {
                    Step::Ask(ask) => asks.push(ask),
                    Step::Concluded(judgement) => return (*judgement, transcript),
                }
            }
        }
    }
}

/// One case before the panel.
struct Sitting<'a> {
    panel: &'a Panel,
    begun: Instant,
    allowance: Mutex<Allowance>,
}

impl Sitting<'_> {
    /// The answer to a question, and the calls that led to it.
    async fn answer(&self, negotiation: &Negotiation, ask: &Ask) -> (Message, Vec<Call>) {
        let Some(prompt) = self.panel.prompts.get(&ask.role) else {
            return (negotiation.deterministic_answer(ask), Vec::new());
        };
        let seat = Seat { sitting: self, ask, prompt, calls: Mutex::default() };
        let question = prompt.question(negotiation.pack(), ask);
        let digest = negotiation.pack().digest();
        let reply = match &ask.question {
            Question::Opinion => seat.put::<OpinionAnswer>(&question, digest).await,
            Question::Rebut(_) => seat.put::<RebuttalAnswer>(&question, digest).await,
            Question::Lean(_) => seat.put::<LeanAnswer>(&question, digest).await,
            Question::Choose(_) => seat.put::<ChoiceAnswer>(&question, digest).await,
            Question::Report(_) => seat.put::<ReportAnswer>(&question, digest).await,
        };
        let calls = seat.calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(reply) = reply else {
            return (negotiation.deterministic_answer(ask), calls);
        };
        let brain = Brain::Llm(cut(self.panel.model.name(), MODEL_BYTES_MAX));
        (Message { role: ask.role, brain, input_digest: ask.input_digest.clone(), reply }, calls)
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        lock(&self.allowance)
    }
}

/// The model as one role is asked: within what is left of the case, and every call written down.
struct Seat<'a> {
    sitting: &'a Sitting<'a>,
    ask: &'a Ask,
    prompt: &'a Prompt,
    calls: Mutex<Vec<Call>>,
}

impl Seat<'_> {
    /// `None` where no answer in form came.
    async fn put<T: Answer>(&self, question: &models::Question, evidence_digest: &str) -> Option<Reply> {
        let asked = ask_typed::<T>(self, question).await;
        if asked.value.is_ok() {
            // Only who reads an answer knows that it has the shape.
            if let Some(call) = lock(&self.calls).last_mut() {
                call.ended = Ended::Answered;
            }
        }
        asked.value.ok().map(|answer| answer.reply(evidence_digest))
    }

    fn write_down(&self, question: &models::Question, raw: &str, used: Usage, took_ms: u128, ended: Ended) {
        let mut calls = lock(&self.calls);
        let attempt = calls.len() as u32 + 1;
        calls.push(Call {
            role: self.ask.role,
            round: Round::of(&self.ask.question),
            attempt,
            input_digest: self.ask.input_digest.clone(),
            prompt_digest: self.prompt.digest.clone(),
            model: cut(self.sitting.panel.model.name(), MODEL_BYTES_MAX),
            tokens_max: question.tokens_max,
            raw: cut(raw, RAW_BYTES_MAX),
            tokens: used.into(),
            milliseconds: u64::try_from(took_ms).unwrap_or(u64::MAX),
            ended,
        });
    }
}

#[async_trait]
impl Model for Seat<'_> {
    fn name(&self) -> &str {
        self.sitting.panel.model.name()
    }

    async fn ask(&self, question: &models::Question) -> Result<models::Reply, Error> {
        let foreseen = Usage::foreseen(question);
        let begun = Instant::now();
        let spent = begun - self.sitting.begun;
        let reserved = self.sitting.allowance().reserve(Round::of(&self.ask.question), foreseen.total(), spent);
        let patience = match reserved {
            Ok(patience) => patience,
            Err(of) => {
                self.write_down(question, "", Usage::default(), 0, Ended::Skipped);
                return Err(Error::BudgetSpent { of });
            }
        };
        let answer = match timeout(patience, self.sitting.panel.model.ask(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { after: patience }),
        };
        let used = match &answer {
            // A service that counts nothing is believed to have used what was foreseen.
            Ok(reply) if reply.usage.total() > 0 => reply.usage,
            Err(error) if !error.may_have_cost() => Usage::default(),
            _ => foreseen,
        };
        self.sitting.allowance().settle(foreseen.total(), used.total());
        let answer = answer.and_then(|reply| match reply.text.len() {
            0..=RAW_BYTES_MAX => Ok(reply),
            _ => Err(Error::TooLarge { bytes_max: RAW_BYTES_MAX }),
        });
        let took_ms = begun.elapsed().as_millis();
        match &answer {
            // Until somebody has read it.
            Ok(reply) => self.write_down(question, &reply.text, used, took_ms, Ended::Malformed),
            Err(error) => self.write_down(question, "", used, took_ms, error.kind().into()),
        }
        answer
    }
}

/// The first bytes of a text, whole characters only.
fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

/// Nothing panics half-way through a change, so a poisoned lock holds a sound state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
