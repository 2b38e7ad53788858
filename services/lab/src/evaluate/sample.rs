//! A council from outside of the lab, heard on a sample of the cases that stage one raises, beside those of stage two on the same
//! sample. Models are slow and cost money, so not every case is put to them.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trailwarden_core::case::Case;
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation, Terms, freeze, negotiate};

use crate::dataset::Reader;
use crate::table::{Council, Sampled};

use super::stage_two::{Answer, Fates, RAISED, measured};

/// Whoever answers from outside: asked now, or fed from what was said before.
pub struct Outside<'a> {
    /// What its row is called.
    pub name: String,
    pub pick: Pick,
    /// Its answer about a case; `None` where it has none to this one.
    pub answer: &'a dyn Fn(Negotiation, Vec<Ask>) -> Option<Heard>,
}

/// Which of the cases are put to it.
#[derive(Clone, Debug)]
pub enum Pick {
    /// As many false and true ones, all alike likely, the same for the same seed: at most so many together.
    Drawn { seed: u64, cases_max: usize },
    /// Those with evidence of these digests.
    Named(BTreeSet<String>),
}

/// What a council from outside made of a case, and what that cost.
#[derive(Clone, Debug)]
pub struct Heard {
    pub judgement: Judgement,
    pub calls: u64,
    pub tokens: u64,
    pub seconds: f64,
    /// `None` where prices are not known.
    pub micro_dollars: Option<u64>,
}

/// A case that was picked.
struct Picked {
    case: Case,
    /// By number, over all folds.
    incidents: Vec<u32>,
    terms: Terms,
}

/// Cases as they are picked, one after the other.
pub(super) struct Sampler {
    pick: Pick,
    random: ChaCha8Rng,
    /// False ones and true ones: kept, and how many came.
    sides: [(Vec<Picked>, usize); 2],
}

impl Sampler {
    pub(super) fn new(pick: &Pick) -> Self {
        let seed = if let Pick::Drawn { seed, .. } = pick { *seed } else { 0 };
        Self { pick: pick.clone(), random: ChaCha8Rng::seed_from_u64(seed), sides: Default::default() }
    }

    /// Keeps a case, or does not; of a stream of any length each has the same chance (Vitter 1985, algorithm R).
    pub(super) fn offer(&mut self, reader: &Reader, case: &Case, fold: usize, incidents: &[u32], terms: &Terms) {
        let (pack, handles) = freeze(case, reader.rules.rules(), reader.registry(), &reader.vocabulary);
        if let Pick::Named(digests) = &self.pick
            && !digests.contains(pack.digest())
        {
            return;
        }
        if Negotiation::open(pack, handles, terms.clone()).0.stage_one().1 < RAISED {
            return;
        }
        // Incidents are numbered anew in each organisation.
        let incidents: Vec<u32> = incidents.iter().map(|incident| ((fold as u32) << 24) | incident).collect();
        let (kept, came) = &mut self.sides[usize::from(!incidents.is_empty())];
        *came += 1;
        let room = match self.pick {
            Pick::Drawn { cases_max, .. } => cases_max / 2,
            Pick::Named(_) => usize::MAX,
        };
        let picked = Picked { case: case.clone(), incidents, terms: terms.clone() };
        if kept.len() < room {
            kept.push(picked);
        } else if let Some(place) = kept.get_mut(self.random.random_range(0..*came)) {
            *place = picked;
        }
    }

    /// Has the council from outside judge what was picked, and then the others what it judged.
    pub(super) fn heard(
        self,
        reader: &Reader,
        outside: &Outside<'_>,
        others: &[(&str, Answer)],
        elapsed: &dyn Fn() -> Duration,
        say: &dyn Fn(&str),
    ) -> Sampled {
        let picked: Vec<Picked> = self.sides.into_iter().flat_map(|(kept, _)| kept).collect();
        let mut told = Sampled { picked: picked.len() as u64, ..Sampled::default() };
        let council = |name: &str| Council { name: name.to_owned(), ..Council::default() };
        let mut heard_of = (council(&outside.name), Fates::default());
        let mut beside: Vec<(Council, Fates)> =
            others.iter().map(|(name, _)| (council(name), Fates::default())).collect();
        for (number, picked) in picked.iter().enumerate() {
            let opened = || {
                let (pack, handles) = freeze(&picked.case, reader.rules.rules(), reader.registry(), &reader.vocabulary);
                Negotiation::open(pack, handles, picked.terms.clone())
            };
            let (negotiation, asks) = opened();
            let (_, stage_one) = negotiation.stage_one();
            let Some(heard) = (outside.answer)(negotiation, asks) else {
                continue;
            };
            told.heard += 1;
            let (council, fates) = &mut heard_of;
            council.calls += heard.calls;
            council.tokens += heard.tokens;
            council.seconds += heard.seconds;
            let cost = council.micro_dollars.into_iter().chain(heard.micro_dollars);
            council.micro_dollars = cost.reduce(u64::saturating_add);
            measured(council, fates, &picked.incidents, stage_one, &heard.judgement);
            for ((_, answer), (council, fates)) in others.iter().zip(&mut beside) {
                let began = elapsed();
                let (negotiation, asks) = opened();
                let judgement = negotiate(negotiation, asks, answer);
                council.seconds += elapsed().saturating_sub(began).as_secs_f64();
                measured(council, fates, &picked.incidents, stage_one, &judgement);
            }
            say(&format!("case {} of {} of the sample", number + 1, told.picked));
        }
        told.councils = beside
            .into_iter()
            .chain([heard_of])
            .map(|(mut council, fates)| {
                fates.count(&mut council);
                council
            })
            .collect();
        told
    }
}
