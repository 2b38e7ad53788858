//! People's words on cases, made into what counts: each case once, and only where they agree.
//!
//! Anybody who may label may also be wrong, or hostile. So one author's latest word is that author's; a case on which authors
//! disagree counts for nothing and is named; a case that comes twice, under one id or under two that share an event, counts once,
//! as whichever of its records makes bounds narrower. Cases of generated or rehearsed logs, and those judged by another model, are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::refit::INTERCEPT_MAX;
use super::terms::Pooled;
use crate::level::Verdict;

/// Conflicts that are named; the rest are counted.
pub const CONFLICTS_NAMED_MAX: usize = 32;
/// Log-odds beyond which nothing that was pooled can lie.
const PRIOR_MAX: f64 = 256.0;
/// The same of what roles may add together: see [`super::pool::CAPS`].
const ROLES_MAX: f64 = 4.75;

/// A case with a person's word on it. Untrusted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelledCase {
    pub case_id: String,
    pub event_ids: Vec<String>,
    pub label: Option<Verdict>,
    pub author: String,
    pub at_ms: i64,
    /// Of generated or rehearsed logs.
    pub is_synthetic: bool,
    /// Other people say otherwise.
    pub is_contested: bool,
    /// Of the bundle that weighed it.
    pub model: Option<String>,
    /// `None` where what the pool made of it is not known.
    pub pooled: Option<Pooled>,
}

/// A case that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    pub case_id: String,
    pub pooled: Pooled,
}

/// What counts, and what does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// Labelled malicious, by case id.
    pub attacks: Vec<Counted>,
    /// Labelled benign, by case id.
    pub benign: Vec<Counted>,
    pub left_out: LeftOut,
}

/// Records that do not count, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// A case that another record told of already.
    pub duplicates: usize,
    /// Of cases on which people disagree.
    pub conflicting: usize,
    /// The first of these cases.
    pub conflicts: Vec<String>,
    pub synthetic: usize,
    /// Labelled suspicious or insufficient.
    pub undecided: usize,
    /// Weighed by another model.
    pub other_model: usize,
    /// Without what the pool made of it, or with numbers that no pool gives.
    pub incomplete: usize,
}

impl Pooled {
    fn is_sound(&self) -> bool {
        let within = |value: f64, most: f64| (-most..=most).contains(&value);
        within(self.prior, PRIOR_MAX) && within(self.roles, ROLES_MAX) && within(self.roles_deterministic, ROLES_MAX)
    }
}

/// Settles what people said of cases that `model` weighed. The order of the records does not matter.
pub fn settle(records: &[LabelledCase], model: Option<&str>) -> Settled {
    let mut settled = Settled::default();
    for (case_id, group) in grouped(records) {
        settled.add(case_id, &group, model);
    }
    let by_id = |a: &Counted, b: &Counted| a.case_id.cmp(&b.case_id);
    settled.attacks.sort_by(by_id);
    settled.benign.sort_by(by_id);
    settled
}

/// Records of one case together: those with one id, or that share an event. Under the first of its ids.
fn grouped(records: &[LabelledCase]) -> BTreeMap<&str, Vec<&LabelledCase>> {
    let mut parents: Vec<usize> = (0..records.len()).collect();
    let mut first: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        let events = record.event_ids.iter().map(|id| (true, id.as_str()));
        for key in events.chain([(false, record.case_id.as_str())]) {
            let other = *first.entry(key).or_insert(at);
            let (one, other) = (root(&mut parents, at), root(&mut parents, other));
            parents[one.max(other)] = one.min(other);
        }
    }
    let mut by_root: BTreeMap<usize, Vec<&LabelledCase>> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        by_root.entry(root(&mut parents, at)).or_default().push(record);
    }
    let named = by_root.into_values().map(|group| {
        let name = group.iter().map(|record| record.case_id.as_str()).min().unwrap_or_default();
        (name, group)
    });
    named.collect()
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// What people say of one case, each author's latest word; one who says two things at once says both.
fn words(group: &[&LabelledCase]) -> BTreeSet<Verdict> {
    let mut latest: BTreeMap<&str, (i64, BTreeSet<Verdict>)> = BTreeMap::new();
    for record in group {
        let Some(label) = record.label else { continue };
        let word = latest.entry(&record.author).or_insert((record.at_ms, BTreeSet::new()));
        if record.at_ms > word.0 {
            *word = (record.at_ms, BTreeSet::new());
        }
        if record.at_ms == word.0 {
            word.1.insert(label);
        }
    }
    latest.into_values().flat_map(|(_, words)| words).collect()
}

