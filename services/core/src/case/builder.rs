//! The case builder: a pure fold of signals and links into cases.
//!
//! A lineage's signals are cut into cases by time alone, so what a case holds does not depend on when
//! its links became known: a link that comes late joins the signals gathered so far, and they are cut anew.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::lineage::{HeldLink, Lineages, NodeKey};
use super::{Case, Signal};
use crate::hash::hash64_of;
use crate::link::{self, Link, Node};
use crate::time::{HOUR_MS, MINUTE_MS, Timestamp};

/// When a case ends, and how much of it is kept in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Minutes without a signal after which a case is over.
    pub quiet_min: u32,
    /// Hours after which a case that does not go quiet is cut.
    pub length_h_max: u32,
    /// Signals of a case that are kept in full, heaviest first; of the others only the event id.
    pub signals_full_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quiet_min: 15, length_h_max: 6, signals_full_max: 128 }
    }
}

/// How long after a case went quiet a late link may still join it to another.
const LATE_LINK_MS: i64 = 15 * MINUTE_MS;
/// Signals in full that open cases may hold together; beyond it cases end before their time, and are counted.
const OPEN_FULL_MAX: usize = 16_384;
/// How far event time moves between two looks for cases that ended.
const SWEEP_MS: i64 = MINUTE_MS;

/// Open lineages and the links between them.
#[derive(Debug)]
pub struct Builder {
    limits: Limits,
    lineages: Lineages,
    open: BTreeMap<NodeKey, Gathering>,
    /// Signals in full over all of `open`, at least.
    open_full: usize,
    cut_short: u64,
    swept: Option<Timestamp>,
}

/// Where a signal lies, so that its case can be asked for while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    node: NodeKey,
    event_time: Timestamp,
    event_id: String,
}

impl Place {
    pub fn of(signal: &Signal) -> Self {
        Self { node: NodeKey::of_signal(signal), event_time: signal.event_time, event_id: signal.event_id.clone() }
    }
}

/// The signals of a lineage that are not yet in a closed case.
#[derive(Clone, Debug, Default)]
struct Gathering {
    full: Vec<Signal>,
    further: Vec<(Timestamp, String)>,
    /// Ids that wait for the next case.
    carried: Vec<(Timestamp, String)>,
    /// Ids under which cases were shown while they were open, with their first event times.
    shown: Vec<(Timestamp, String)>,
    /// At how many signals in full the next trimming is due.
    trim_at: usize,
    /// First and last event time of the signals in full: looked at each minute, of every gathering.
    span: Option<(Timestamp, Timestamp)>,
}

impl Builder {
    pub fn new(limits: Limits) -> Self {
        Self { limits, lineages: Lineages::default(), open: BTreeMap::new(), open_full: 0, cut_short: 0, swept: None }
    }

    /// Links forgotten early for want of room.
    pub fn links_forgotten(&self) -> u64 {
        self.lineages.forgotten()
    }

    /// Cases that were ended before their time for want of room.
    pub fn cut_short(&self) -> u64 {
        self.cut_short
    }

