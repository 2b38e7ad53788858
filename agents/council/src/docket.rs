//! Which entries the logs of cases are to have: a pure fold over what the gatherer says.
//!
//! A case that goes quiet is closed and judged. One with a critical signal does not wait for that: it is judged while it
//! is open, under the id that it has by then, and again with each further critical signal, at most
//! [`REVISIONS_MAX`] times. A late link can give an open case an earlier first signal, and with it another id; the log
//! under the former id then ends by saying where the case went on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trailwarden_core::case::Case;
use trailwarden_core::time::Timestamp;

/// How often an open case is judged again.
pub(crate) const REVISIONS_MAX: u32 = 3;
/// Open cases with a judgement that are kept in mind; beyond it those that began first are left as they are, and counted.
const PROVISIONAL_MAX: usize = 16_384;
/// Ids kept in mind after their case went on in another.
const MERGED_MAX: usize = 4_096;

/// An entry that the log of a case should have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) case_id: String,
    /// Place among the entries of this log that are not people's, from 1.
    pub(crate) ordinal: u32,
    pub(crate) matter: Matter,
}

impl Matter {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Judge(_) => "judge",
            Self::Close { .. } => "close",
            Self::Merge { .. } => "merge",
        }
    }
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matter {
    /// The open case as it stands is judged.
    Judge(Case),
    /// The case is over. Unless `is_awaited`, it is logged only when it turns out to be worth it.
    Close { case: Case, is_awaited: bool },
    /// The case went on in another.
    Merge { into: String },
}

/// Cases that were judged and are not over.
#[derive(Debug, Default)]
pub(crate) struct Docket {
    provisional: BTreeMap<String, Provisional>,
    by_time: BTreeSet<(Timestamp, String)>,
    /// Entries of logs that ended in a merger: a case may come back to such an id.
    merged: BTreeMap<String, u32>,
    merged_order: VecDeque<String>,
    left_open: u64,
}

#[derive(Debug)]
struct Provisional {
    /// Entries of its log so far.
    entries: u32,
    /// Judgements while open, those of cases that went on in it included.
    judged: u32,
    began: Timestamp,
}

impl Docket {
    /// Cases that were judged while open and forgotten for want of room.
    pub(crate) fn left_open(&self) -> u64 {
        self.left_open
    }

    /// An open case has one more critical signal.
    pub(crate) fn critical(&mut self, case: Case) -> Vec<Entry> {
        let former = self.former(&case);
        let own = self.provisional.get(&case.id);
        let judged = former.iter().filter_map(|id| self.provisional.get(id)).chain(own).map(|case| case.judged).max();
        let judged = judged.unwrap_or_default();
        if judged > REVISIONS_MAX {
            return Vec::new();
        }
        let mut entries = vec![Entry {
            case_id: case.id.clone(),
            ordinal: self.entries(&case.id) + 1,
            matter: Matter::Judge(case.clone()),
        }];
        entries.extend(self.merge(&former, &case.id));
        self.remember(&case, entries[0].ordinal, judged + 1);
        entries
    }

    /// A case is over.
    pub(crate) fn closed(&mut self, case: Case) -> Vec<Entry> {
        let former = self.former(&case);
        let ordinal = self.entries(&case.id) + 1;
        let is_awaited = ordinal > 1 || !former.is_empty();
        self.forget(&case.id);
        let id = case.id.clone();
        let mut entries = vec![Entry { case_id: id.clone(), ordinal, matter: Matter::Close { case, is_awaited } }];
        entries.extend(self.merge(&former, &id));
        entries
    }

    /// Other ids under which parts of this case were judged and have not ended.
    fn former(&self, case: &Case) -> Vec<String> {
        case.replaces.iter().filter(|id| **id != case.id && self.provisional.contains_key(*id)).cloned().collect()
    }

    fn entries(&self, id: &str) -> u32 {
        let open = self.provisional.get(id).map(|provisional| provisional.entries);
        open.or_else(|| self.merged.get(id).copied()).unwrap_or_default()
    }