impl Settled {
    fn add(&mut self, case_id: &str, group: &[&LabelledCase], model: Option<&str>) {
        let out = &mut self.left_out;
        let words = words(group);
        let agreed = words.first().copied().filter(|_| words.len() == 1);
        if group.iter().any(|record| record.is_synthetic) {
            out.synthetic += group.len();
        } else if group.iter().any(|record| record.is_contested) || words.len() > 1 {
            out.conflicting += group.len();
            if out.conflicts.len() < CONFLICTS_NAMED_MAX {
                out.conflicts.push(case_id.to_owned());
            }
        } else if !matches!(agreed, Some(Verdict::Malicious | Verdict::Benign)) {
            out.undecided += group.len();
        } else {
            self.count(case_id, group, model, agreed == Some(Verdict::Malicious));
        }
    }

    fn count(&mut self, case_id: &str, group: &[&LabelledCase], model: Option<&str>, is_attack: bool) {
        let (own, other): (Vec<_>, Vec<_>) = group.iter().copied().partition(|record| record.model.as_deref() == model);
        let sound: Vec<Pooled> = own.iter().filter_map(|record| record.pooled).filter(Pooled::is_sound).collect();
        let out = &mut self.left_out;
        out.other_model += other.len();
        out.incomplete += own.len() - sound.len();
        out.duplicates += sound.len().saturating_sub(1);
        // Which one must not depend on order, and must not make a bound wider than another would.
        let pooled = sound.into_iter().reduce(|one, other| one.dangerous(other, is_attack));
        let counted = pooled.map(|pooled| Counted { case_id: case_id.to_owned(), pooled });
        if is_attack { self.attacks.extend(counted) } else { self.benign.extend(counted) }
    }
}

impl Pooled {
    /// Of two records of one case a third one, which comes through sooner than either: an attack is closed, a benign case acted upon.
    fn dangerous(self, other: Self, is_attack: bool) -> Self {
        let worse = if is_attack { f64::min } else { f64::max };
        Self {
            prior: worse(self.prior, other.prior),
            roles: worse(self.roles, other.roles),
            roles_deterministic: worse(self.roles_deterministic, other.roles_deterministic),
            is_fitted: self.is_fitted && other.is_fitted,
            may_close: self.may_close || other.may_close,
            may_act: self.may_act || other.may_act,
        }
    }
}

