//! `lab evaluate --stage 2`: what a council makes of the cases that stage one raises, on the headline's organisations:
//! campaigns and organisations that the model never saw.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trailwarden_core::case::Case;
use trailwarden_core::hash::hash64;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::brain::{self, Claim, Lean, Opinion};
use trailwarden_core::negotiation::evidence::EvidencePack;
use trailwarden_core::negotiation::exchange::{Ask, Message, Question, Reply};
pub(super) use trailwarden_core::negotiation::pool::RAISED;
use trailwarden_core::negotiation::predicate::{Predicate, Strength};
use trailwarden_core::negotiation::{Bounds, Brain, Judgement, Negotiation, Terms, freeze, negotiate};
use trailwarden_scorer::Scorer;
use trailwarden_scorer::bundle::Origin;

use crate::Error;
use crate::cases::each_of_product;
use crate::dataset::Reader;
use crate::generate;
use crate::table::{Council, Scope, StageTwo};
use crate::train::Options;
use crate::universe::{FOLDS, Organisation, Phase, Universe};

use super::sample::{Outside, Sampler};
use super::{trained, training, without};

/// Claims of one opinion of the council that claims at random, at most.
const RANDOM_CLAIMS_MAX: usize = 8;
const RANDOM_EVIDENCE_MAX: usize = 3;

/// A way to answer for all roles.
pub(super) type Answer = fn(&Negotiation, &Ask) -> Message;

const COUNCILS: [(&str, Answer); 2] =
    [("deterministic", Negotiation::deterministic_answer), ("random claims", random_answer)];

/// Measures councils without any model behind them, and on a sample of the cases one from `outside`, where there is any. `elapsed`
/// is a clock that only goes on.
///
/// # Errors
/// When there is no room on disk.
pub fn stage_two(
    universe: &Universe,
    options: &Options,
    close_up_to: f64,
    outside: Option<&Outside<'_>>,
    elapsed: &dyn Fn() -> Duration,
    say: &dyn Fn(&str),
) -> Result<StageTwo, Error> {
    let reader = Reader::new()?;
    let environment = &universe.judged;
    let bounds = Bounds { close_up_to: Some(close_up_to), ..Bounds::default() };
    let mut told = StageTwo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: environment.name.to_owned(),
        generator: generate::digest(),
        close_up_to: close_up_to.min(Bounds::CLOSE_MAX),
        councils: COUNCILS.map(|(name, _)| Council { name: name.to_owned(), ..Council::default() }).into(),
        ..StageTwo::default()
    };
    let training = training(&reader, universe, say)?;
    let options = Options { networks: false, ..options.clone() };
    let mut sampler = outside.map(|outside| Sampler::new(&outside.pick));
    for fold in 0..FOLDS {
        say(&format!("fold {} of {FOLDS}", fold + 1));
        let trained = trained(&reader, &without(fold, &training), Origin::default(), &options, say)?;
        let scorer = Scorer::from_bytes(&trained.bundle.to_bytes()?)?;
        let settings = environment.settings(fold);
        let organisation = Organisation::generate(&reader, &settings, false)?;
        told.seeds.push(settings.seed);
        told.events += organisation.dataset.len() as u64;
        say("cases");
        let mut fates: [Fates; COUNCILS.len()] = Default::default();
        each_of_product(&reader, &organisation, Some(&scorer), |case, incidents| {
            // Before the first attack nothing is measured: the model's threshold may come from there.
            if Phase::of(organisation.dataset.first, case.first_event_time) == Phase::Test {
                let councils = told.councils.iter_mut().zip(&mut fates);
                let terms = scorer.terms(bounds);
                judge(&reader, case, &incidents, &terms, elapsed, councils);
                if let Some(sampler) = &mut sampler {
                    sampler.offer(&reader, case, fold, &incidents, &terms);
                }
            }
        })?;
        for (council, fates) in told.councils.iter_mut().zip(fates) {
            fates.count(council);
        }
    }
    if let (Some(sampler), Some(outside)) = (sampler, outside) {
        say("the council from outside");
        told.sample = Some(sampler.heard(&reader, outside, &COUNCILS, elapsed, say));
    }
    Ok(told)
}

/// What is left of each attack of an organisation: whether any case of it is.
#[derive(Default)]
struct Attacks(BTreeMap<u32, bool>);

#[derive(Default)]
pub(super) struct Fates {
    listed: Attacks,
    raised: Attacks,
}

impl Fates {
    pub(super) fn count(&self, council: &mut Council) {
        self.listed.count(&mut council.listed);
        self.raised.count(&mut council.raised);
    }
}

impl Attacks {
    fn add(&mut self, incidents: &[u32], is_left: bool) {
        for incident in incidents {
            *self.0.entry(*incident).or_default() |= is_left;
        }
    }

