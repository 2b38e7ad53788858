//! The smallest change of the evidence that gives another verdict, found by concluding again without it.

use std::collections::BTreeSet;

use super::evidence::Evidence;
use super::freeze::Handles;
use super::handle::Handle;
use super::report::name;
use crate::level::{Severity, Verdict};

/// Changes that are tried.
const CHANGES_MAX: usize = 8;

/// Tries single changes, each verified by `conclude`, and tells the first that gives another verdict than `verdict`.
///
/// Where one detection carries the case, that it would fall without it is no news: who acted, and how, is tried
/// first. Otherwise the detections are, strongest first.
pub(super) fn find(
    evidence: &Evidence,
    handles: &Handles,
    verdict: Verdict,
    conclude: impl Fn(&Evidence) -> (Verdict, Severity),
) -> Option<String> {
    let mut detections: Vec<_> = evidence.active().collect();
    detections.sort_by_key(|detection| (std::cmp::Reverse(detection.severity), detection.handle));
    let mut changes: Vec<Change> = detections.iter().map(|detection| Change::Detection(detection.handle)).collect();
    changes.truncate(CHANGES_MAX - 2);
    let mut circumstances = Vec::with_capacity(2);
    let weighty = evidence.weighty();
    if weighty.iter().any(|event| event.mfa != Some(true)) {
        circumstances.push(Change::Mfa);
    }
    let principals: BTreeSet<Handle> = weighty.iter().map(|event| event.principal).collect();
    if let (1, Some(principal)) = (principals.len(), principals.first()) {
        circumstances.push(Change::Automation(*principal));
    }
    if changes.len() == 1 {
        circumstances.append(&mut changes);
        changes = circumstances;
    } else {
        changes.append(&mut circumstances);
    }
    changes.into_iter().find_map(|change| {
        let (other, severity) = conclude(&change.applied(evidence));
        (other != verdict).then(|| change.told(handles, other, severity))
    })
}

enum Change {
    Detection(Handle),
    Mfa,
    Automation(Handle),
}

impl Change {
    fn applied(&self, evidence: &Evidence) -> Evidence {
        match self {
            Self::Detection(detection) => evidence.without_detection(*detection),
            Self::Mfa => evidence.with_mfa(),
            Self::Automation(principal) => evidence.with_automation(*principal),
        }
    }

    fn told(&self, handles: &Handles, verdict: Verdict, severity: Severity) -> String {
        let name = |handle| name(handles, handle).unwrap_or_default();
        let change = match self {
            Self::Detection(detection) => format!("Without the detection “{}”", name(*detection)),
            Self::Mfa => "Had the session been opened with MFA,".to_owned(),
            Self::Automation(principal) => format!("Had the operator named {} as automation,", name(*principal)),
        };
        format!("{change} this would be {verdict} ({severity}).")
    }
}