const _: () = assert!(PRIOR_MAX > INTERCEPT_MAX);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(case_id: &str, label: Verdict, author: &str, at_ms: i64) -> LabelledCase {
        LabelledCase {
            case_id: case_id.to_owned(),
            event_ids: vec![format!("event of {case_id}")],
            label: Some(label),
            author: author.to_owned(),
            at_ms,
            model: Some("m".to_owned()),
            pooled: Some(Pooled::default()),
            ..LabelledCase::default()
        }
    }

    fn told(records: &[LabelledCase]) -> (usize, usize, LeftOut) {
        let settled = settle(records, Some("m"));
        (settled.attacks.len(), settled.benign.len(), settled.left_out)
    }

    #[test]
    fn each_case_counts_once_and_only_where_people_agree() {
        use Verdict::{Benign, Insufficient, Malicious, Suspicious};
        let one = record("a", Malicious, "ann", 1);
        assert_eq!(told(std::slice::from_ref(&one)), (1, 0, LeftOut::default()));
        let twice = LeftOut { duplicates: 1, ..LeftOut::default() };
        assert_eq!(told(&[one.clone(), record("a", Malicious, "bob", 2)]), (1, 0, twice.clone()));
        // Another id, the same event.
        let alias = LabelledCase { event_ids: one.event_ids.clone(), ..record("b", Malicious, "ann", 1) };
        assert_eq!(told(&[one.clone(), alias.clone()]), (1, 0, twice.clone()));
        // A later word of the same author takes the former back; another author's is another word.
        assert_eq!(told(&[one.clone(), record("a", Benign, "ann", 2)]), (0, 1, twice));
        let conflict = |cases: &[&str]| LeftOut {
            conflicting: 2,
            conflicts: cases.iter().map(|&case| case.to_owned()).collect(),
            ..LeftOut::default()
        };
        assert_eq!(told(&[one.clone(), record("a", Benign, "bob", 2)]), (0, 0, conflict(&["a"])));
        assert_eq!(told(&[one.clone(), record("a", Benign, "ann", 1)]), (0, 0, conflict(&["a"])), "both at once");
        let doubt = LabelledCase { event_ids: one.event_ids.clone(), ..record("b", Suspicious, "bob", 9) };
        assert_eq!(told(&[doubt, one.clone()]), (0, 0, conflict(&["a"])));
        let contested = LabelledCase { is_contested: true, ..one.clone() };
        assert_eq!(told(&[contested]).2.conflicts, ["a"]);

        let out = |records: &[LabelledCase]| told(records).2;
        assert_eq!(out(&[record("a", Insufficient, "ann", 1)]), LeftOut { undecided: 1, ..LeftOut::default() });
        let drill = LabelledCase { is_synthetic: true, ..one.clone() };
        assert_eq!(out(&[drill, record("a", Benign, "eve", 3)]), LeftOut { synthetic: 2, ..LeftOut::default() });
        let other = LabelledCase { model: None, ..one.clone() };
        assert_eq!(out(&[other]), LeftOut { other_model: 1, ..LeftOut::default() });
        for pooled in [
            None,
            Some(Pooled { prior: f64::NAN, ..Pooled::default() }),
            Some(Pooled { roles: -5.0, ..Pooled::default() }),
        ] {
            assert_eq!(out(&[LabelledCase { pooled, ..one.clone() }]), LeftOut { incomplete: 1, ..LeftOut::default() });
        }
    }

    fn any_record() -> impl Strategy<Value = LabelledCase> {
        let label = prop::option::weighted(0.95, prop::sample::select(Verdict::ALL));
        let pooled = (-9.0..9.0f64, -3.0..3.0f64, any::<bool>());
        let model = prop::option::weighted(0.9, Just("m".to_owned()));
        ((0u8..8, 0u8..3, 0i64..3), label, prop::collection::vec(0u8..12, 0..3), pooled, model, 0u8..16).prop_map(
            |((case, author, at_ms), label, events, (prior, roles, may), model, rare)| LabelledCase {
                case_id: format!("c{case}"),
                event_ids: events.into_iter().map(|event| format!("e{event}")).collect(),
                label,
                author: format!("p{author}"),
                at_ms,
                is_synthetic: rare == 0,
                is_contested: rare == 1,
                model,
                pooled: Some(Pooled {
                    prior,
                    roles,
                    roles_deterministic: roles,
                    is_fitted: may,
                    may_close: may,
                    may_act: may,
                }),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn order_does_not_matter_and_every_record_is_accounted_for(records in prop::collection::vec(any_record(), 0..20)) {
            let settled = settle(&records, Some("m"));
            let reversed: Vec<LabelledCase> = records.iter().rev().cloned().collect();
            prop_assert_eq!(&settle(&reversed, Some("m")), &settled);
            let LeftOut { duplicates, conflicting, synthetic, undecided, other_model, incomplete, .. } = &settled.left_out;
            let out = duplicates + conflicting + synthetic + undecided + other_model + incomplete;
            prop_assert_eq!(settled.attacks.len() + settled.benign.len() + out, records.len());
            let ids: BTreeSet<&String> = settled.attacks.iter().chain(&settled.benign).map(|case| &case.case_id).collect();
            prop_assert_eq!(ids.len(), settled.attacks.len() + settled.benign.len());
        }
    }
}
