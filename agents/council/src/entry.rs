//! What an entry of a case's log says, and whether it is there already: pure.

use std::collections::BTreeMap;

use trailwarden_bus::Sequence;
use trailwarden_proto::v1::{self, CaseState, CaseTransition, TransitionKind};
use trailwarden_proto::wire;

use crate::Judged;
use crate::panel::Transcript;

/// Bytes of a packed entry. A case of so many events that it needs more is logged without its line.
const ENTRY_BYTES_MAX: usize = 768 << 10;
/// Event ids that such an entry names.
const EVENT_IDS_CUT: usize = 4_096;
/// People named who say otherwise.
const CONTESTED_BY_MAX: usize = 8;

/// The log of one case as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    /// All entries, in order.
    pub(crate) entries: Vec<CaseTransition>,
    /// Where the log ends; 0 when there is none.
    pub(crate) tail: Sequence,
}

/// What the fold wants a log to say, apart from what people said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    Judged(Box<v1::Case>),
    Closed(Box<v1::Case>),
    MergedInto(String),
}

/// What is to be done about a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Append it, expecting the log to end at its tail.
    Append(Box<CaseTransition>),
    /// It was said before.
    Present,
    /// Something else was said in its place.
    Differs { found: Option<Box<CaseTransition>> },
}

impl History {
    /// The case after the latest entry.
    pub(crate) fn case(&self) -> Option<&v1::Case> {
        self.entries.last()?.case.as_ref()
    }

    fn next_number(&self) -> u32 {
        self.entries.last().map_or(1, |entry| entry.number.saturating_add(1))
    }

    /// Entries that are not people's.
    fn derived(&self) -> impl Iterator<Item = &CaseTransition> {
        self.entries.iter().filter(|entry| entry.kind() != TransitionKind::Labelled)
    }

    /// Decides about the statement that is to stand at `ordinal` among those of the fold, from 1.
    pub(crate) fn decide(&self, ordinal: u32, statement: &Statement) -> Decision {
        let before = ordinal.saturating_sub(1) as usize;
        let previous = before.checked_sub(1).and_then(|at| self.derived().nth(at));
        let (case, kind) = match statement {
            Statement::Judged(case) => ((**case).clone(), TransitionKind::Judged),
            Statement::Closed(case) => ((**case).clone(), TransitionKind::Closed),
            Statement::MergedInto(into) => {
                let Some(case) = previous.and_then(|previous| previous.case.as_ref()) else {
                    // Nothing was said of it, so there is nothing to take back.
                    return Decision::Differs { found: None };
                };
                let merged_into = into.clone();
                let state = CaseState::Merged.into();
                let transcript_json = String::new();
                (v1::Case { merged_into, state, transcript_json, label: None, ..case.clone() }, TransitionKind::Merged)
            }
        };
        if let Some(found) = self.derived().nth(before) {
            let said = found.case.as_ref().map(|case| v1::Case { label: None, ..case.clone() });
            return match found.kind() == kind && said.is_some_and(|said| says_the_same(said, case)) {
                true => Decision::Present,
                false => Decision::Differs { found: Some(Box::new(found.clone())) },
            };
        }
        let label = self.case().and_then(|case| case.label.clone());
        let case = v1::Case { label, ..case };
        let transition =
            CaseTransition { sequence: 0, number: self.next_number(), case: Some(case), kind: kind.into() };
        Decision::Append(Box::new(transition))
    }

    /// Whether something stands at `ordinal` among the entries of the fold.
    pub(crate) fn has(&self, ordinal: u32) -> bool {
        self.derived().nth(ordinal.saturating_sub(1) as usize).is_some()
    }

    /// What models said of the case as it was before `ordinal`; empty where none was asked.
    pub(crate) fn transcript_before(&self, ordinal: u32) -> &str {
        let before = ordinal.checked_sub(2).and_then(|at| self.derived().nth(at as usize));
        before.and_then(|entry| entry.case.as_ref()).map_or("", |case| case.transcript_json.as_str())
    }

    /// What models said of the case as it was judged last, whatever people said since; empty where none was asked.
    pub(crate) fn transcript(&self) -> &str {
        let latest = self.derived().last().and_then(|entry| entry.case.as_ref());
        latest.map_or("", |case| case.transcript_json.as_str())
    }

