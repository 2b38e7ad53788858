//! The case builder: a pure fold of signals and links into cases.
//!
//! A lineage's signals are cut into cases by time alone, so what a case holds does not depend on when
//! its links became known: a link that comes late joins the signals gathered so far, and they are cut anew.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::lineage::{Lineages, NodeKey};
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

/// The signals of a lineage that are not yet in a closed case.
#[derive(Debug, Default)]
struct Gathering {
    full: Vec<Signal>,
    further: Vec<(Timestamp, String)>,
    /// Ids that wait for the next case.
    carried: Vec<(Timestamp, String)>,
    /// At how many signals in full the next trimming is due.
    trim_at: usize,
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

    /// Ends every case.
    pub fn finish(&mut self) -> Vec<Case> {
        self.close(None)
    }

    fn sweep(&mut self, now: Timestamp) -> Vec<Case> {
        self.swept = Some(now);
        if self.lineages.expire(now) {
            for (lineage, gathering) in std::mem::take(&mut self.open) {
                let root = self.lineages.find(lineage);
                self.open.entry(root).or_default().absorb(gathering, &self.limits);
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

    fn newest(&self) -> Option<Timestamp> {
        self.full.iter().map(|signal| signal.event_time).max()
    }

    fn oldest(&self) -> Option<Timestamp> {
        let full = self.full.iter().map(|signal| signal.event_time).min();
        let further = self.further.iter().map(|(at, _)| *at).min();
        full.into_iter().chain(further).min()
    }

    fn push(&mut self, signal: Signal, limits: &Limits) {
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
        let newest = self.full.iter().map(|signal| signal.event_time).max();
        if let (Some(now), Some(newest)) = (now, newest) {
            let oldest = self.full.iter().map(|signal| signal.event_time).min().unwrap_or(newest);
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
            cases.extend(assemble(full, further));
        }
        if self.full.is_empty() && self.further.is_empty() && now.is_none() {
            // Nothing follows: they go with what came before.
            let ids = self.carried.drain(..).map(|(_, id)| id);
            if let Some(case) = cases.last_mut() {
                case.further_event_ids.extend(ids);
            }
        }
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
        signals: full,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::activity::{Credential, Details, PrincipalKind};
    use crate::feature::FeatureVector;
    use crate::level::Level;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * MINUTE_MS)
    }

    fn signal(minutes: i64, session: &str, score: f64) -> Signal {
        Signal {
            event_id: format!("{session}-{minutes}"),
            event_time: at(minutes),
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            service: "iam".into(),
            call: "CreateUser".into(),
            principal: format!("principal of {session}"),
            principal_kind: PrincipalKind::Role,
            session: session.into(),
            session_name: String::new(),
            credential: Credential::TemporaryKey,
            mfa: None,
            source: String::new(),
            user_agent: String::new(),
            error_code: None,
            read_only: None,
            score,
            level: Level::None,
            detections: Vec::new(),
            features: FeatureVector::default(),
            learned: None,
            reasons: Vec::new(),
            details: Details::default(),
        }
    }

    fn link(parent: &str, child: &str) -> Link {
        Link { parent: Node::Session(parent.into()), child: Node::Session(child.into()) }
    }

    /// Runs steps in the given order; each is (minute, links, signal).
    fn run(steps: Vec<(i64, Vec<Link>, Option<Signal>)>) -> Vec<Vec<String>> {
        let mut builder = Builder::new(Limits::default());
        let mut cases = Vec::new();
        for (minutes, links, signal) in steps {
            cases.extend(builder.step(at(minutes), &links, signal));
        }
        cases.extend(builder.finish());
        let mut ids: Vec<Vec<String>> =
            cases.iter().map(|case| case.signals.iter().map(|signal| signal.event_id.clone()).collect()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn cuts_by_quiet_time_and_length() {
        let steps = |minutes: &[i64]| minutes.iter().map(|m| (*m, vec![], Some(signal(*m, "a", 0.5)))).collect();
        assert_eq!(run(steps(&[0, 15, 30])).len(), 1);
        assert_eq!(run(steps(&[0, 16])).len(), 2);
        let long: Vec<i64> = (0..50).map(|step| step * 10).collect();
        let cases = run(steps(&long));
        assert_eq!(cases.iter().map(Vec::len).sum::<usize>(), 50);
        assert_eq!(cases.len(), 2);
    }

    #[test]
    fn a_lineage_is_one_case_over_principals_and_accounts() {
        let cases = run(vec![
            (0, vec![], Some(signal(0, "a", 0.5))),
            (1, vec![link("a", "b")], None),
            (2, vec![], Some(signal(2, "b", 0.5))),
            (3, vec![], Some(signal(3, "stranger", 0.5))),
        ]);
        assert_eq!(cases, vec![vec!["a-0".to_owned(), "b-2".to_owned()], vec!["stranger-3".to_owned()]]);
    }

    #[test]
    fn keeps_the_heaviest_in_full_and_the_ids_of_all() {
        let mut builder = Builder::new(Limits { signals_full_max: 4, ..Limits::default() });
        for step in 0..40 {
            builder.step(
                at(step / 4),
                &[],
                Some(Signal {
                    event_id: format!("{step:02}"),
                    ..signal(step / 4, "a", if step == 20 { 0.9 } else { 0.1 })
                }),
            );
        }
        let cases = builder.finish();
        assert_eq!((cases.len(), cases[0].signals.len(), cases[0].further_event_ids.len()), (1, 4, 36));
        assert!(cases[0].signals.iter().any(|signal| signal.score > 0.8));
    }

    proptest! {
        /// Links that come up to a quarter of an hour late, in any order, end in the same cases.
        #[test]
        fn late_links_change_nothing(delays in prop::collection::vec(0_i64..14, 4), minutes in prop::collection::vec(0_i64..40, 5..20)) {
            let names = ["a", "b", "c", "d", "e"];
            let signals = || minutes.iter().enumerate().map(|(index, minute)| {
                (*minute, vec![], Some(Signal { event_id: format!("{index}"), ..signal(*minute, names[index % 5], 0.5) }))
            });
            let links = |delay: &dyn Fn(usize) -> i64| {
                (0..4).map(|index| (delay(index), vec![link(names[index], names[index + 1])], None)).collect::<Vec<_>>()
            };
            let ordered = |late: Vec<(i64, Vec<Link>, Option<Signal>)>| {
                let mut steps: Vec<_> = signals().chain(late).collect();
                steps.sort_by_key(|(minute, _, _)| *minute);
                run(steps)
            };
            prop_assert_eq!(ordered(links(&|_| 0)), ordered(links(&|index| delays[index])));
        }
    }
}
