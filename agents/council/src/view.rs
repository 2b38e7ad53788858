//! Cases as their logs tell them, kept in memory for whoever lists, gets or watches. Fed by the stream of all logs from
//! its beginning, so it is the same after a restart.
//!
//! Of every case is kept what lists are made by; what its log says of it only of those that began last, packed as it
//! travelled. Most cases are never asked for again, and of those that are, the log itself can be asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::watch;
use trailwarden_bus::Sequence;
use trailwarden_proto::v1::{Case, CaseState, CaseTransition};
use trailwarden_proto::wire;

/// What an entry costs beyond its packed bytes: its place in maps and queues.
const OVERHEAD_BYTES: usize = 512;

/// What is kept in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Cases, those that began last.
    pub(crate) cases_max: usize,
    /// Their latest transitions, packed, of as many of them as fit; those that began last.
    pub(crate) case_bytes_max: usize,
    /// Latest transitions, for watchers.
    pub(crate) transitions_max: usize,
    /// The same, packed.
    pub(crate) transition_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { cases_max: 50_000, case_bytes_max: 8 << 20, transitions_max: 4_096, transition_bytes_max: 8 << 20 }
    }
}

/// Place of a case in a list: when it began, then its id.
pub(crate) type Place = (i64, String);

/// All cases that are kept.
#[derive(Debug)]
pub(crate) struct View {
    held: Mutex<Held>,
    /// Sequence of the latest transition.
    latest: watch::Sender<Sequence>,
}

#[derive(Debug, Default)]
struct Held {
    bounds: Bounds,
    cases: BTreeMap<String, Kept>,
    order: BTreeSet<Place>,
    /// Those of which is held what their logs say.
    told: BTreeSet<Place>,
    case_bytes: usize,
    transitions: VecDeque<Packed>,
    transition_bytes: usize,
    /// Up to here, transitions are no longer held.
    forgotten: Sequence,
}

/// A transition, packed. Its clones share the bytes.
#[derive(Clone, Debug)]
struct Packed {
    sequence: Sequence,
    payload: Bytes,
}

/// What lists ask for, and the latest that a log says of a case, where that is held.
#[derive(Debug)]
struct Kept {
    said: Option<Packed>,
    began_ms: i64,
    state: CaseState,
    verdict: String,
    /// Of the case as an answer carries it.
    bytes: usize,
}

/// What a list shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Any without one.
    pub(crate) verdicts: BTreeSet<String>,
    pub(crate) open_only: bool,
}

impl Filter {
    fn shows(&self, case: &Kept) -> bool {
        case.state != CaseState::Merged
            && (!self.open_only || case.state == CaseState::Open)
            && (self.verdicts.is_empty() || self.verdicts.contains(&case.verdict))
    }
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) cases: Vec<Shown>,
    /// Where the next page goes on; `None` at the end.
    pub(crate) next: Option<Place>,
}

/// A case of a list.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Held(Box<Case>),
    /// What there is to say stands in the log of the case with this id.
    Logged(String),
}

/// What was asked for is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Everything after this sequence is held.
    pub(crate) until: Sequence,
}

impl Packed {
    fn new(transition: &CaseTransition) -> Self {
        Self { sequence: transition.sequence, payload: wire::pack(transition) }
    }

    /// `None` never, since it was packed here.
    fn unpack(&self) -> Option<CaseTransition> {
        wire::unpack(&self.payload).ok()
    }

    fn case(&self) -> Option<Case> {
        self.unpack()?.case
    }

    fn cost(&self) -> usize {
        self.payload.len() + OVERHEAD_BYTES
    }
}