    fn count(&self, scope: &mut Scope) {
        scope.attacks += self.0.len() as u64;
        scope.attacks_lost += self.0.values().filter(|is_left| !**is_left).count() as u64;
    }
}

/// Has every council judge a case.
fn judge<'a>(
    reader: &Reader,
    case: &Case,
    incidents: &[u32],
    terms: &Terms,
    elapsed: &dyn Fn() -> Duration,
    councils: impl Iterator<Item = (&'a mut Council, &'a mut Fates)>,
) {
    for ((_, answer), (council, fates)) in COUNCILS.into_iter().zip(councils) {
        let began = elapsed();
        let (pack, handles) = freeze(case, reader.rules.rules(), reader.registry(), &reader.vocabulary);
        let (negotiation, asks) = Negotiation::open(pack, handles, terms.clone());
        let (_, stage_one) = negotiation.stage_one();
        let judgement = negotiate(negotiation, asks, answer);
        council.seconds += elapsed().saturating_sub(began).as_secs_f64();
        measured(council, fates, incidents, stage_one, &judgement);
    }
}

/// Counts what a council made of a case.
pub(super) fn measured(
    council: &mut Council,
    fates: &mut Fates,
    incidents: &[u32],
    stage_one: Severity,
    judgement: &Judgement,
) {
    let (is_true, is_closed) = (!incidents.is_empty(), judgement.verdict == Verdict::Benign);
    count(&mut council.listed, is_true, stage_one, judgement);
    fates.listed.add(incidents, !is_closed);
    if stage_one >= RAISED {
        count(&mut council.raised, is_true, stage_one, judgement);
        fates.raised.add(incidents, !is_closed && judgement.severity >= RAISED);
    }
}

/// Counts what became of a case.
fn count(scope: &mut Scope, is_true: bool, stage_one: Severity, judgement: &Judgement) {
    let is_closed = judgement.verdict == Verdict::Benign;
    let is_lowered = !is_closed && judgement.severity < stage_one;
    if is_true {
        scope.true_cases += 1;
        scope.true_closed += u64::from(is_closed);
        scope.true_lowered += u64::from(is_lowered);
        scope.true_sunk += u64::from(is_lowered && stage_one >= RAISED && judgement.severity < RAISED);
    } else {
        scope.false_cases += 1;
        scope.false_closed += u64::from(is_closed);
        scope.false_lowered += u64::from(is_lowered);
        scope.false_raised += u64::from(judgement.severity > stage_one);
    }
}

/// What somebody would answer who knows the vocabulary and nothing of the case: what a council is worth has to be seen
/// against it. Counts as a model, and is the same for the same case.
fn random_answer(negotiation: &Negotiation, ask: &Ask) -> Message {
    let seed = hash64(&ask.input_digest);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let reply = match &ask.question {
        Question::Opinion => {
            let owned: Vec<Predicate> =
                Predicate::ALL.iter().copied().filter(|predicate| predicate.owner() == ask.role).collect();
            let handles = handles(negotiation.pack());
            let claims = (0..random.random_range(0..=RANDOM_CLAIMS_MAX)).filter_map(|_| {
                let evidence = (0..random.random_range(1..=RANDOM_EVIDENCE_MAX))
                    .filter_map(|_| handles.choose(&mut random).cloned());
                let evidence = evidence.collect();
                let predicate = owned.choose(&mut random)?.name().to_owned();
                Some(Claim { predicate, evidence, strength: Strength::Strong })
            });
            let claims = claims.collect();
            Reply::Opinion(Opinion {
                evidence_digest: negotiation.pack().digest().to_owned(),
                claims,
                ..Opinion::default()
            })
        }
        Question::Rebut(open) => {
            Reply::Rebuttal(brain::rebuttal(open).into_iter().filter(|_| random.random()).collect())
        }
        Question::Lean(_) => {
            let leans = [Lean::Benign, Lean::Suspicious, Lean::Malicious, Lean::Abstain];
            Reply::Lean(leans.choose(&mut random).copied().unwrap_or(Lean::Abstain))
        }
        Question::Choose(_) | Question::Report(_) => Reply::Missing,
    };
    let (role, input_digest) = (ask.role, ask.input_digest.clone());
    Message { role, brain: Brain::Llm("random".to_owned()), input_digest, reply }
}

/// What a claim may cite.
fn handles(pack: &EvidencePack) -> Vec<String> {
    let evidence = pack.evidence();
    let detections = evidence.detections.iter().map(|detection| detection.handle);
    let events = evidence.events.iter().map(|event| event.handle);
    let facts = evidence.baseline.iter().map(|fact| fact.handle);
    detections.chain(events).chain(facts).map(|handle| handle.to_string()).collect()
}
