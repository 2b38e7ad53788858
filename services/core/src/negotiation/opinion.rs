//! Reading an opinion: which of its claims live.

use std::collections::{BTreeMap, BTreeSet};

use super::brain::{CLAIMS_PER_OPINION_MAX, EVIDENCE_PER_CLAIM_MAX, Opinion, Standing, TECHNIQUES_PER_OPINION_MAX};
use super::check::{Finding, Findings};
use super::evidence::Evidence;
use super::handle::{Handle, HandleKind};
use super::predicate::Predicate;
use super::text::shown;
use super::{RejectedClaim, Role};

/// Keeps the claims that the evidence grounds, each predicate once, and says of the others what was wrong.
pub(super) fn grounded(
    role: Role,
    opinion: &Opinion,
    evidence: &Evidence,
    findings: &Findings,
    rejected: &mut Vec<RejectedClaim>,
) -> Vec<Standing> {
    let mut standing: BTreeMap<Predicate, Standing> = BTreeMap::new();
    for claim in opinion.claims.iter().take(CLAIMS_PER_OPINION_MAX) {
        let predicate = Predicate::named(&claim.predicate).filter(|predicate| predicate.owner() == role);
        let (finding, handles) = match (predicate, handles(&claim.evidence)) {
            (None, _) => (Finding::Malformed, Vec::new()),
            (Some(_), Err(finding)) => (finding, Vec::new()),
            (Some(predicate), Ok(handles)) => (findings.check(evidence, predicate, &handles), handles),
        };
        match (predicate, finding) {
            (Some(predicate), Finding::Grounded) => {
                let claimed = claim.strength.min(predicate.definition().strength);
                let kept = standing.entry(predicate).or_insert_with(|| Standing {
                    role,
                    predicate,
                    evidence: Vec::new(),
                    strength: claimed,
                });
                kept.strength = kept.strength.max(claimed);
                kept.evidence.extend(handles);
                kept.evidence.sort_unstable();
                kept.evidence.dedup();
                kept.evidence.truncate(EVIDENCE_PER_CLAIM_MAX);
            }
            _ => rejected.push(rejection(role, &claim.predicate, finding)),
        }
    }
    if let further @ 1.. = opinion.claims.len().saturating_sub(CLAIMS_PER_OPINION_MAX) {
        rejected.push(rejection(role, &format!("{further} claims over the limit"), Finding::Malformed));
    }
    check_techniques(role, opinion, evidence, rejected);
    standing.into_values().collect()
}

/// A technique is grounded by a cited detection that names it. The judgement lists those of detections, so a
/// grounded one adds nothing there; one that is not is shown among what was said that was not so.
fn check_techniques(role: Role, opinion: &Opinion, evidence: &Evidence, rejected: &mut Vec<RejectedClaim>) {
    for technique in opinion.techniques.iter().take(TECHNIQUES_PER_OPINION_MAX) {
        let names_it = |handle: &Handle| match handle.kind {
            HandleKind::Detection => {
                evidence.detection(*handle).is_some_and(|it| it.techniques.contains(&technique.id))
            }
            _ => evidence.event(*handle).is_some_and(|event| {
                let detections = event.detections.iter().filter_map(|handle| evidence.detection(*handle));
                detections.into_iter().any(|detection| detection.techniques.contains(&technique.id))
            }),
        };
        match handles(&technique.evidence) {
            Ok(cited) if cited.iter().all(names_it) => {}
            Ok(_) => rejected.push(rejection(role, &technique.id, Finding::Ungrounded)),
            Err(finding) => rejected.push(rejection(role, &technique.id, finding)),
        }
    }
    if let further @ 1.. = opinion.techniques.len().saturating_sub(TECHNIQUES_PER_OPINION_MAX) {
        rejected.push(rejection(role, &format!("{further} techniques over the limit"), Finding::Malformed));
    }
}

/// Reads cited handles; what is no handle is in no pack.
fn handles(cited: &[String]) -> Result<Vec<Handle>, Finding> {
    if cited.is_empty() || cited.len() > EVIDENCE_PER_CLAIM_MAX {
        return Err(Finding::Malformed);
    }
    let read: Result<BTreeSet<Handle>, _> = cited.iter().map(|text| text.parse()).collect();
    read.map(|handles| handles.into_iter().collect()).map_err(|_| Finding::Ungrounded)
}

/// What a role said may be anything, so it is shown cut and escaped.
pub(super) fn rejection(role: Role, said: &str, finding: Finding) -> RejectedClaim {
    RejectedClaim { role, predicate: shown(said), finding: finding.as_str().to_owned() }
}