impl View {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { held: Mutex::new(Held { bounds, ..Held::default() }), latest: watch::Sender::new(0) }
    }

    /// Every change is whole before anything can panic, so a poisoned lock hides nothing half done.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a transition; one that was taken in before changes nothing.
    pub(crate) fn apply(&self, transition: &CaseTransition) {
        let sequence = transition.sequence;
        if sequence > *self.latest.borrow() {
            let packed = Packed::new(transition);
            self.held().apply(transition.case.as_ref(), packed);
            self.latest.send_replace(sequence);
        }
    }

    /// Tells of new transitions.
    pub(crate) fn latest(&self) -> watch::Receiver<Sequence> {
        self.latest.subscribe()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Case> {
        let said = self.held().cases.get(id).and_then(|kept| kept.said.clone());
        said?.case()
    }

    /// Transitions from a sequence on, at most `transitions_max`.
    pub(crate) fn since(&self, from: Sequence, transitions_max: usize) -> Result<Vec<CaseTransition>, Forgotten> {
        let held = self.held();
        if from <= held.forgotten {
            return Err(Forgotten { until: held.forgotten });
        }
        let first = held.transitions.partition_point(|transition| transition.sequence < from);
        let packed: Vec<Packed> = held.transitions.range(first..).take(transitions_max).cloned().collect();
        // Unpacking keeps nobody waiting.
        drop(held);
        Ok(packed.iter().filter_map(Packed::unpack).collect())
    }

    /// Cases that begin before `after` (without it, all), the latest first, at most `cases_max` of at most
    /// `bytes_max` together, but one at least.
    pub(crate) fn list(&self, filter: &Filter, after: Option<&Place>, cases_max: usize, bytes_max: usize) -> Page {
        let (found, next) = self.held().list(filter, after, cases_max, bytes_max);
        // Unpacking keeps nobody waiting.
        let cases = found.into_iter().map(|(id, said)| match said.and_then(|said| said.case()) {
            Some(case) => Shown::Held(Box::new(case)),
            None => Shown::Logged(id),
        });
        Page { cases: cases.collect(), next }
    }
}

impl Held {
    fn list(
        &self,
        filter: &Filter,
        after: Option<&Place>,
        cases_max: usize,
        bytes_max: usize,
    ) -> (Vec<(String, Option<Packed>)>, Option<Place>) {
        let places: Box<dyn Iterator<Item = &Place>> = match after {
            Some(after) => Box::new(self.order.range(..after.clone()).rev()),
            None => Box::new(self.order.iter().rev()),
        };
        let (mut cases, mut bytes, mut last) = (Vec::new(), 0, None);
        let shown = places.filter_map(|place| Some((place, self.cases.get(&place.1)?)));
        for (place, case) in shown.filter(|(_, case)| filter.shows(case)) {
            bytes += case.bytes;
            if cases.len() == cases_max || (bytes > bytes_max && !cases.is_empty()) {
                return (cases, last);
            }
            cases.push((place.1.clone(), case.said.clone()));
            last = Some(place.clone());
        }
        (cases, None)
    }

    fn apply(&mut self, case: Option<&Case>, packed: Packed) {
        if let Some(case) = case {
            self.keep(case, packed.clone());
        }
        self.transition_bytes += packed.cost();
        self.transitions.push_back(packed);
        while self.transitions.len() > self.bounds.transitions_max
            || self.transition_bytes > self.bounds.transition_bytes_max
        {
            let Some(oldest) = self.transitions.pop_front() else { return };
            self.transition_bytes -= oldest.cost();
            self.forgotten = oldest.sequence;
        }
    }

    fn keep(&mut self, case: &Case, said: Packed) {
        self.drop_case(&case.id);
        let (began_ms, state, verdict) = (case.first_event_time_ms, case.state(), case.verdict.clone());
        let place = (began_ms, case.id.clone());
        self.order.insert(place.clone());
        self.told.insert(place);
        self.case_bytes += said.cost();
        let kept = Kept { said: Some(said), began_ms, state, verdict, bytes: case.encoded_len() };
        self.cases.insert(case.id.clone(), kept);
        while self.cases.len() > self.bounds.cases_max {
            let Some((_, oldest)) = self.order.first().cloned() else { return };
            self.drop_case(&oldest);
        }
        while self.case_bytes > self.bounds.case_bytes_max {
            let Some((_, oldest)) = self.told.pop_first() else { return };
            let said = self.cases.get_mut(&oldest).and_then(|kept| kept.said.take());
            self.case_bytes -= said.map_or(0, |said| said.cost());
        }
    }

