//! The reporter's deterministic brain: one sentence and the reasons, from surviving claims only. Here handles become
//! names again.

use super::Reason;
use super::brain::{SENTENCE_BYTES_MAX, Standing};
use super::evidence::{Event, Evidence, Outcome};
use super::freeze::{Handles, short_name};
use super::handle::{Handle, HandleKind};
use super::pool::{Prior, contributions, logit};
use super::predicate::Predicate;
use super::rebuttal::{self, Attack};
use super::score::{event_score, prior};
use super::text::{is_invisible, shown};
use super::unusual;
use crate::activity::{Credential, PrincipalKind};
use crate::level::Severity;

/// Measurements that a sentence about the model's opinion names.
const ATTRIBUTIONS_TOLD_MAX: usize = 4;
/// Deeds that the sentence names.
const DEEDS_MAX: usize = 3;

/// One sentence: who did what, where.
pub(super) fn summary(evidence: &Evidence, handles: &Handles, standing: &[Standing]) -> String {
    let Some(event) = evidence.heaviest() else {
        return "The case holds no event.".to_owned();
    };
    let subject = subject(event, handles);
    let deeds = deeds(evidence, handles, standing);
    let place = place(evidence, handles);
    let others =
        evidence.weighty().iter().map(|event| event.principal).collect::<std::collections::BTreeSet<_>>().len() - 1;
    let others = match others {
        0 => String::new(),
        1 => "; one other principal took part".to_owned(),
        others => format!("; {others} other principals took part"),
    };
    format!("{subject} {deeds}{place}{others}.")
}

fn subject(event: &Event, handles: &Handles) -> String {
    let principal = &handles.principals[event.principal.index()];
    let name = shown(short_name(principal));
    let mfa = if event.mfa == Some(true) { "with MFA" } else { "without MFA" };
    match (event.principal_kind, event.credential) {
        (PrincipalKind::Root, _) | (_, Credential::Root) => "The root user".to_owned(),
        (PrincipalKind::IamUser, Credential::LongTermKey) => format!("A long-term key of IAM user {name}, {mfa},"),
        (PrincipalKind::IamUser, Credential::TemporaryKey) => format!("A temporary key of IAM user {name}, {mfa},"),
        (PrincipalKind::IamUser, Credential::Console) => format!("IAM user {name}, in the console {mfa},"),
        (PrincipalKind::IamUser, _) => format!("IAM user {name}"),
        (PrincipalKind::Role, Credential::InstanceRole) => format!("An instance's credentials of role {name}"),
        (PrincipalKind::Role, _) => format!("A session of role {name}"),
        (PrincipalKind::AwsService, _) => format!("The AWS service {name}"),
        (PrincipalKind::CrossAccount, _) => format!("A caller of another account, {},", shown(principal)),
        (PrincipalKind::Federated, _) => format!("The federated user {name}"),
        (PrincipalKind::Unknown, _) => "A caller that the records do not name".to_owned(),
    }
}

fn place(evidence: &Evidence, handles: &Handles) -> String {
    let mut accounts: Vec<usize> = evidence.weighty().iter().map(|event| event.account.index()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    match accounts.as_slice() {
        [account] if !handles.accounts[*account].is_empty() => {
            format!(" in account {}", shown(&handles.accounts[*account]))
        }
        [] | [_] => String::new(),
        accounts => format!(" in {} accounts", accounts.len()),
    }
}

struct Deed {
    predicate: Predicate,
    severity: Severity,
    first: Handle,
    succeeded: bool,
}

fn deeds(evidence: &Evidence, handles: &Handles, standing: &[Standing]) -> String {
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
    let texts = |succeeded: bool| {
        deeds.iter().filter(move |deed| deed.succeeded == succeeded).map(|deed| deed.predicate.definition())
    };
    let mut parts: Vec<String> = texts(true).map(|definition| definition.done.to_owned()).collect();
    let tried: Vec<String> = texts(false).map(|definition| definition.tried.to_owned()).collect();
    if !tried.is_empty() {
        let tail = if parts.is_empty() { " (all refused or failed)" } else { " (refused or failed)" };
        parts.push(format!("tried to {}{tail}", listed(&tried)));
    }
    match further {
        0 => {}
        1 => parts.push("took one further step".to_owned()),
        further => parts.push(format!("took {further} further steps")),
    }
    listed(&parts)
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

/// Where no claim names a deed, the strongest rule's title does.
fn unnamed(evidence: &Evidence, handles: &Handles) -> String {
    let strongest = evidence.active().max_by_key(|detection| (detection.severity, std::cmp::Reverse(detection.handle)));
    let title = strongest.map(|detection| shown(&handles.titles[detection.handle.index()]));
    match (title, evidence.active().count()) {
        (None, _) => stands_out(evidence),
        (Some(title), 1) => format!("raised the detection “{title}”"),
        (Some(title), count) => format!("raised {count} detections, the strongest “{title}”,"),
    }
}

/// What only the model raises.
fn stands_out(evidence: &Evidence) -> String {
    let ways = evidence.explained().map(|event| unusual::ways(evidence, event)).unwrap_or_default();
    if ways.is_empty() {
        return "made calls that stand out from the ordinary".to_owned();
    }
    let ways: Vec<String> = ways.into_iter().map(str::to_owned).collect();
    format!("made calls that stand out: {},", listed(&ways))
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
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
                let title = format!("“{}”", shown(&handles.titles[detection.handle.index()]));
                if !titles.contains(&title) {
                    titles.push(title);
                }
            }
        }
        let sentence = claim.predicate.definition().sentence;
        reasons.push(Reason {
            text: match titles.as_slice() {
                [] => sentence.to_owned(),
                titles => format!("{sentence} (Detected by {}.)", listed(titles)),
            },
            weight,
            event_ids: event_ids(evidence, handles, &cited),
            role: Some(claim.role),
        });
    }
    for detection in evidence.active() {
        if let Some(weight) = shares[detection.handle.index()] {
            reasons.push(Reason {
                text: format!("Detected: {}.", shown(&handles.titles[detection.handle.index()])),
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
                text: learned(evidence, event),
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
            text: format!("Set aside: {} Yet {}.", attack.on.definition().sentence, attack.why()),
            weight: 0.0,
            event_ids: event_ids(evidence, handles, &claim.evidence),
            role: Some(claim.role),
        })
    });
    told.collect()
}

/// What the model says of the event that stands out most, and what it rests on.
fn learned(evidence: &Evidence, event: &Event) -> String {
    let told = evidence.features.iter().filter(|fact| fact.event == event.handle && fact.weight_milli > 0);
    let told: Vec<String> = told
        .take(ATTRIBUTIONS_TOLD_MAX)
        .map(|fact| {
            let definition = fact.feature.definition();
            let unit = match definition.unit {
                "0 or 1" | "code" | "ratio" => String::new(),
                unit => format!(" {unit}"),
            };
            let value = fact.value_milli.map_or("unknown".to_owned(), |milli| {
                let digits = if milli % 1000 == 0 { 0 } else { 1 };
                format!("{:.digits$}{unit}", f64::from(milli) / 1000.0)
            });
            format!("{} {value} ({:+.1})", definition.name.replace('_', " "), f64::from(fact.weight_milli) / 1000.0)
        })
        .collect();
    let score = evidence.learned(event);
    match told.as_slice() {
        [] => format!("The event that stands out most scores {score:.2}."),
        told => format!("The event that stands out most scores {score:.2}, mostly for {}.", listed(told)),
    }
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
            .then_with(|| a.text.cmp(&b.text))
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
