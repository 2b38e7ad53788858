//! One case as an OCSF Detection Finding: what `--format ocsf` prints, a line of JSON each.
//!
//! Class 2004 of OCSF 1.6.0 with the profiles `cloud` and `incident`; attributes and enumerations are those of
//! <https://schema.ocsf.io/1.6.0/classes/detection_finding>. A finding is made from a case's line ([`Line`]), which a
//! scan and a running council both have, so both give the same one. What the line does not hold, only a scan adds: the
//! one-sentence summary as `message`, and the calls with their addresses as `evidences`, with their `observables`.
//! What only a council knows is how the case stands ([`Standing`]).
//!
//! No clock stands here: a finding is as old as the last event of its case. Every text and list is bounded, and
//! `metadata.is_truncated` says where that left something out.

mod bounds;
mod council;
mod evidence;
mod response;

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use trailwarden_core::detection::Rule;
use trailwarden_core::language::Language;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::pool::MALICIOUS_FROM;
use trailwarden_core::negotiation::said::Said;
use trailwarden_core::time::Timestamp;

use self::bounds::Bounds;
use crate::figures::{counted, probability, short_principal};
use crate::findings::Finding;
use crate::line;
use crate::techniques;
use crate::untrusted::visible_json;

pub use crate::line::Line;
pub use council::of_case;

/// The version of OCSF that findings are written in.
pub const VERSION: &str = "1.6.0";

const CATEGORY_UID: u32 = 2;
const CLASS_UID: u32 = 2004;
/// What a finding names of a case: techniques, reasons, roles, events of it and of each reason.
const TECHNIQUES_MAX: usize = 32;
const REASONS_MAX: usize = 16;
const BRAINS_MAX: usize = 16;
const EVENTS_MAX: usize = 64;
const REASON_EVENTS_MAX: usize = 16;
const OBSERVABLES_MAX: usize = 64;
/// Reasons on either side that the description tells.
const TOLD_MAX: usize = 3;
/// From here on the probability that a case is an attack is called medium; high from where it may be malicious.
const MEDIUM_FROM: f64 = 0.4;

/// What a finding tells of its case's history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    #[default]
    Created,
    Updated,
    Closed,
}

/// How a case stands, beside what its line says. A scan tells of every case once: the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing<'a> {
    pub change: Change,
    /// `open`, `closed` or `merged`, and how many judgements there were.
    pub state: Option<(&'static str, u32)>,
    /// The case that this one went on in.
    pub merged_into: Option<&'a str>,
    pub label: Option<Label<'a>>,
    /// For one entry of the log: its place in the log of all cases, and in the case's own.
    pub entry: Option<(u64, u32)>,
}

impl Standing<'_> {
    /// Whether it went on in another case, or a person found it to be benign.
    fn is_settled(&self) -> bool {
        self.change == Change::Closed || self.label.as_ref().is_some_and(|label| label.verdict == Some(Verdict::Benign))
    }
}

/// What a person found a case to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Label<'a> {
    /// `None` where the word is not on the scale.
    pub verdict: Option<Verdict>,
    pub note: &'a str,
    pub author: &'a str,
    pub at: Timestamp,
}

/// Writes a scan's finding as one line.
///
/// # Errors
/// When `out` refuses.
pub fn write_finding(out: &mut impl Write, finding: &Finding, rules: &[Rule]) -> io::Result<()> {
    // Written and read again, so that figures are rounded as a council's are.
    let line = serde_json::to_vec(&Line::of(finding, rules, Language::English))?;
    let event = detection_finding(&Line::read(&line)?, &Standing::default(), Some((finding, rules)));
    out.write_all(json_line(&event).as_bytes())
}

/// An event on one line; what hides in its strings is written as JSON's own escapes.
pub fn json_line(event: &Value) -> String {
    format!("{}\n", visible_json(&event.to_string()))
}

