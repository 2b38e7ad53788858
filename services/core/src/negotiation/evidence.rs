//! The frozen evidence of one case: what every brain sees, and all that it sees.
//!
//! No string that an attacker could have written is in here: each is replaced by a [`Handle`] and classes of it
//! ([`TextClass`]). Fields are declared in the order of their names, so that the JSON is canonical.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::handle::{Handle, HandleKind};
use super::predicate::Predicate;
use super::score::{event_score, joined};
use super::tactic::Tactic;
use super::text::TextClass;
use crate::activity::{Credential, PrincipalKind};
use crate::feature::Feature;
use crate::gather::WORTH_JUDGING;
use crate::level::{Level, Severity};
use crate::resource::ResourceKind;

/// Events that a pack holds in full; the rest is counted.
pub const EVENTS_MAX: usize = 64;
/// Resources of one event that a pack holds.
pub const RESOURCES_PER_EVENT_MAX: usize = 16;
/// Version of the pack's layout.
pub const SCHEMA_VERSION: u32 = 1;
/// From here on the model alone raises an event: where the pool's band of medium severity begins.
pub(super) const LEARNED_FROM: f64 = 0.40;
/// From here on an event stands out among faint ones. From .25 to .3 it comes out much alike.
const STANDS_OUT_FROM: f64 = 0.30;
/// Stands for an API outside the vocabulary.
pub const UNKNOWN_API: &str = "UNKNOWN_API";

/// Evidence with its canonical JSON and digest.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidencePack {
    evidence: Evidence,
    canonical_json: String,
    digest: String,
}

impl EvidencePack {
    pub(super) fn new(evidence: Evidence) -> Self {
        let canonical_json =
            serde_json::to_string(&evidence).expect("plain structs without maps or fallible fields serialise");
        let digest = sha256_hex(&[canonical_json.as_bytes()]);
        Self { evidence, canonical_json, digest }
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// One line of JSON, keys in order, no blanks: what the digest is taken of and what a model is shown.
    pub fn canonical_json(&self) -> &str {
        &self.canonical_json
    }

    /// SHA-256 of [`Self::canonical_json`], hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// SHA-256 over the parts, a zero byte between each two, hex.
pub(super) fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update([0]);
        }
        hasher.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    hex
}

/// What is known about a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    pub accounts: Vec<AccountCard>,
    pub agents: Vec<TextCard>,
    pub baseline: Vec<BaselineFact>,
    pub detections: Vec<Detection>,
    /// In time.
    pub events: Vec<Event>,
    pub features: Vec<Attribution>,
    /// Highest floor of any detection of the case, also of those on events beyond the pack.
    pub floor: Option<Severity>,
    /// Signals of the case that are not in `events`.
    pub further_events: u32,
    /// Resources of events beyond [`RESOURCES_PER_EVENT_MAX`].
    pub further_resources: u32,
    /// Whether any text that a caller wrote has the structure of prose or markup.
    pub injection: bool,
    /// Probability that the case is an attack by what the model says of all its events, in thousandths; `None` where
    /// it abstains.
    pub learned_milli: Option<u16>,
    pub principals: Vec<PrincipalCard>,
    pub resources: Vec<ResourceCard>,
    pub schema: u32,
    pub sessions: Vec<TextCard>,
    pub sources: Vec<SourceCard>,
    /// Detections whose rule is not in the rule set they were judged by.
    pub unknown_detections: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// As the vocabulary classes the API, `permissions_management`.
    pub access: Option<String>,
    pub account: Handle,
    pub agent: Handle,
    /// `iam:CreateUser`, or [`UNKNOWN_API`].
    pub api: String,
    pub credential: Credential,
    /// Detections that rest on this event.
    pub detections: Vec<Handle>,
    pub handle: Handle,
    /// Its parameters or error message hide prose or chat markup.
    pub injection: bool,
    /// What the model alone gives it, in thousandths; `None` where it abstains.
    pub learned_milli: Option<u16>,
    pub level: Level,
    pub mfa: Option<bool>,
    /// Seconds since the case's first event.
    pub offset_s: i64,
    pub outcome: Outcome,
    pub principal: Handle,
    pub principal_kind: PrincipalKind,
    pub read_only: Option<bool>,
    pub region: Handle,
    pub resources: Vec<ResourceUse>,
    /// Probability of being part of an attack, in thousandths.
    pub score_milli: u16,
    pub session: Handle,
    pub source: Handle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// Permission was lacking.
    Denied,
    /// Any other error.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceUse {
    pub created: bool,
    pub resource: Handle,
}

