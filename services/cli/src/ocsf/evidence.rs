//! Who acted, from where, with which calls: the artefacts of a finding.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use trailwarden_core::activity::PrincipalKind;
use trailwarden_core::case::Signal;
use trailwarden_core::detection::Rule;
use trailwarden_core::resource::{RESOURCES_MAX, Resource};

use super::Line;
use super::bounds::Bounds;
use crate::figures::{principal_kind, resource_kind, short_principal};
use crate::findings::Finding;

/// Calls that a finding shows, those that weigh most.
const SIGNALS_MAX: usize = 32;
const RULES_MAX: usize = 16;

/// Who acted, as far as a line tells.
pub(super) fn of_line(line: &Line<'_>, bounds: &mut Bounds) -> Value {
    json!({ "actor": actor(&line.principal, kind_told(&line.principal), &line.session, None, bounds) })
}

/// The calls of the case in the order of event time, or who acted where it has none of its own.
pub(super) fn of_signals(line: &Line<'_>, finding: &Finding, rules: &[Rule], bounds: &mut Bounds) -> Vec<Value> {
    let own: BTreeSet<&str> = line.event_ids.iter().map(AsRef::as_ref).collect();
    let mut signals: Vec<&Signal> =
        finding.case.signals.iter().filter(|signal| own.contains(signal.event_id.as_str())).collect();
    let order =
        |a: &&Signal, b: &&Signal| -> Ordering { (a.event_time, &a.event_id).cmp(&(b.event_time, &b.event_id)) };
    signals.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| order(a, b)));
    let mut shown = bounds.first(&signals, SIGNALS_MAX).to_vec();
    shown.sort_by(order);
    if shown.is_empty() {
        return vec![of_line(line, bounds)];
    }
    shown.into_iter().map(|signal| of_signal(signal, rules, bounds)).collect()
}

fn of_signal(signal: &Signal, rules: &[Rule], bounds: &mut Bounds) -> Value {
    let titles = signal.detections.iter().filter_map(|index| rules.get(usize::from(index.0))).map(|rule| &rule.title);
    let titles: Vec<&String> = titles.collect();
    let titles: Vec<String> = bounds.first(&titles, RULES_MAX).iter().map(|title| bounds.name(title)).collect();
    let resources = bounds.first(&signal.details.resources, RESOURCES_MAX).iter();
    json!({
        "uid": bounds.required(&signal.event_id),
        "actor": actor(&signal.principal, signal.principal_kind, &signal.session, signal.mfa, bounds),
        "api": {
            "operation": bounds.required(&signal.call),
            "service": { "name": bounds.name(&signal.service) },
            "response": {
                "error": signal.error_code.as_deref().map(|code| bounds.name(code)),
                "error_message": bounds.text(&signal.details.error_message),
            },
        },
        "src_endpoint": source(&signal.source, bounds),
        "http_request": { "user_agent": bounds.name(&signal.user_agent) },
        "resources": resources.map(|one| resource(one, bounds)).collect::<Vec<Value>>(),
        "data": {
            "event_time": signal.event_time.to_string(),
            "account": bounds.name(&signal.account),
            "region": bounds.name(&signal.region),
            // Six decimals, as the lines write it.
            "score": (signal.score * 1e6).round() / 1e6,
            "level": signal.level.as_str(),
            "rules": titles,
        },
    })
}

/// The account as OCSF writes it; `None` where it is not known.
pub(super) fn account(id: &str, bounds: &mut Bounds) -> Option<Value> {
    (!id.is_empty()).then(|| json!({ "uid": bounds.name(id), "type_id": 10, "type": "AWS Account" }))
}

/// The partition of an ARN: `aws`, `aws-cn`, `aws-us-gov`.
pub(super) fn partition(principal: &str) -> Option<&str> {
    let mut parts = principal.split(':');
    let partition = (parts.next()? == "arn").then(|| parts.next()).flatten()?;
    let is_plain = partition.len() <= 16 && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (is_plain && partition.starts_with("aws")).then_some(partition)
}

fn actor(principal: &str, kind: PrincipalKind, session: &str, mfa: Option<bool>, bounds: &mut Bounds) -> Value {
    let home = partition(principal).and_then(|_| principal.split(':').nth(4)).unwrap_or_default();
    // The schema has no kinds of its own for the rest, which go by our word.
    let (type_id, word) = match kind {
        PrincipalKind::Unknown => (0, "Unknown"),
        PrincipalKind::IamUser => (1, "User"),
        PrincipalKind::Root => (2, "Admin"),
        PrincipalKind::AwsService => (4, "Service"),
        PrincipalKind::Role | PrincipalKind::CrossAccount | PrincipalKind::Federated => (99, principal_kind(kind)),
    };
    let is_key = session.starts_with("AKIA") || session.starts_with("ASIA");
    json!({
        "user": {
            "uid": bounds.required(principal),
            "name": bounds.name(short_principal(principal)),
            "type_id": type_id,
            "type": word,
            "account": account(home, bounds),
        },
        "session": {
            "uid": bounds.name(session),
            "credential_uid": is_key.then(|| bounds.name(session)),
            "is_mfa": mfa,
        },
    })
}

/// What a principal's form says of its kind.
fn kind_told(principal: &str) -> PrincipalKind {
    let thing = principal.splitn(6, ':').nth(5).filter(|_| partition(principal).is_some());
    match thing.map(|thing| thing.split_once('/').map_or(thing, |(kind, _)| kind)) {
        Some("user") => PrincipalKind::IamUser,
        Some("role") => PrincipalKind::Role,
        Some("root") => PrincipalKind::Root,
        Some(_) => PrincipalKind::Federated,
        None if principal.ends_with(".amazonaws.com") => PrincipalKind::AwsService,
        None => PrincipalKind::Unknown,
    }
}

/// An address, or the service that called in somebody's name.
fn source(source: &str, bounds: &mut Bounds) -> Option<Value> {
    if let Ok(address) = source.parse::<IpAddr>() {
        return Some(json!({ "ip": address.to_string() }));
    }
    (!source.is_empty()).then(|| json!({ "svc_name": bounds.name(source) }))
}

fn resource(resource: &Resource, bounds: &mut Bounds) -> Value {
    json!({
        "uid": bounds.required(&resource.id),
        "type": resource_kind(resource.kind),
        "region": bounds.name(&resource.region),
        "owner": { "account": account(&resource.account, bounds) },
    })
}