    /// The earliest event time among signals whose case has not ended.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.open.values().filter_map(Gathering::oldest).min()
    }

    /// The links of the lineage that a case's signals in full belong to, as far as they still hold.
    pub fn links_of(&mut self, case: &Case) -> Vec<HeldLink> {
        self.lineages.links_of(case.signals.iter().map(NodeKey::of_signal))
    }

    /// Takes in links that were seen elsewhere.
    pub fn hold(&mut self, links: &[HeldLink]) {
        for link in links {
            if let Some((root, merged)) = self.lineages.hold(link) {
                self.move_signals(merged, root);
            }
        }
    }

    /// Takes in what one event brought and returns the cases that ended by `now`, by (first event time, id).
    pub fn step(&mut self, now: Timestamp, links: &[Link], signal: Option<Signal>) -> Vec<Case> {
        let own = signal.as_ref().and_then(|signal| {
            link::own(&signal.principal, signal.principal_kind, &signal.session, &signal.session_name)
        });
        links.iter().chain(&own).for_each(|link| self.join(link, now));
        if let Some(signal) = signal {
            let lineage = self.lineages.find(NodeKey::of_signal(&signal));
            let gathering = self.open.entry(lineage).or_default();
            let before = gathering.full.len();
            gathering.push(signal, &self.limits);
            self.open_full = (self.open_full + gathering.full.len()).saturating_sub(before);
        }
        let is_due = self.swept.is_none_or(|swept| now.since_ms(swept) >= SWEEP_MS);
        let mut cases = if is_due || self.lineages.is_crowded() { self.sweep(now) } else { Vec::new() };
        if self.open_full > OPEN_FULL_MAX {
            cases.extend(self.make_room());
        }
        cases
    }

    fn join(&mut self, link: &Link, now: Timestamp) {
        let (Some(mut parent), Some(child)) = (NodeKey::of(&link.parent), NodeKey::of(&link.child)) else {
            return;
        };
        if matches!(link.child, Node::Instance(_)) {
            return self.lineages.command(child, parent, now);
        }
        if matches!(link.parent, Node::Instance(_)) {
            let Some(commander) = self.lineages.commander(parent, now) else {
                return;
            };
            parent = commander;
        }
        if let Some((root, merged)) = self.lineages.join(parent, child, now) {
            self.move_signals(merged, root);
        }
    }

    /// Ends half of the open cases, those whose latest signal is oldest, before their time.
    fn make_room(&mut self) -> Vec<Case> {
        let mut order: Vec<(Option<Timestamp>, NodeKey)> =
            self.open.iter().map(|(lineage, gathering)| (gathering.newest(), *lineage)).collect();
        order.sort_unstable();
        let mut cases = Vec::new();
        for (_, lineage) in order.iter().take(order.len().div_ceil(2)) {
            if let Some(mut gathering) = self.open.remove(lineage) {
                gathering.close(None, &self.limits, &mut cases);
            }
        }
        self.cut_short += cases.len() as u64;
        self.open_full = self.open.values().map(|gathering| gathering.full.len()).sum();
        cases.sort_by(|a, b| (a.first_event_time, &a.id).cmp(&(b.first_event_time, &b.id)));
        cases
    }

    /// The case of a signal as it would be if it ended now; `None` when it is over. A case's id derives from its first
    /// signal, so links and late signals may change it: whichever case this one ends in names its id among those that it
    /// replaces. Costs about as much as the lineage has signals open.
    pub fn open_case(&mut self, place: &Place) -> Option<Case> {
        let lineage = self.lineages.find(place.node);
        let own = self.open.get(&lineage).is_some_and(|gathering| gathering.holds(place)).then_some(lineage);
        // A link that was forgotten meanwhile leaves the signals where they are.
        let elsewhere = || Some(*self.open.iter().find(|(_, gathering)| gathering.holds(place))?.0);
        let gathering = self.open.get_mut(&own.or_else(elsewhere)?)?;
        let mut cases = Vec::new();
        gathering.clone().close(None, &self.limits, &mut cases);
        let case = cases.into_iter().find(|case| case.last_event_time >= place.event_time)?;
        let shown = (case.first_event_time, case.id.clone());
        if !gathering.shown.contains(&shown) {
            gathering.shown.push(shown);
        }
        Some(case)
    }

    /// Ends every case.
    pub fn finish(&mut self) -> Vec<Case> {
        self.close(None)
    }

    fn sweep(&mut self, now: Timestamp) -> Vec<Case> {
        self.swept = Some(now);
        if self.lineages.expire(now) {
            let named: Vec<NodeKey> = self.open.keys().copied().collect();
            for lineage in named {
                let root = self.lineages.find(lineage);
                if root != lineage {
                    self.move_signals(lineage, root);
                }
            }
        }
        self.close(Some(now))
    }

    fn move_signals(&mut self, from: NodeKey, to: NodeKey) {
        if let Some(gathering) = self.open.remove(&from) {
            self.open.entry(to).or_default().absorb(gathering, &self.limits);
        }
    }

    fn close(&mut self, now: Option<Timestamp>) -> Vec<Case> {
        let mut cases = Vec::new();
        for gathering in self.open.values_mut() {
            gathering.close(now, &self.limits, &mut cases);
        }
        self.open.retain(|_, gathering| !gathering.is_empty());
        self.open_full = self.open.values().map(|gathering| gathering.full.len()).sum();
        cases.sort_by(|a, b| (a.first_event_time, &a.id).cmp(&(b.first_event_time, &b.id)));
        cases
    }
}