    fn drop_case(&mut self, id: &str) {
        if let Some((id, kept)) = self.cases.remove_entry(id) {
            let place = (kept.began_ms, id);
            self.order.remove(&place);
            self.told.remove(&place);
            self.case_bytes -= kept.said.map_or(0, |said| said.cost());
        }
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_proto::v1::TransitionKind;

    use super::*;

    fn transition(sequence: Sequence, id: &str, began: i64, verdict: &str, state: CaseState) -> CaseTransition {
        let case = Case {
            id: id.into(),
            first_event_time_ms: began,
            verdict: verdict.into(),
            state: state.into(),
            ..Case::default()
        };
        let kind = TransitionKind::Judged.into();
        CaseTransition { sequence, number: 1, case: Some(case), kind }
    }

    fn ids<'p>(page: &'p Page) -> Vec<&'p str> {
        let id = |shown: &'p Shown| match shown {
            Shown::Held(case) => case.id.as_str(),
            Shown::Logged(id) => id,
        };
        page.cases.iter().map(id).collect()
    }

    #[test]
    fn lists_by_time_in_pages_without_a_gap() {
        let view = View::new(Bounds::default());
        let cases = [
            ("a", 5, "benign", CaseState::Closed),
            ("b", 9, "malicious", CaseState::Open),
            ("c", 5, "malicious", CaseState::Closed),
            ("d", 7, "suspicious", CaseState::Merged),
            ("e", 1, "suspicious", CaseState::Open),
        ];
        for (sequence, (id, began, verdict, state)) in (1..).zip(cases) {
            view.apply(&transition(sequence, id, began, verdict, state));
        }
        let all = Filter::default();
        assert_eq!(ids(&view.list(&all, None, 10, usize::MAX)), ["b", "c", "a", "e"], "a merged case is not listed");
        let mut walked = Vec::new();
        let mut after = None;
        for bytes_max in [usize::MAX, 1, usize::MAX, 1, 1] {
            let page = view.list(&all, after.as_ref(), 1, bytes_max);
            walked.extend(ids(&page).into_iter().map(str::to_owned));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(walked, ["b", "c", "a", "e"]);
        let malicious = Filter { verdicts: ["malicious".to_owned()].into(), open_only: false };
        assert_eq!(ids(&view.list(&malicious, None, 10, usize::MAX)), ["b", "c"]);
        assert_eq!(ids(&view.list(&Filter { open_only: true, ..all }, None, 10, usize::MAX)), ["b", "e"]);
        assert_eq!(view.get("d").map(|case| case.state()), Some(CaseState::Merged));
    }

    #[test]
    fn keeps_what_began_last_and_tells_what_it_forgot() {
        let bounds = Bounds { cases_max: 2, transitions_max: 3, ..Bounds::default() };
        let view = View::new(bounds);
        for (sequence, id, began) in [(2, "a", 3), (4, "b", 1), (5, "a", 3), (8, "c", 2), (8, "ghost", 9), (9, "b", 1)]
        {
            view.apply(&transition(sequence, id, began, "benign", CaseState::Closed));
        }
        assert_eq!(ids(&view.list(&Filter::default(), None, 9, usize::MAX)), ["a", "c"]);
        assert_eq!(view.since(4, 9).err(), Some(Forgotten { until: 4 }));
        let sequences = |from| -> Vec<u64> {
            view.since(from, 2).expect("held").iter().map(|transition| transition.sequence).collect()
        };
        assert_eq!((sequences(5), sequences(6), sequences(10)), (vec![5, 8], vec![8, 9], vec![]));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let one = transition(1, "a", 1, "benign", CaseState::Closed);
        let bounds = Bounds {
            case_bytes_max: Packed::new(&one).cost() * 2 + 9,
            transition_bytes_max: Packed::new(&one).cost() * 3 + 9,
            ..Bounds::default()
        };
        let view = View::new(bounds);
        for (sequence, id) in (1..).zip(["a", "b", "c", "d", "e"]) {
            view.apply(&transition(sequence, id, sequence as i64, "benign", CaseState::Closed));
        }
        let page = view.list(&Filter::default(), None, 9, usize::MAX);
        assert_eq!(ids(&page), ["e", "d", "c", "b", "a"], "all are listed");
        let held: Vec<bool> = page.cases.iter().map(|shown| matches!(shown, Shown::Held(_))).collect();
        assert_eq!(held, [true, true, false, false, false]);
        assert_eq!((view.get("d").is_some(), view.get("c")), (true, None));
        assert_eq!(view.since(3, 9).map(|held| held.len()), Ok(3));
        // What is told anew of one that began earlier than all that is held is not held either.
        view.apply(&transition(9, "a", 1, "suspicious", CaseState::Closed));
        let suspicious = Filter { verdicts: ["suspicious".to_owned()].into(), open_only: false };
        assert_eq!(ids(&view.list(&suspicious, None, 9, usize::MAX)), ["a"]);
        assert_eq!((view.get("d").is_some(), view.get("a")), (true, None));
    }
}
