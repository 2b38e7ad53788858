//! The lines that `--events` and `--cases` write: the contract with whoever reads them by machine.
//! Keys, their order and their meaning are promised; change them only with an issue.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use trailwarden_core::activity::Activity;
use trailwarden_core::level::{Level, Severity, Verdict};
use trailwarden_core::negotiation::{Brain, Role};
use trailwarden_core::plan::{Mode, Tier};
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::time::Timestamp;

use crate::findings::Finding;

/// One event as `--events` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EventLine<'a> {
    pub event_id: &'a str,
    #[serde(serialize_with = "as_text")]
    pub event_time: Timestamp,
    pub account: &'a str,
    pub principal: &'a str,
    pub api: Api<'a>,
    #[serde(serialize_with = "rounded")]
    pub score: f64,
    pub level: Level,
}

/// `iam:PutUserPolicy`, joined only as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api<'a> {
    pub service: &'a str,
    pub call: &'a str,
}

impl<'a> EventLine<'a> {
    pub fn new(activity: &Activity<'a>, score: f64, level: Level) -> Self {
        Self {
            event_id: activity.event_id,
            event_time: activity.event_time,
            account: activity.account,
            principal: activity.principal,
            api: Api { service: activity.service, call: activity.call },
            score,
            level,
        }
    }
}

impl Serialize for Api<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.service, self.call))
    }
}

#[derive(Serialize)]
struct CaseLine<'a> {
    case_id: &'a str,
    account: &'a str,
    principal: &'a str,
    session: &'a str,
    #[serde(serialize_with = "as_text")]
    first_event_time: Timestamp,
    #[serde(serialize_with = "as_text")]
    last_event_time: Timestamp,
    event_ids: Vec<&'a str>,
    #[serde(serialize_with = "rounded")]
    score: f64,
    verdict: Verdict,
    severity: Severity,
    techniques: Vec<TechniqueLine<'a>>,
    reasons: Vec<ReasonLine<'a>>,
    plan: Vec<ActionLine<'a>>,
    brains: Brains<'a>,
}

#[derive(Serialize)]
struct TechniqueLine<'a> {
    id: &'a str,
    event_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct ReasonLine<'a> {
    text: &'a str,
    #[serde(serialize_with = "rounded")]
    weight: f64,
    event_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct ActionLine<'a> {
    playbook: &'static str,
    target: &'a str,
    kind: ResourceKind,
    account: &'a str,
    region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    tier: Tier,
    mode: Mode,
    calls: Vec<CallLine<'a>>,
}

#[derive(Serialize)]
struct CallLine<'a> {
    service: &'a str,
    operation: &'a str,
    parameters: &'a serde_json::Value,
}

impl<'a> CallLine<'a> {
    fn new(call: &'a trailwarden_playbooks::Call) -> Self {
        Self { service: call.service, operation: call.operation, parameters: &call.parameters }
    }
}

struct Brains<'a>(&'a [(Role, Brain)]);

impl Serialize for Brains<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (role, brain) in self.0 {
            map.serialize_entry(role, &brain_text(brain))?;
        }
        map.end()
    }
}

/// `deterministic`, `llm:<model>` or `recorded`.
pub fn brain_text(brain: &Brain) -> String {
    match brain {
        Brain::Deterministic => "deterministic".to_owned(),
        Brain::Llm(model) => format!("llm:{model}"),
        Brain::Recorded => "recorded".to_owned(),
    }
}

impl<'a> CaseLine<'a> {
    fn new(finding: &'a Finding) -> Self {
        let (case, judgement) = (&finding.case, &finding.judgement);
        let actions = judgement.plan.actions.iter().enumerate();
        let event_ids = finding.event_ids();
        let own: BTreeSet<&str> = event_ids.iter().copied().collect();
        // What is cited is of the case; the report shows what surrounds it too.
        let cited = |ids: &'a [String]| -> Vec<&'a str> {
            ids.iter().map(String::as_str).filter(|id| own.contains(id)).collect()
        };
        let techniques = judgement.techniques.iter();
        let reasons = judgement.reasons.iter();
        let (first_event_time, last_event_time) = finding.span();
        Self {
            case_id: &case.id,
            account: &case.account,
            principal: &case.principal,
            session: &case.session,
            first_event_time,
            last_event_time,
            score: judgement.probability,
            verdict: judgement.verdict,
            severity: judgement.severity,
            techniques: techniques
                .map(|technique| TechniqueLine { id: &technique.id, event_ids: cited(&technique.event_ids) })
                .filter(|technique| !technique.event_ids.is_empty())
                .collect(),
            reasons: reasons
                .map(|reason| ReasonLine {
                    text: &reason.text,
                    weight: reason.weight,
                    event_ids: cited(&reason.event_ids),
                })
                .filter(|reason| !reason.event_ids.is_empty())
                .collect(),
            event_ids,
            plan: actions
                .map(|(at, action)| ActionLine {
                    playbook: action.playbook.as_str(),
                    target: &action.target.id,
                    kind: action.target.kind,
                    account: &action.target.account,
                    region: &action.target.region,
                    owner: action.owner.as_deref(),
                    tier: action.tier,
                    mode: action.mode,
                    calls: finding
                        .steps
                        .get(at)
                        .map_or_else(Vec::new, |step| step.calls.iter().map(CallLine::new).collect()),
                })
                .collect(),
            brains: Brains(&judgement.brains),
        }
    }
}

/// Writes one line of `--events`.
pub fn write_event(out: &mut impl Write, line: &EventLine<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Writes one line of `--cases`.
pub fn write_case(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &CaseLine::new(finding))?;
    out.write_all(b"\n")
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Six decimals, so that a last bit of floating point never shows; what is not a number is 0.
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = (value * 1e6).round() / 1e6;
    // Adding zero turns -0.0 into 0.0.
    serializer.serialize_f64(if value.is_finite() { value + 0.0 } else { 0.0 })
}