impl Gathering {
    fn is_empty(&self) -> bool {
        self.full.is_empty() && self.further.is_empty()
    }

    fn holds(&self, place: &Place) -> bool {
        let is_it = |at: Timestamp, id: &str| at == place.event_time && id == place.event_id;
        self.full.iter().any(|signal| is_it(signal.event_time, &signal.event_id))
            || self.further.iter().chain(&self.carried).any(|(at, id)| is_it(*at, id))
    }

    fn newest(&self) -> Option<Timestamp> {
        self.span.map(|(_, newest)| newest)
    }

    fn oldest(&self) -> Option<Timestamp> {
        let full = self.span.map(|(oldest, _)| oldest);
        let further = self.further.iter().map(|(at, _)| *at).min();
        full.into_iter().chain(further).min()
    }

    fn push(&mut self, signal: Signal, limits: &Limits) {
        let at = signal.event_time;
        self.span = Some(self.span.map_or((at, at), |(oldest, newest)| (oldest.min(at), newest.max(at))));
        self.full.push(signal);
        // Trimming only after as many again came keeps the sort's cost constant a signal.
        if self.full.len() >= self.trim_at.max(limits.signals_full_max * 2) {
            self.trim(limits);
            self.trim_at = self.full.len() + limits.signals_full_max;
        }
    }

    fn absorb(&mut self, other: Gathering, limits: &Limits) {
        self.further.extend(other.further);
        self.carried.extend(other.carried);
        self.shown.extend(other.shown);
        other.full.into_iter().for_each(|signal| self.push(signal, limits));
    }

    /// Keeps the heaviest signals of each quarter of an hour (of each quiet time) in full. Signals that close belong
    /// to one case, so every case keeps its own heaviest, and a flood in one never empties another.
    fn trim(&mut self, limits: &Limits) {
        let quiet_ms = (i64::from(limits.quiet_min) * MINUTE_MS).max(1);
        let span = |signal: &Signal| signal.event_time.as_millis().div_euclid(quiet_ms);
        self.full.sort_by(|a, b| {
            span(a).cmp(&span(b)).then_with(|| b.score.total_cmp(&a.score)).then_with(|| time_order(a, b))
        });
        let (mut kept, mut current, mut of_current) = (Vec::with_capacity(self.full.len()), None, 0);
        for signal in self.full.drain(..) {
            of_current = if current == Some(span(&signal)) { of_current + 1 } else { 1 };
            current = Some(span(&signal));
            if of_current <= limits.signals_full_max {
                kept.push(signal);
            } else {
                self.further.push((signal.event_time, signal.event_id));
            }
        }
        self.full = kept;
        self.measure();
    }

    fn measure(&mut self) {
        let times = || self.full.iter().map(|signal| signal.event_time);
        self.span = times().min().zip(times().max());
    }

    fn sort(&mut self) {
        self.full.sort_by(time_order);
        self.further.sort();
    }