/// One rule that matched, with all its events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    pub events: Vec<Handle>,
    pub floor: Option<Severity>,
    pub handle: Handle,
    /// Signals it matched, those beyond the pack included.
    pub matches: u32,
    pub predicate: Option<Predicate>,
    pub severity: Severity,
    pub tactics: Vec<Tactic>,
    pub techniques: Vec<String>,
}

/// A notable measurement of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Attribution {
    pub event: Handle,
    #[serde(serialize_with = "by_name")]
    pub feature: Feature,
    pub handle: Handle,
    /// `None` where it is unknown, which may weigh too.
    pub value_milli: Option<i32>,
    /// What it adds to the log-odds that the model gives the event, in thousandths; 0 where that was not asked.
    pub weight_milli: i32,
}

fn by_name<S: serde::Serializer>(feature: &Feature, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(feature.definition().name)
}

/// What history says about an event; absent where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BaselineFact {
    /// Days since the principal's first event.
    pub age_days: Option<u32>,
    pub event: Handle,
    pub handle: Handle,
    /// The principal came from this network before.
    pub known_source: Option<bool>,
    /// Principals of this kind often call the API.
    pub peer_api: Option<bool>,
    /// The principal often calls the API.
    pub routine_api: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AccountCard {
    pub handle: Handle,
    /// Whether the operator's registry lists it.
    pub listed: bool,
}