    /// The entry that says what a person found the case to be; `None` without a case.
    pub(crate) fn labelled(&self, label: v1::CaseLabel) -> Option<CaseTransition> {
        // The transcript stands in the entry that it led to; a label does not repeat it.
        let transcript_json = String::new();
        let label = v1::CaseLabel { contested_by: self.contested_by(&label), ..label };
        let case = v1::Case { label: Some(label), transcript_json, ..self.case()?.clone() };
        let kind = TransitionKind::Labelled.into();
        Some(CaseTransition { sequence: 0, number: self.next_number(), case: Some(case), kind })
    }

    /// Others than a label's author whose latest word is another.
    fn contested_by(&self, label: &v1::CaseLabel) -> Vec<String> {
        let labelled = self.entries.iter().filter(|entry| entry.kind() == TransitionKind::Labelled);
        let said = labelled.filter_map(|entry| entry.case.as_ref()?.label.as_ref());
        let latest: BTreeMap<&str, &str> = said.map(|said| (said.author.as_str(), said.verdict.as_str())).collect();
        let others = latest.into_iter().filter(|(author, word)| *author != label.author && *word != label.verdict);
        others.map(|(author, _)| author.to_owned()).take(CONTESTED_BY_MAX).collect()
    }

    /// Labels so far.
    pub(crate) fn labels(&self) -> usize {
        self.entries.len() - self.derived().count()
    }
}

/// Whether two entries say the same of a case. Models say something else each time, and other terms (a bound that was set
/// meanwhile, a new calibration) may say something else of the same evidence; where it is so, it is the same case that
/// counts, and not what was found. What is logged stays.
fn says_the_same(one: v1::Case, other: v1::Case) -> bool {
    let without_models = one.transcript_json.is_empty() && other.transcript_json.is_empty();
    if without_models && one.judged_under == other.judged_under {
        return one == other;
    }
    let bare = |case: v1::Case| v1::Case {
        score: 0.0,
        verdict: String::new(),
        severity: String::new(),
        line_json: String::new(),
        transcript_json: String::new(),
        judged_under: String::new(),
        ..case
    };
    let (one, other) = (bare(one), bare(other));
    let both = one.event_ids.len().min(other.event_ids.len());
    // One of them may have been cut: its line was longer.
    let is_cut = both == EVENT_IDS_CUT;
    let ids =
        one.event_ids[..both] == other.event_ids[..both] && (is_cut || one.event_ids.len() == other.event_ids.len());
    ids && v1::Case { event_ids: Vec::new(), ..one } == v1::Case { event_ids: Vec::new(), ..other }
}