/// The finding of a case; `seen` is what a scan holds of it, with the rules that its detections index.
pub fn detection_finding(line: &Line<'_>, standing: &Standing<'_>, seen: Option<(&Finding, &[Rule])>) -> Value {
    let mut bounds = Bounds { is_cut: line.is_cut };
    let (first, last) = (line.first_event_time, line.last_event_time);
    let (activity_id, activity) = match standing.change {
        Change::Created => (1, "Create"),
        Change::Updated => (2, "Update"),
        Change::Closed => (3, "Close"),
    };
    let description = description(line, &mut bounds);
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY_UID,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity}"),
        "time": last.as_millis(),
        "timezone_offset": 0,
        "start_time": first.as_millis(),
        "end_time": last.as_millis(),
        "duration": last.since_ms(first).max(0),
        "message": if line.summary.text.is_empty() { description.clone() } else { bounds.text(&line.summary.text) },
        "is_alert": line.severity >= Some(Severity::Medium) && !standing.is_settled(),
        "finding_info": finding_info(line, standing, description, &mut bounds),
        "cloud": {
            "provider": "AWS",
            "cloud_partition": evidence::partition(&line.principal),
            "account": evidence::account(&line.account, &mut bounds),
        },
        "evidences": match seen {
            Some((finding, rules)) => evidence::of_signals(line, finding, rules, &mut bounds),
            None => vec![evidence::of_line(line, &mut bounds)],
        },
        "resources": response::resources(line, &mut bounds),
        "remediation": response::remediation(&line.plan, &mut bounds),
        "unmapped": unmapped(line, standing, &mut bounds),
    });
    let parts = [scales(line), status(standing, &mut bounds)];
    if let Some(event) = event.as_object_mut() {
        event.extend(parts.into_iter().flatten());
    }
    event["observables"] = observables(&event, &mut bounds).into();
    event["metadata"] = metadata(line, standing, &mut bounds);
    prune(&mut event);
    event
}

fn metadata(line: &Line<'_>, standing: &Standing<'_>, bounds: &mut Bounds) -> Value {
    let case_id = bounds.required(&line.case_id);
    json!({
        "version": VERSION,
        "uid": standing.entry.map_or_else(|| case_id.clone(), |(_, number)| format!("{case_id}/{number}")),
        "sequence": standing.entry.map(|(sequence, _)| sequence),
        "profiles": ["cloud", "incident"],
        "product": {
            "name": "Trailwarden",
            "uid": "trailwarden",
            "vendor_name": "Trailwarden",
            "version": env!("CARGO_PKG_VERSION"),
            "lang": "en",
        },
        "is_truncated": bounds.is_cut.then_some(true),
    })
}