    fn merge(&mut self, former: &[String], into: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        for id in former {
            let ordinal = self.entries(id) + 1;
            self.forget(id);
            if self.merged.insert(id.clone(), ordinal).is_none() {
                self.merged_order.push_back(id.clone());
            }
            entries.push(Entry { case_id: id.clone(), ordinal, matter: Matter::Merge { into: into.to_owned() } });
        }
        while self.merged_order.len() > MERGED_MAX {
            if let Some(id) = self.merged_order.pop_front() {
                self.merged.remove(&id);
            }
        }
        entries
    }

    fn remember(&mut self, case: &Case, entries: u32, judged: u32) {
        self.forget(&case.id);
        let began = case.first_event_time;
        self.by_time.insert((began, case.id.clone()));
        self.provisional.insert(case.id.clone(), Provisional { entries, judged, began });
        while self.provisional.len() > PROVISIONAL_MAX {
            let Some((_, oldest)) = self.by_time.first().cloned() else { return };
            self.forget(&oldest);
            self.left_open += 1;
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(gone) = self.provisional.remove(id) {
            self.by_time.remove(&(gone.began, id.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::case;

    fn told(entries: &[Entry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| match &entry.matter {
                Matter::Judge(_) => format!("{}#{} judge", entry.case_id, entry.ordinal),
                Matter::Close { is_awaited, .. } => format!("{}#{} close {is_awaited}", entry.case_id, entry.ordinal),
                Matter::Merge { into } => format!("{}#{} into {into}", entry.case_id, entry.ordinal),
            })
            .collect()
    }

    #[test]
    fn a_quiet_case_is_closed_and_no_more() {
        let mut docket = Docket::default();
        assert_eq!(told(&docket.closed(case("a", &["a1", "a2"]))), ["a#1 close false"]);
        assert!(docket.provisional.is_empty());
    }

    #[test]
    fn an_open_case_is_revised_three_times_and_closed() {
        let mut docket = Docket::default();
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.extend(told(&docket.critical(case("a", &["a1"]))));
        }
        seen.extend(told(&docket.closed(case("a", &["a1", "a2"]))));
        assert_eq!(seen, ["a#1 judge", "a#2 judge", "a#3 judge", "a#4 judge", "a#5 close true"]);
        assert!(docket.provisional.is_empty() && docket.by_time.is_empty());
    }

    #[test]
    fn a_provisional_id_ends_where_the_case_went_on() {
        let mut docket = Docket::default();
        assert_eq!(told(&docket.critical(case("b", &["b1", "b2"]))), ["b#1 judge"]);
        assert_eq!(told(&docket.critical(case("c", &["c1"]))), ["c#1 judge"]);
        // A late link: both were one case, with an earlier beginning, and one more critical signal shows it.
        let whole = Case { replaces: vec!["b".into(), "c".into(), "never".into()], ..case("a", &["a1", "b1", "c1"]) };
        assert_eq!(told(&docket.critical(whole)), ["a#1 judge", "b#2 into a", "c#2 into a"]);
        let last = Case { replaces: vec!["a".into(), "b".into(), "c".into()], ..case("0", &["z0", "a1", "b1"]) };
        assert_eq!(told(&docket.closed(last)), ["0#1 close true", "a#2 into 0"]);
        // A cut that comes after gives an id back that was thought merged.
        assert_eq!(told(&docket.closed(case("b", &["b1"]))), ["b#3 close true"]);
    }

    #[test]
    fn mergers_do_not_renew_the_right_to_revisions() {
        let mut docket = Docket::default();
        for _ in 0..4 {
            assert_eq!(docket.critical(case("b", &["b1"])).len(), 1);
        }
        let whole = || Case { replaces: vec!["b".into()], ..case("a", &["a1", "b1"]) };
        assert!(docket.critical(whole()).is_empty());
        assert_eq!(told(&docket.closed(whole())), ["a#1 close true", "b#5 into a"]);
    }
}