    /// Takes the signals up to `end` out, the heaviest in full. Both lists are sorted before and after.
    fn take_until(&mut self, end: Timestamp, limits: &Limits) -> (Vec<Signal>, Vec<(Timestamp, String)>) {
        let full_count = self.full.partition_point(|signal| signal.event_time <= end);
        let further_count = self.further.partition_point(|(at, _)| *at <= end);
        let mut taken = Gathering {
            full: self.full.drain(..full_count).collect(),
            further: self.further.drain(..further_count).collect(),
            ..Self::default()
        };
        self.measure();
        if taken.full.len() > limits.signals_full_max {
            taken.full.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| time_order(a, b)));
            let lighter = taken.full.drain(limits.signals_full_max..);
            taken.further.extend(lighter.map(|signal| (signal.event_time, signal.event_id)));
            taken.sort();
        }
        (taken.full, taken.further)
    }

    /// Moves the cases that are over by `now` (all, without it) into `cases`.
    fn close(&mut self, now: Option<Timestamp>, limits: &Limits, cases: &mut Vec<Case>) {
        let quiet_ms = i64::from(limits.quiet_min) * MINUTE_MS;
        if let (Some(now), Some((oldest, newest))) = (now, self.span) {
            let running = now.since_ms(newest) <= quiet_ms + LATE_LINK_MS;
            let short = now.since_ms(oldest) <= i64::from(limits.length_h_max) * HOUR_MS;
            if running && short && newest.since_ms(oldest) <= quiet_ms {
                return;
            }
        }
        self.sort();
        while let Some(end) = self.first_case_end(limits) {
            if now.is_some_and(|now| now.since_ms(end) <= quiet_ms + LATE_LINK_MS) {
                break;
            }
            let (full, mut further) = self.take_until(end, limits);
            if full.is_empty() {
                // The greatest length cut a flood where only ids are left: they go with the signals that follow.
                self.carried.append(&mut further);
                continue;
            }
            further.splice(0..0, self.carried.drain(..));
            if let Some(mut case) = assemble(full, further) {
                case.replaces = self.shown_until(&case);
                cases.push(case);
            }
        }
        if self.full.is_empty() && self.further.is_empty() && now.is_none() {
            // Nothing follows: they go with what came before.
            let ids = self.carried.drain(..).map(|(_, id)| id);
            if let Some(case) = cases.last_mut() {
                case.further_event_ids.extend(ids);
            }
        }
    }

    /// Takes out the ids that a case, the first of this lineage, was shown under, other than its own.
    fn shown_until(&mut self, case: &Case) -> Vec<String> {
        let is_within = |shown: &mut (Timestamp, String)| shown.0 <= case.last_event_time;
        let mut ids: Vec<String> = self.shown.extract_if(.., is_within).map(|(_, id)| id).collect();
        ids.retain(|id| *id != case.id);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The last event time of the first case, walking until a quiet gap or the greatest length. Both lists are sorted.
    fn first_case_end(&self, limits: &Limits) -> Option<Timestamp> {
        let quiet_ms = i64::from(limits.quiet_min) * MINUTE_MS;
        let length_ms_max = i64::from(limits.length_h_max) * HOUR_MS;
        let mut full = self.full.iter().map(|signal| signal.event_time).peekable();
        let mut further = self.further.iter().map(|(at, _)| *at).peekable();
        let mut next = || match (full.peek(), further.peek()) {
            (Some(a), Some(b)) if a <= b => full.next(),
            (_, Some(_)) => further.next(),
            (_, None) => full.next(),
        };
        let first = next()?;
        let mut end = first;
        while let Some(at) = next() {
            if at.since_ms(end) > quiet_ms || at.since_ms(first) > length_ms_max {
                break;
            }
            end = at;
        }
        Some(end)
    }
}

fn time_order(a: &Signal, b: &Signal) -> Ordering {
    (a.event_time, &a.event_id).cmp(&(b.event_time, &b.event_id))
}

/// Both lists are sorted by time; `full` is never empty, as every stretch keeps its heaviest.
fn assemble(full: Vec<Signal>, further: Vec<(Timestamp, String)>) -> Option<Case> {
    let (first, last) = (full.first()?, full.last()?);
    let first_event_time = further.first().map_or(first.event_time, |(at, _)| first.event_time.min(*at));
    let last_event_time = further.last().map_or(last.event_time, |(at, _)| last.event_time.max(*at));
    let id = format!("{:016x}", hash64_of([&first.event_id, &first.event_time.to_string()]));
    let heaviest = full.iter().reduce(|best, signal| if signal.score > best.score { signal } else { best })?;
    Some(Case {
        id,
        account: heaviest.account.clone(),
        principal: heaviest.principal.clone(),
        session: heaviest.session.clone(),
        first_event_time,
        last_event_time,
        further_event_ids: further.into_iter().map(|(_, id)| id).collect(),
        learned: None,
        replaces: Vec::new(),
        signals: full,
    })
}

#[cfg(test)]
mod tests;