fn finding_info(line: &Line<'_>, standing: &Standing<'_>, description: String, bounds: &mut Bounds) -> Value {
    let last = line.last_event_time.as_millis();
    let related: Vec<Value> = bounds
        .first(&line.event_ids, EVENTS_MAX)
        .iter()
        .map(|id| {
            let shows = |technique: &&line::Technique<'_>| technique.event_ids.contains(id);
            let attacks: Vec<Value> =
                line.techniques.iter().filter(shows).take(TECHNIQUES_MAX).map(|one| attack(&one.id, bounds)).collect();
            json!({ "uid": bounds.required(id), "type": "AWS CloudTrail event", "attacks": attacks })
        })
        .collect();
    let techniques = bounds.first(&line.techniques, TECHNIQUES_MAX).iter();
    json!({
        "uid": bounds.required(&line.case_id),
        "title": title(line, bounds),
        "desc": description,
        "types": ["Abuse of cloud APIs"],
        "analytic": {
            "uid": "trailwarden-council",
            "name": "Trailwarden council",
            "type_id": 2,
            "type": "Behavioral",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "attacks": techniques.map(|technique| attack(&technique.id, bounds)).collect::<Vec<Value>>(),
        "data_sources": ["AWS CloudTrail"],
        "created_time": last,
        "modified_time": standing.label.as_ref().map(|label| label.at.as_millis()),
        "first_seen_time": line.first_event_time.as_millis(),
        "last_seen_time": last,
        "related_events": related,
        "related_events_count": line.event_ids.len(),
    })
}

/// A technique, or a sub-technique under its technique, with the page of those whose id has ATT&CK's form.
fn attack(id: &str, bounds: &mut Bounds) -> Value {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let (parent, sub) = id.split_once('.').map_or((id, None), |(parent, sub)| (parent, Some(sub)));
    let is_known_form = parent.strip_prefix('T').is_some_and(|number| digits(number, 4));
    let page = |path: String| is_known_form.then(|| format!("https://attack.mitre.org/techniques/{path}/"));
    let Some(sub) = sub.filter(|sub| is_known_form && digits(sub, 3)) else {
        let page = page(parent.to_owned()).filter(|_| parent == id);
        return json!({ "technique": { "uid": bounds.required(id), "name": techniques::name(id), "src_url": page } });
    };
    // One without a name of its own goes by its parent's, which would say the same twice.
    let name = techniques::name(id).filter(|name| techniques::name(parent) != Some(name));
    json!({
        "technique": { "uid": parent, "name": techniques::name(parent), "src_url": page(parent.to_owned()) },
        "sub_technique": { "uid": id, "name": name, "src_url": page(format!("{parent}/{sub}")) },
    })
}

fn title(line: &Line<'_>, bounds: &mut Bounds) -> String {
    let what = match line.verdict {
        Some(Verdict::Malicious) => "Malicious use of AWS",
        Some(Verdict::Suspicious) => "Suspicious use of AWS",
        Some(Verdict::Benign) => "Benign use of AWS",
        Some(Verdict::Insufficient) | None => "Unexplained use of AWS",
    };
    let who = bounds.required(short_principal(&line.principal));
    if line.account.is_empty() {
        return format!("{what} by {who}");
    }
    format!("{what} by {who} in account {}", bounds.name(&line.account))
}

/// What was concluded and the strongest reasons on both sides, in the order of the line: by weight.
fn description(line: &Line<'_>, bounds: &mut Bounds) -> String {
    let mut told = format!(
        "Probability of an attack: {}, from {}.",
        probability(line.score),
        counted(line.event_ids.len() as u64, "event")
    );
    for (label, speaks_for) in [("For", true), ("Against", false)] {
        let of_side = line.reasons.iter().filter(|reason| (reason.weight > 0.0) == speaks_for && reason.weight != 0.0);
        let texts: Vec<String> = of_side.take(TOLD_MAX).map(|reason| sentence(bounds.text(&reason.text))).collect();
        if !texts.is_empty() {
            told.push_str(&format!(" {label}: {}", texts.join(" ")));
        }
    }
    told
}

/// The text with an end, if it has none.
fn sentence(text: String) -> String {
    if text.ends_with(['.', ')', '!', '?']) { text } else { text + "." }
}

/// How grave it is, how probable, and what was concluded. A severity is what the case is if it is what it looks like,
/// so it is the risk's level too; the probability that it is one is the confidence.
fn scales(line: &Line<'_>) -> Map<String, Value> {
    let (severity_id, severity, risk_id, risk) = match line.severity {
        Some(Severity::Informational) => (1, "Informational", Some(0), Some("Info")),
        Some(Severity::Low) => (2, "Low", Some(1), Some("Low")),
        Some(Severity::Medium) => (3, "Medium", Some(2), Some("Medium")),
        Some(Severity::High) => (4, "High", Some(3), Some("High")),
        Some(Severity::Critical) => (5, "Critical", Some(4), Some("Critical")),
        None => (0, "Unknown", None, None),
    };
    let (confidence_id, confidence) = match line.score {
        p if p >= MALICIOUS_FROM => (3, "High"),
        p if p >= MEDIUM_FROM => (2, "Medium"),
        _ => (1, "Low"),
    };
    let scales = json!({
        "severity_id": severity_id, "severity": severity,
        "risk_level_id": risk_id, "risk_level": risk,
        "confidence_id": confidence_id, "confidence": confidence,
        // Not a number becomes 0.
        "confidence_score": (line.score.clamp(0.0, 1.0) * 100.0).round() as u8,
        "verdict_id": verdict(line.verdict).0, "verdict": verdict(line.verdict).1,
    });
    object(scales)
}

fn verdict(verdict: Option<Verdict>) -> (u8, &'static str) {
    match verdict {
        Some(Verdict::Malicious) => (2, "True Positive"),
        Some(Verdict::Suspicious) => (4, "Suspicious"),
        Some(Verdict::Benign) => (5, "Benign"),
        Some(Verdict::Insufficient) => (7, "Insufficient Data"),
        None => (0, "Unknown"),
    }
}

/// Where a person's work on it stands. What a person says takes the place of the verdict; the council's own stays in
/// `unmapped`.
fn status(standing: &Standing<'_>, bounds: &mut Bounds) -> Map<String, Value> {
    let mut part = match &standing.label {
        None => json!({ "status_id": 1, "status": "New" }),
        Some(label) => {
            let is_benign = label.verdict == Some(Verdict::Benign);
            let (status_id, status) = if is_benign { (3, "Suppressed") } else { (2, "In Progress") };
            let (verdict_id, verdict) = if is_benign { (1, "False Positive") } else { verdict(label.verdict) };
            json!({
                "status_id": status_id, "status": status, "verdict_id": verdict_id, "verdict": verdict,
                "comment": bounds.text(label.note),
            })
        }
    };
    if let Some(other) = standing.merged_into {
        part["status_id"] = 99.into();
        part["status"] = "Merged".into();
        part["status_detail"] = format!("It went on in case {}.", bounds.name(other)).into();
    }
    object(part)
}

/// What has no place in the class, under the names of the case's line.
fn unmapped(line: &Line<'_>, standing: &Standing<'_>, bounds: &mut Bounds) -> Value {
    let reasons: Vec<Value> = bounds
        .first(&line.reasons, REASONS_MAX)
        .iter()
        .map(|reason| {
            let events: Vec<String> =
                bounds.first(&reason.event_ids, REASON_EVENTS_MAX).iter().map(|id| bounds.name(id)).collect();
            json!({
                "text": bounds.text(&reason.text),
                "weight": reason.weight,
                "event_ids": events,
                "role": reason.role,
            })
        })
        .collect();
    let brains = line.brains.iter().take(BRAINS_MAX);
    let label = standing.label.as_ref().map(|label| {
        json!({
            "verdict": label.verdict.map(Verdict::as_str), "author": bounds.name(label.author), "at": label.at.as_millis(),
        })
    });
    json!({
        "verdict": line.verdict.map(Verdict::as_str),
        "score": line.score,
        "reasons": reasons,
        "set_aside": texts(&line.set_aside, bounds),
        "rejected": rejected(&line.rejected, bounds),
        "counterfactual": line.counterfactual.as_ref().map(|found| bounds.text(&found.text)),
        "route": bounds.text(&line.route.text),
        "plan": response::steps(&line.plan, bounds),
        "brains": brains.map(|(role, brain)| (bounds.name(role), bounds.name(brain).into())).collect::<Map<_, Value>>(),
        "state": standing.state.map(|(state, _)| state),
        "revision": standing.state.map(|(_, revision)| revision),
        "merged_into": standing.merged_into.map(|other| bounds.name(other)),
        "label": label,
    })
}

/// What claims that others undercut say.
fn texts(sentences: &[line::Sentence<'_, Said>], bounds: &mut Bounds) -> Vec<Value> {
    bounds.first(sentences, REASONS_MAX).iter().map(|one| bounds.text(&one.text).into()).collect()
}

fn rejected(claims: &[line::Rejected<'_>], bounds: &mut Bounds) -> Vec<Value> {
    let told = bounds.first(claims, REASONS_MAX).iter();
    told.map(|one| json!({ "role": one.role, "claim": bounds.name(&one.claim), "finding": bounds.name(&one.finding) }))
        .collect()
}

/// Where a finding names what can be looked for elsewhere: path, type and its caption.
const OBSERVED: [(&str, u8, &str); 7] = [
    ("evidences[].src_endpoint.ip", 2, "IP Address"),
    ("evidences[].actor.session.credential_uid", 19, "User Credential ID"),
    ("evidences[].actor.user.uid", 31, "User Object: uid"),
    ("cloud.account.uid", 35, "Account Object: uid"),
    ("resources[].uid", 10, "Resource UID"),
    ("evidences[].resources[].uid", 10, "Resource UID"),
    ("evidences[].http_request.user_agent", 16, "HTTP User-Agent"),
];

fn observables(event: &Value, bounds: &mut Bounds) -> Vec<Value> {
    let mut observables = Vec::new();
    for (path, type_id, caption) in OBSERVED {
        let mut places = vec![event];
        for step in path.split('.') {
            let name = step.trim_end_matches("[]");
            let found = places.into_iter().filter_map(|place| place.get(name));
            places = found
                .flat_map(|place| place.as_array().map_or_else(|| vec![place], |all| all.iter().collect()))
                .collect();
        }
        for value in places.into_iter().filter_map(Value::as_str).filter(|value| !value.is_empty()) {
            let observable = json!({ "name": path, "type_id": type_id, "type": caption, "value": value });
            if !observables.contains(&observable) {
                observables.push(observable);
            }
        }
    }
    bounds.first(&observables, OBSERVABLES_MAX).to_vec()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Takes away what says nothing: OCSF leaves out what is not known.
fn prune(value: &mut Value) {
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !says_nothing(member));
        }
        Value::Array(all) => all.iter_mut().for_each(prune),
        _ => {}
    }
}
