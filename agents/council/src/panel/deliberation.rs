//! A negotiation in which a model is asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::{Instant, timeout};
use trailwarden_core::negotiation::brain::Lean;
use trailwarden_core::negotiation::exchange::{Ask, Message, Question, Reply, Step};
use trailwarden_core::negotiation::{Brain, Judgement, Negotiation};
use trailwarden_models::{self as models, Error, Model, Price, Usage, ask_typed};

use super::advice;
use super::allowance::Allowance;
use super::answer::{Answer, ChoiceAnswer, LeanAnswer, OpinionAnswer, RebuttalAnswer, ReportAnswer};
use super::question::Prompt;
use super::transcript::MODEL_BYTES_MAX;
use super::{Call, Ended, Local, Panel, RAW_BYTES_MAX, Round, Transcript, VERSION};
use crate::apart::apart;

/// Drives a negotiation that was just opened to its end. Questions that are open at once are asked at once.
///
/// Always concludes, within the panel's limits. Where no answer comes in time and in form, the deterministic brain
/// answers; where none comes at all, the judgement is that of the deterministic brains.
pub async fn deliberate(mut negotiation: Negotiation, asks: Vec<Ask>, panel: &Panel) -> (Judgement, Transcript) {
    let evidence_digest = negotiation.pack().digest().to_owned();
    let prompts_digest = Panel::prompts_digest();
    let mut transcript = Transcript { version: VERSION, evidence_digest, prompts_digest, calls: Vec::new() };
    let sitting = Sitting { panel, begun: Instant::now(), allowance: Mutex::new(Allowance::new(panel.limits)) };
    let mut asks = asks;
    loop {
        assert!(!asks.is_empty(), "until it concludes, a negotiation of which all questions are answered asks another");
        let answers = join_all(asks.iter().map(|ask| sitting.answer(&negotiation, ask))).await;
        let (messages, calls): (Vec<Message>, Vec<_>) = answers.into_iter().unzip();
        transcript.calls.extend(calls.into_iter().flatten());
        let (next, steps) = apart(move || applied(negotiation, messages)).await;
        negotiation = next;
        asks = Vec::new();
        for step in steps {
            match step {
                Step::Ask(ask) => asks.push(ask),
                Step::Concluded(judgement) => return (*judgement, transcript),
            }
        }
    }
}

/// What follows from answers. The last ones end in the search for what would change the judgement, which judges the case some
/// hundred times more.
fn applied(mut negotiation: Negotiation, messages: Vec<Message>) -> (Negotiation, Vec<Step>) {
    let steps = messages.into_iter().flat_map(|message| negotiation.apply(message)).collect();
    (negotiation, steps)
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
        let calls = Mutex::default();
        let mut answered = match (&self.panel.model, self.panel.prompts.get(&ask.role)) {
            (Some(model), Some(prompt)) => {
                let seat = Seat { sitting: self, model: model.as_ref(), ask, prompt, calls: &calls };
                seat.answer(negotiation).await.map(|reply| (model.name(), reply))
            }
            _ => None,
        };
        if answered.is_none()
            && let (Question::Lean(standing), Some(local)) = (&ask.question, &self.panel.local)
        {
            let lean = self.advised(ask, &advice::content(standing), local, &calls).await;
            answered = lean.map(|lean| (local.advisor.name(), Reply::Lean(lean)));
        }
        let calls = calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some((model, reply)) = answered else {
            return (negotiation.deterministic_answer(ask), calls);
        };
        let brain = Brain::Llm(cut(model, MODEL_BYTES_MAX));
        (Message { role: ask.role, brain, input_digest: ask.input_digest.clone(), reply }, calls)
    }

    /// What the local model leans to. It costs time of the case, and no tokens.
    async fn advised(&self, ask: &Ask, content: &str, local: &Local, calls: &Mutex<Vec<Call>>) -> Option<Lean> {
        let about = About {
            ask,
            prompt_digest: &local.prompt_digest,
            model: local.advisor.name(),
            tokens_max: 0,
            used: Usage::default(),
            price: None,
        };
        let begun = Instant::now();
        let reserved = self.allowance().reserve(Round::Lean, 0, begun - self.begun);
        let Ok(patience) = reserved else {
            write_down(calls, &about, "", 0, Ended::Skipped);
            return None;
        };
        let weighed = timeout(patience, local.advisor.weigh(content, patience)).await;
        let weighed = weighed.unwrap_or(Err(Error::Timeout { after: patience }));
        let took_ms = begun.elapsed().as_millis();
        match weighed {
            Ok(weighed) => {
                let (lean, kept) = advice::advice(weighed);
                write_down(calls, &about, &kept, took_ms, Ended::Answered);
                Some(lean)
            }
            Err(error) => {
                write_down(calls, &about, "", took_ms, error.kind().into());
                None
            }
        }
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        lock(&self.allowance)
    }
}

