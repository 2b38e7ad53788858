//! The reporter's deterministic brain: what happened and the reasons, from surviving claims only. Here handles become
//! names again.

use super::Reason;
use super::brain::{SENTENCE_BYTES_MAX, Standing};
use super::evidence::{Event, Evidence, Outcome};
use super::freeze::{Handles, short_name};
use super::handle::{Handle, HandleKind};
use super::pool::{Prior, contributions, logit};
use super::predicate::Predicate;
use super::rebuttal::{self, Attack};
use super::said::{Deeds, Measured, Place, Said, Subject, Summary, Told};
use super::score::{event_score, prior};
use super::text::{is_invisible, shown};
use super::unusual;
use crate::activity::{Credential, PrincipalKind};
use crate::language::Language;
use crate::level::Severity;

/// Measurements that a reason of the model's names.
const ATTRIBUTIONS_TOLD_MAX: usize = 4;
/// Deeds that the summary names.
const DEEDS_MAX: usize = 3;

/// Who did what, where.
pub(super) fn summary(evidence: &Evidence, handles: &Handles, standing: &[Standing]) -> Summary {
    let Some(event) = evidence.heaviest() else {
        return Summary::Nothing;
    };
    let principals: std::collections::BTreeSet<Handle> =
        evidence.weighty().iter().map(|event| event.principal).collect();
    Summary::Told(Told {
        subject: subject(event, handles),
        deeds: deeds(evidence, handles, standing),
        place: place(evidence, handles),
        others: count(principals.len() - 1),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn subject(event: &Event, handles: &Handles) -> Subject {
    let principal = &handles.principals[event.principal.index()];
    let name = || shown(short_name(principal));
    let mfa = event.mfa == Some(true);
    match (event.principal_kind, event.credential) {
        (PrincipalKind::Root, _) | (_, Credential::Root) => Subject::Root,
        (PrincipalKind::IamUser, Credential::LongTermKey) => Subject::LongTermKey { user: name(), mfa },
        (PrincipalKind::IamUser, Credential::TemporaryKey) => Subject::TemporaryKey { user: name(), mfa },
        (PrincipalKind::IamUser, Credential::Console) => Subject::Console { user: name(), mfa },
        (PrincipalKind::IamUser, _) => Subject::User(name()),
        (PrincipalKind::Role, Credential::InstanceRole) => Subject::Instance(name()),
        (PrincipalKind::Role, _) => Subject::RoleSession(name()),
        (PrincipalKind::AwsService, _) => Subject::AwsService(name()),
        (PrincipalKind::CrossAccount, _) => Subject::OtherAccount(shown(principal)),
        (PrincipalKind::Federated, _) => Subject::Federated(name()),
        (PrincipalKind::Unknown, _) => Subject::Unknown,
    }
}

fn place(evidence: &Evidence, handles: &Handles) -> Place {
    let mut accounts: Vec<usize> = evidence.weighty().iter().map(|event| event.account.index()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    match accounts.as_slice() {
        [account] if !handles.accounts[*account].is_empty() => Place::Account(shown(&handles.accounts[*account])),
        [] | [_] => Place::Unknown,
        accounts => Place::Accounts(count(accounts.len())),
    }
}

struct Deed {
    predicate: Predicate,
    severity: Severity,
    first: Handle,
    succeeded: bool,
}

fn deeds(evidence: &Evidence, handles: &Handles, standing: &[Standing]) -> Deeds {
    let named = standing.iter().filter(|claim| !claim.predicate.definition().done.is_empty());
    let mut deeds: Vec<Deed> = named.filter_map(|claim| deed(evidence, claim)).collect();
    if deeds.is_empty() {
        return unnamed(evidence, handles);
    }
    deeds.sort_by_key(|deed| (std::cmp::Reverse(deed.severity), deed.first, deed.predicate));
    let further = deeds.len().saturating_sub(DEEDS_MAX);
    deeds.truncate(DEEDS_MAX);
    // Told in the order in which they happened.
    deeds.sort_by_key(|deed| (deed.first, deed.predicate));
    let that =
        |succeeded: bool| deeds.iter().filter(|deed| deed.succeeded == succeeded).map(|deed| deed.predicate).collect();
    Deeds::Done { succeeded: that(true), tried: that(false), further: count(further) }
}

fn deed(evidence: &Evidence, claim: &Standing) -> Option<Deed> {
    let events: Vec<&Event> =
        evidence.events_behind(&claim.evidence).filter_map(|handle| evidence.event(handle)).collect();
    let by_rule = evidence.grounds(claim.predicate);
    Some(Deed {
        predicate: claim.predicate,
        severity: by_rule.map(|detection| detection.severity).max()?,
        first: events.iter().map(|event| event.handle).min()?,
        succeeded: events.iter().any(|event| event.outcome == Outcome::Succeeded),
    })
}

/// Where no claim names a deed, the strongest rule's title does; where no rule matched, what the model raises.
fn unnamed(evidence: &Evidence, handles: &Handles) -> Deeds {
    let strongest = evidence.active().max_by_key(|detection| (detection.severity, std::cmp::Reverse(detection.handle)));
    match strongest.map(|detection| shown(&handles.titles[detection.handle.index()])) {
        Some(strongest) => Deeds::Raised { detections: count(evidence.active().count()), strongest },
        None => Deeds::StandsOut(evidence.explained().map(|event| unusual::ways(evidence, event)).unwrap_or_default()),
    }
}

/// A model's sentence with its handles put back into names; `None` when it is too long, holds a link, markup or
/// invisible characters, so that the template's sentence is used.
pub(super) fn sentence(text: &str, handles: &Handles) -> Option<String> {
    const REFUSED: &[&str] = &["://", "www.", "<", ">", "](", "`"];
    let refused = text.trim().is_empty()
        || text.len() > SENTENCE_BYTES_MAX
        || text.chars().any(is_invisible)
        || REFUSED.iter().any(|mark| text.contains(mark));
    if refused {
        return None;
    }
    let words = text.split(' ').map(|word| {
        let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        match core.parse::<Handle>().ok().and_then(|handle| name(handles, handle)) {
            Some(name) => word.replacen(core, &name, 1),
            None => word.to_owned(),
        }
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

pub(super) fn name(handles: &Handles, handle: Handle) -> Option<String> {
    let index = handle.index();
    let name = match handle.kind {
        HandleKind::Principal => short_name(handles.principals.get(index)?),
        HandleKind::Session => &handles.sessions.get(index)?.key,
        HandleKind::Resource => short_name(&handles.resources.get(index)?.id),
        HandleKind::Account => handles.accounts.get(index)?,
        HandleKind::Detection => handles.titles.get(index)?,
        HandleKind::Event => handles.events.get(index)?,
        _ => return None,
    };
    Some(shown(name))
}

fn event_ids(evidence: &Evidence, handles: &Handles, cited: &[Handle]) -> Vec<String> {
    let mut events: Vec<Handle> = evidence.events_behind(cited).collect();
    events.sort_unstable();
    events.dedup();
    events.into_iter().filter_map(|event| handles.events.get(event.index()).cloned()).collect()
}

/// Every reason with what it adds to the log-odds of an ordinary event: detections by their priors, joined with the
/// claim that they ground, then the other claims. Strongest for, then strongest against.
pub(super) fn reasons(evidence: &Evidence, handles: &Handles, prior: &Prior, standing: &[Standing]) -> Vec<Reason> {
    let mut shares = shares(evidence, prior);
    let mut reasons = Vec::new();
    for (claim, added) in standing.iter().zip(contributions(prior, standing)) {
        let mut weight = added;
        let mut cited = claim.evidence.clone();
        let mut titles: Vec<String> = Vec::new();
        for detection in evidence.grounds(claim.predicate) {
            if let Some(share) = shares[detection.handle.index()].take() {
                weight += share;
                cited.push(detection.handle);
                let title = shown(&handles.titles[detection.handle.index()]);
                if !titles.contains(&title) {
                    titles.push(title);
                }
            }
        }
        reasons.push(Reason {
            said: Said::Claim { predicate: claim.predicate, detections: titles },
            weight,
            event_ids: event_ids(evidence, handles, &cited),
            role: Some(claim.role),
        });
    }
    for detection in evidence.active() {
        if let Some(weight) = shares[detection.handle.index()] {
            reasons.push(Reason {
                said: Said::Detected { title: shown(&handles.titles[detection.handle.index()]) },
                weight,
                event_ids: event_ids(evidence, handles, &detection.events),
                role: None,
            });
        }
    }
    if let Some(event) = evidence.explained().or_else(|| evidence.most_probable()) {
        let weight = prior.maximum_above_ordinary() - by_detections(evidence, prior);
        if evidence.strongest().is_none()
            || (weight > 0.0 && evidence.learned(event) > super::score::prior(Severity::Informational))
        {
            reasons.push(Reason {
                said: learned(evidence, event),
                weight,
                event_ids: event_ids(evidence, handles, &[event.handle]),
                role: None,
            });
        }
    }
    sort(&mut reasons);
    reasons
}

/// Claims that the rebuttal undercut, and why: they weigh nothing, and are shown.
pub(super) fn set_aside(
    evidence: &Evidence,
    handles: &Handles,
    standing: &[Standing],
    played: &[Attack],
) -> Vec<Reason> {
    let fallen = rebuttal::fallen(standing, played).into_iter();
    let told = fallen.filter_map(|attack| {
        let claim = standing.iter().find(|claim| claim.predicate == attack.on)?;
        Some(Reason {
            said: Said::SetAside { claim: attack.on, by: attack.by },
            weight: 0.0,
            event_ids: event_ids(evidence, handles, &claim.evidence),
            role: Some(claim.role),
        })
    });
    told.collect()
}

/// What the model says of the event that stands out most, and what it rests on.
fn learned(evidence: &Evidence, event: &Event) -> Said {
    let told = evidence.features.iter().filter(|fact| fact.event == event.handle && fact.weight_milli > 0);
    let moved_by = told.take(ATTRIBUTIONS_TOLD_MAX).map(|fact| Measured {
        feature: fact.feature,
        value_milli: fact.value_milli,
        weight_milli: fact.weight_milli,
    });
    Said::Learned { score_milli: (evidence.learned(event) * 1000.0).round() as u16, moved_by: moved_by.collect() }
}

/// The part of the most probable event's log-odds above an ordinary one that its detections explain; none under fitted
/// weights, where each detection weighs for itself.
fn by_detections(evidence: &Evidence, prior_odds: &Prior) -> f64 {
    if prior_odds.weights.is_some() {
        return 0.0;
    }
    let above = prior_odds.maximum_above_ordinary();
    let detected = evidence.carrying().map_or(0.0, |event| event_score(evidence.severities(event)));
    if detected <= 0.0 {
        return 0.0;
    }
    let alone = logit(detected.min(0.999)) - logit(prior(Severity::Informational));
    alone.clamp(above.min(0.0), above.max(0.0))
}

/// Strongest for, then strongest against.
pub(super) fn sort(reasons: &mut [Reason]) {
    reasons.sort_by(|a, b| {
        let against = |reason: &Reason| reason.weight < 0.0;
        against(a)
            .cmp(&against(b))
            .then_with(|| b.weight.abs().total_cmp(&a.weight.abs()))
            .then_with(|| Language::English.reason(&a.said).cmp(&Language::English.reason(&b.said)))
    });
}

/// What each detection adds to the prior, by detection. Those on the most probable event share its part in proportion
/// to their own priors, halved from one to the next as the event's score does.
fn shares(evidence: &Evidence, prior_odds: &Prior) -> Vec<Option<f64>> {
    let mut shares: Vec<Option<f64>> = vec![None; evidence.detections.len()];
    for (index, log_odds) in &prior_odds.further {
        shares[*index] = Some(*log_odds);
    }
    let mut top: Vec<_> = evidence.active().filter(|detection| shares[detection.handle.index()].is_none()).collect();
    top.sort_by_key(|detection| (std::cmp::Reverse(detection.severity), detection.handle));
    let parts: Vec<f64> =
        top.iter().zip(0i32..).map(|(detection, place)| prior(detection.severity) * 0.5f64.powi(place)).collect();
    let sum: f64 = parts.iter().sum();
    let explained = by_detections(evidence, prior_odds);
    for (detection, part) in top.iter().zip(&parts) {
        shares[detection.handle.index()] = Some(explained * part / sum);
    }
    shares
}