/// A judged case on the wire; `revision` counts judgements from 1.
pub(crate) fn to_wire(judged: Judged, transcript: Option<&Transcript>, state: CaseState, revision: u32) -> v1::Case {
    let Judged { case, judgement, line_json } = judged;
    let full = case.signals.into_iter().map(|signal| signal.event_id);
    let mut wire = v1::Case {
        event_ids: full.chain(case.further_event_ids).collect(),
        id: case.id,
        account: case.account,
        principal: case.principal,
        session: case.session,
        first_event_time_ms: case.first_event_time.as_millis(),
        last_event_time_ms: case.last_event_time.as_millis(),
        score: judgement.probability,
        verdict: judgement.verdict.as_str().to_owned(),
        severity: judgement.severity.as_str().to_owned(),
        line_json,
        state: state.into(),
        revision,
        label: None,
        merged_into: String::new(),
        transcript_json: transcript.map(Transcript::to_json).unwrap_or_default(),
        judged_under: judgement.basis.terms,
    };
    if wire::pack(&wire).len() > ENTRY_BYTES_MAX {
        tracing::warn!(case = wire.id, events = wire.event_ids.len(), "case is too large for its line to be logged");
        wire.line_json.clear();
        wire.event_ids.truncate(EVENT_IDS_CUT);
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Judge;
    use crate::fixtures::{Counting, case};

    fn judged(events: &[&str], revision: u32) -> Statement {
        Statement::Judged(Box::new(to_wire(Counting.judge(case("a", events)), None, CaseState::Open, revision)))
    }

    /// Appends until nothing new is to be said, as a log would.
    fn append(history: &mut History, ordinal: u32, statement: &Statement) {
        let Decision::Append(entry) = history.decide(ordinal, statement) else { panic!("not appended") };
        history.entries.push(*entry);
        history.tail += 1;
    }

    #[test]
    fn what_was_said_is_not_said_again_whatever_people_say_between() {
        let mut history = History::default();
        let (first, second) = (judged(&["x"], 1), judged(&["x", "y"], 2));
        append(&mut history, 1, &first);
        let label = v1::CaseLabel { verdict: "benign".into(), ..v1::CaseLabel::default() };
        let labelled = history.labelled(label.clone()).expect("there is a case");
        history.entries.push(labelled);
        append(&mut history, 2, &second);
        append(&mut history, 3, &Statement::MergedInto("b".into()));
        assert_eq!(history.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let case = history.case().expect("there is a case");
        assert_eq!((case.label.as_ref(), case.merged_into.as_str()), (Some(&label), "b"));
        assert_eq!(case.state(), CaseState::Merged);
        for (ordinal, statement) in [(1, first), (2, second), (3, Statement::MergedInto("b".into()))] {
            assert_eq!(history.decide(ordinal, &statement), Decision::Present, "{ordinal}");
        }
    }

    #[test]
    fn what_models_said_is_found_behind_what_people_said_since() {
        let said =
            Transcript { version: 1, evidence_digest: "e".into(), prompts_digest: String::new(), calls: Vec::new() };
        let wire = to_wire(Counting.judge(case("a", &["x"])), Some(&said), CaseState::Open, 1);
        let mut history = History::default();
        assert_eq!(history.transcript(), "");
        append(&mut history, 1, &Statement::Judged(Box::new(wire)));
        let labelled = history.labelled(v1::CaseLabel::default()).expect("there is a case");
        history.entries.push(labelled);
        assert_eq!(history.case().map(|case| case.transcript_json.as_str()), Some(""));
        assert_eq!(history.transcript(), said.to_json());
    }

    #[test]
    fn what_differs_is_told_and_never_overwritten() {
        let mut history = History::default();
        append(&mut history, 1, &judged(&["x"], 1));
        for other in [judged(&["z"], 1), Statement::MergedInto("b".into())] {
            assert!(matches!(history.decide(1, &other), Decision::Differs { .. }), "{other:?}");
        }
        let Statement::Judged(case) = judged(&["x"], 1) else { unreachable!() };
        assert!(matches!(history.decide(1, &Statement::Closed(case)), Decision::Differs { .. }));
    }

    #[test]
    fn what_was_judged_under_other_terms_stays_as_it_is() {
        let under = |terms: &str, verdict: &str, events: &[&str]| {
            let Statement::Judged(case) = judged(events, 1) else { unreachable!() };
            let (judged_under, verdict) = (terms.to_owned(), verdict.to_owned());
            Statement::Judged(Box::new(v1::Case { judged_under, verdict, ..*case }))
        };
        let mut history = History::default();
        append(&mut history, 1, &under("one", "insufficient", &["x"]));
        // The operator set a bound meanwhile, and the fold comes by again.
        assert_eq!(history.decide(1, &under("other", "benign", &["x"])), Decision::Present);
        // An entry from before terms had names.
        let mut old = History::default();
        append(&mut old, 1, &under("", "insufficient", &["x"]));
        assert_eq!(old.decide(1, &under("other", "benign", &["x"])), Decision::Present);
        // Under the same terms the same has to come out; and another case is another case under any.
        for statement in [under("one", "benign", &["x"]), under("other", "insufficient", &["z"])] {
            assert!(matches!(history.decide(1, &statement), Decision::Differs { .. }), "{statement:?}");
        }
    }

    #[test]
    fn a_label_names_who_says_otherwise() {
        let mut history = History::default();
        append(&mut history, 1, &judged(&["x"], 1));
        for (author, verdict, contested) in [
            ("ann", "malicious", &[][..]),
            ("bob", "malicious", &[]),
            ("cat", "benign", &["ann", "bob"]),
            ("bob", "benign", &["ann"]),
            ("ann", "benign", &[]),
        ] {
            let label = v1::CaseLabel { verdict: verdict.into(), author: author.into(), ..v1::CaseLabel::default() };
            let entry = history.labelled(label).expect("there is a case");
            let said = entry.case.as_ref().and_then(|case| case.label.clone()).expect("labelled");
            assert_eq!(said.contested_by, contested, "{author}: {verdict}");
            history.entries.push(entry);
        }
    }

    #[test]
    fn a_case_of_a_flood_is_cut_to_what_a_message_holds() {
        let mut flood = case("a", &["x"]);
        // Digits without a pattern, so that compression does not hide the size.
        flood.further_event_ids = (0..60_000_u64)
            .map(|at| format!("{:032x}", u128::from(trailwarden_core::hash::hash64(&at.to_string())) << 40))
            .collect();
        let wire = to_wire(Counting.judge(flood), None, CaseState::Closed, 1);
        assert_eq!((wire.event_ids.len(), wire.line_json.as_str()), (EVENT_IDS_CUT, ""));
    }
}