/// The model as one role is asked: within what is left of the case, and every call written down.
struct Seat<'a> {
    sitting: &'a Sitting<'a>,
    model: &'a dyn Model,
    ask: &'a Ask,
    prompt: &'a Prompt,
    calls: &'a Mutex<Vec<Call>>,
}

impl Seat<'_> {
    async fn answer(&self, negotiation: &Negotiation) -> Option<Reply> {
        let question = self.prompt.question(negotiation.pack(), self.ask);
        let digest = negotiation.pack().digest();
        match &self.ask.question {
            Question::Opinion => self.put::<OpinionAnswer>(&question, digest).await,
            Question::Rebut(_) => self.put::<RebuttalAnswer>(&question, digest).await,
            Question::Lean(_) => self.put::<LeanAnswer>(&question, digest).await,
            Question::Choose(_) => self.put::<ChoiceAnswer>(&question, digest).await,
            Question::Report(_) => self.put::<ReportAnswer>(&question, digest).await,
        }
    }

    /// `None` where no answer in form came.
    async fn put<T: Answer>(&self, question: &models::Question, evidence_digest: &str) -> Option<Reply> {
        let asked = ask_typed::<T>(self, question).await;
        if asked.value.is_ok() {
            // Only who reads an answer knows that it has the shape.
            if let Some(call) = lock(self.calls).last_mut() {
                call.ended = Ended::Answered;
            }
        }
        asked.value.ok().map(|answer| answer.reply(evidence_digest))
    }

    fn write_down(&self, question: &models::Question, raw: &str, used: Usage, took_ms: u128, ended: Ended) {
        let about = About {
            ask: self.ask,
            prompt_digest: &self.prompt.digest,
            model: self.model.name(),
            tokens_max: question.tokens_max,
            used,
            price: self.sitting.panel.price,
        };
        write_down(self.calls, &about, raw, took_ms, ended);
    }
}

/// What a call was about.
struct About<'a> {
    ask: &'a Ask,
    prompt_digest: &'a str,
    model: &'a str,
    tokens_max: u32,
    used: Usage,
    price: Option<Price>,
}

fn write_down(calls: &Mutex<Vec<Call>>, about: &About<'_>, raw: &str, took_ms: u128, ended: Ended) {
    let mut calls = lock(calls);
    let attempt = calls.len() as u32 + 1;
    calls.push(Call {
        role: about.ask.role,
        round: Round::of(&about.ask.question),
        attempt,
        input_digest: about.ask.input_digest.clone(),
        prompt_digest: about.prompt_digest.to_owned(),
        model: cut(about.model, MODEL_BYTES_MAX),
        tokens_max: about.tokens_max,
        raw: cut(raw, RAW_BYTES_MAX),
        tokens: about.used.into(),
        micro_dollars: about.price.map(|price| price.of(about.used)),
        milliseconds: u64::try_from(took_ms).unwrap_or(u64::MAX),
        ended,
    });
}

#[async_trait]
impl Model for Seat<'_> {
    fn name(&self) -> &str {
        self.model.name()
    }

    async fn ask(&self, question: &models::Question) -> Result<models::Reply, Error> {
        let foreseen = Usage::foreseen(question);
        let begun = Instant::now();
        let spent = begun - self.sitting.begun;
        let reserved = self.sitting.allowance().reserve(Round::of(&self.ask.question), foreseen.total(), spent);
        let patience = match reserved {
            Ok(patience) => patience,
            Err(of) => {
                let is_spent = self.sitting.panel.is_short && of == Allowance::TOKENS;
                let ended = if is_spent { Ended::Budget } else { Ended::Skipped };
                self.write_down(question, "", Usage::default(), 0, ended);
                return Err(Error::BudgetSpent { of });
            }
        };
        let answer = match timeout(patience, self.model.ask(question)).await {
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