/// An agent or a session: nothing but what its text is like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextCard {
    /// Family of an agent; of a session `session`.
    pub family: String,
    pub handle: Handle,
    pub text: TextClass,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceCard {
    pub class: String,
    pub handle: Handle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PrincipalCard {
    /// Named as administrator by the operator.
    pub administrator: bool,
    /// Named as automation by the operator.
    pub automation: bool,
    pub handle: Handle,
    pub kind: PrincipalKind,
    pub protected: bool,
    pub text: TextClass,
    /// A session of the organisation's own sign-in (Identity Center).
    pub workforce: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceCard {
    pub account: Handle,
    /// Whether an event of the pack brought it into being.
    pub created: bool,
    pub handle: Handle,
    pub kind: ResourceKind,
    /// Of a key or login profile: the user it is for, or the principal that made it for itself.
    pub owner: Option<Handle>,
    /// A user or role on the operator's list of what is never acted upon.
    pub protected: bool,
    pub text: TextClass,
}

impl Evidence {
    pub fn event(&self, handle: Handle) -> Option<&Event> {
        (handle.kind == HandleKind::Event).then(|| self.events.get(handle.index()))?
    }

    pub fn detection(&self, handle: Handle) -> Option<&Detection> {
        (handle.kind == HandleKind::Detection).then(|| self.detections.get(handle.index()))?
    }

    pub fn principal(&self, handle: Handle) -> Option<&PrincipalCard> {
        (handle.kind == HandleKind::Principal).then(|| self.principals.get(handle.index()))?
    }

    pub fn resource(&self, handle: Handle) -> Option<&ResourceCard> {
        (handle.kind == HandleKind::Resource).then(|| self.resources.get(handle.index()))?
    }

    /// Whether the pack has something of this name.
    pub fn contains(&self, handle: Handle) -> bool {
        let length = match handle.kind {
            HandleKind::Detection => self.detections.len(),
            HandleKind::Event => self.events.len(),
            HandleKind::Feature => self.features.len(),
            HandleKind::Baseline => self.baseline.len(),
            HandleKind::Principal => self.principals.len(),
            HandleKind::Session => self.sessions.len(),
            HandleKind::Source => self.sources.len(),
            HandleKind::Agent => self.agents.len(),
            HandleKind::Resource => self.resources.len(),
            HandleKind::Account => self.accounts.len(),
            HandleKind::Region => return false,
        };
        handle.index() < length
    }

    /// The events behind cited evidence; one that several cite comes as often.
    pub fn events_behind<'a>(&'a self, cited: &'a [Handle]) -> impl Iterator<Item = Handle> + 'a {
        cited.iter().flat_map(|handle| match handle.kind {
            HandleKind::Event => vec![*handle],
            HandleKind::Detection => self.detection(*handle).map(|it| it.events.clone()).unwrap_or_default(),
            HandleKind::Feature => self.features.get(handle.index()).map(|fact| vec![fact.event]).unwrap_or_default(),
            HandleKind::Baseline => self.baseline.get(handle.index()).map(|fact| vec![fact.event]).unwrap_or_default(),
            _ => Vec::new(),
        })
    }

    /// The strongest detection's severity.
    pub fn strongest(&self) -> Option<Severity> {
        self.active().map(|detection| detection.severity).max()
    }

    /// Detections that rest on at least one event of the pack.
    pub(super) fn active(&self) -> impl Iterator<Item = &Detection> {
        self.detections.iter().filter(|detection| !detection.events.is_empty())
    }

    pub(super) fn severities<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = Severity> + 'a {
        event.detections.iter().filter_map(|handle| self.detection(*handle)).map(|detection| detection.severity)
    }

    /// An event's probability: its score, and at least what its detections are worth.
    pub(super) fn probability(&self, event: &Event) -> f64 {
        (f64::from(event.score_milli) / 1000.0).max(event_score(self.severities(event)))
    }

    /// The detections that ground a claim. The routine form of a call, at informational severity, adds nothing to a
    /// claim that something graver grounds.
    pub(super) fn grounds(&self, predicate: Predicate) -> impl Iterator<Item = &Detection> {
        let naming = move || self.active().filter(move |detection| detection.predicate == Some(predicate));
        let is_grave = |detection: &&Detection| detection.severity > Severity::Informational;
        let any_grave = naming().any(|detection| is_grave(&detection));
        naming().filter(move |detection| !any_grave || is_grave(detection))
    }

    /// What the model alone gives an event; without a model, the score of one without detections.
    pub(super) fn learned(&self, event: &Event) -> f64 {
        match event.learned_milli {
            Some(milli) => f64::from(milli) / 1000.0,
            None if event.detections.is_empty() => self.probability(event),
            None => 0.0,
        }
    }

    /// Whether the model alone would raise the case and, in it, this event: that is worth a detection of medium
    /// severity.
    pub(super) fn is_learned(&self, event: &Event) -> bool {
        self.is_case_learned() && self.learned(event) >= LEARNED_FROM
    }

    /// Whether the model alone would raise the case.
    pub(super) fn is_case_learned(&self) -> bool {
        self.learned_milli.is_some_and(|milli| f64::from(milli) / 1000.0 >= LEARNED_FROM)
    }

    /// Whether the model alone makes the case worth a line, whatever rules matched.
    pub(super) fn is_listed_by_model(&self) -> bool {
        self.learned_milli.is_some_and(|milli| f64::from(milli) / 1000.0 >= WORTH_JUDGING)
    }

    /// Whether none of the events in the pack stands out to the model; those beyond it weigh less together with their
    /// detections. An event that the model says nothing of is not faint.
    pub(super) fn is_faint_throughout(&self) -> bool {
        let is_faint =
            |event: &Event| event.learned_milli.is_some_and(|milli| f64::from(milli) / 1000.0 < STANDS_OUT_FROM);
        self.events.iter().all(is_faint)
    }

    /// Stage one's probability of the case: the most that detections give an event, and what the model gives the case,
    /// joined as `1 - (1 - detected)(1 - learned)`. Without a model, the most probable event's.
    pub(super) fn stage_one(&self) -> f64 {
        let events = self.events.iter();
        let Some(learned) = self.learned_milli.map(|milli| f64::from(milli) / 1000.0) else {
            return events.map(|event| self.probability(event)).fold(0.0, f64::max);
        };
        let detected = events.map(|event| event_score(self.severities(event))).fold(0.0, f64::max);
        1.0 - (1.0 - detected) * (1.0 - learned)
    }

    /// The events that weigh: those with a detection of medium severity or above, and those that the model raises;
    /// where there are none, those with any detection; where there are none either, all. Every claim about "who did
    /// it" is about these.
    pub(super) fn weighty(&self) -> Vec<&Event> {
        let detected = |bound| move |event: &&Event| self.severities(event).any(|severity| severity >= bound);
        let grave = detected(Severity::Medium);
        let weighty: Vec<&Event> = self.events.iter().filter(|event| grave(event) || self.is_learned(event)).collect();
        if !weighty.is_empty() {
            return weighty;
        }
        match self.strongest() {
            None => self.events.iter().collect(),
            Some(_) => self.events.iter().filter(detected(Severity::Informational)).collect(),
        }
    }

    /// The event whose detections stand in [`Self::stage_one`] already.
    pub(super) fn carrying(&self) -> Option<&Event> {
        if self.learned_milli.is_none() {
            return self.most_probable();
        }
        let detected = |event: &Event| event_score(self.severities(event));
        self.events.iter().reduce(|best, event| if detected(event) > detected(best) { event } else { best })
    }

    /// The event for which the model gave its reasons.
    pub(super) fn explained(&self) -> Option<&Event> {
        self.event(self.features.iter().find(|fact| fact.weight_milli != 0)?.event)
    }

    /// The event with the highest probability, the earliest of equals. `None` only for an empty pack.
    pub(super) fn most_probable(&self) -> Option<&Event> {
        let likelier = |best, event| if self.probability(event) > self.probability(best) { event } else { best };
        self.events.iter().reduce(likelier)
    }

    /// The weighty event with the highest probability, the earliest of equals. `None` only for an empty pack.
    pub(super) fn heaviest(&self) -> Option<&Event> {
        self.weighty().into_iter().reduce(
            |best, event| {
                if self.probability(event) > self.probability(best) { event } else { best }
            },
        )
    }

    /// The same evidence had one rule not matched. Events keep the part of their score that other rules explain.
    pub(super) fn without_detection(&self, removed: Handle) -> Self {
        let mut evidence = self.clone();
        for (index, event) in self.events.iter().enumerate() {
            if !event.detections.contains(&removed) {
                continue;
            }
            let all = event_score(self.severities(event));
            let rest = &mut evidence.events[index];
            rest.detections.retain(|handle| *handle != removed);
            let remaining = event_score(
                self.severities(&self.events[index])
                    .enumerate()
                    .filter_map(|(at, severity)| (event.detections[at] != removed).then_some(severity)),
            );
            let score = match event.learned_milli {
                Some(learned) => joined(remaining, f64::from(learned) / 1000.0),
                None if all > 0.0 => f64::from(event.score_milli) / 1000.0 * remaining / all,
                None => 0.0,
            };
            rest.score_milli = (score * 1000.0).round() as u16;
        }
        if let Some(detection) = evidence.detections.get_mut(removed.index()) {
            detection.events.clear();
            detection.floor = None;
        }
        evidence.floor = evidence.detections.iter().filter_map(|detection| detection.floor).max();
        evidence
    }

    /// The same evidence had every session been opened with MFA.
    pub(super) fn with_mfa(&self) -> Self {
        let mut evidence = self.clone();
        for event in &mut evidence.events {
            event.mfa = Some(true);
        }
        evidence
    }

    /// The same evidence had the operator named a principal as automation.
    pub(super) fn with_automation(&self, principal: Handle) -> Self {
        let mut evidence = self.clone();
        if let Some(card) = evidence.principals.get_mut(principal.index()) {
            card.automation = true;
        }
        evidence
    }
}
