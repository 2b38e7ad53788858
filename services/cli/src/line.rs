//! A case as a line of JSON: what `--cases` writes, what a council logs, and what both are read from again to be told as a
//! finding, as a ticket, or in another language. Keys, their order and their meaning are promised; change them only with
//! an issue.
//!
//! Beside each text stands what is said as facts (`said`), so that a line tells in any language. A line of an earlier
//! version has fewer members, and its texts stay as they were written.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use trailwarden_core::case::Signal;
use trailwarden_core::detection::Rule;
use trailwarden_core::language::Language;
use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::calibration::Counts;
use trailwarden_core::negotiation::said::{Counterfactual, Hold, Said, Summary};
use trailwarden_core::negotiation::terms::Pooled;
use trailwarden_core::negotiation::{Basis, Bounds, Role, Route, Source};
use trailwarden_core::plan::{Mode, Playbook, Tier};
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::time::Timestamp;
use trailwarden_playbooks::{cli_text, told};

use crate::figures::{Outcome, outcome};
use crate::findings::Finding;
use crate::lines::{brain_text, finely, rounded};

/// Calls that a line shows of a case of medium severity or above, those that weigh most.
pub const EVIDENCE_MAX: usize = 24;
/// Calls that are alike, before others that weigh less have their place.
const ALIKE_MAX: u32 = 2;
/// Titles of rules of one call.
const RULES_MAX: usize = 8;

/// One case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Line<'a> {
    pub case_id: Cow<'a, str>,
    pub account: Cow<'a, str>,
    pub principal: Cow<'a, str>,
    pub session: Cow<'a, str>,
    #[serde(serialize_with = "as_text", deserialize_with = "time")]
    pub first_event_time: Timestamp,
    #[serde(serialize_with = "as_text", deserialize_with = "time")]
    pub last_event_time: Timestamp,
    pub event_ids: Vec<Cow<'a, str>>,
    /// Probability that the case is an attack, 0 to 1.
    #[serde(serialize_with = "rounded")]
    pub score: f64,
    /// `None` where a line is missing; a line always has one.
    pub verdict: Option<Verdict>,
    pub severity: Option<Severity>,
    pub techniques: Vec<Technique<'a>>,
    pub reasons: Vec<Reason<'a>>,
    pub plan: Vec<Step<'a>>,
    #[serde(with = "map")]
    pub brains: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The language of the texts.
    #[serde(default)]
    pub language: Language,
    #[serde(default)]
    pub summary: Sentence<'a, Summary>,
    /// What claims that others undercut say; they stand among the reasons too, with a weight of 0.
    #[serde(default)]
    pub set_aside: Vec<Sentence<'a, Said>>,
    #[serde(default)]
    pub rejected: Vec<Rejected<'a>>,
    #[serde(default)]
    pub counterfactual: Option<Sentence<'a, Counterfactual>>,
    #[serde(default)]
    pub route: Routed<'a>,
    /// In time. A council's and a scan's are the same; below medium severity there is none.
    #[serde(default)]
    pub evidence: Vec<Exhibit<'a>>,
    #[serde(default)]
    pub judged_under: Option<JudgedUnder<'a>>,
    #[serde(default)]
    pub pool: Option<Pool>,
    /// Whether something of the case is missing here.
    #[serde(skip)]
    pub is_cut: bool,
}

/// What the case was judged under: whose bounds, by which calibration, on how many labelled cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JudgedUnder<'a> {
    pub terms: Cow<'a, str>,
    pub model: Option<Cow<'a, str>>,
    pub calibration: Option<Cow<'a, str>>,
    pub labelled: Counts,
    pub close_up_to: Option<f64>,
    pub close_by: Option<Source>,
    pub act_from: Option<f64>,
    pub act_from_without_models: Option<f64>,
    pub act_by: Option<Source>,
}

/// What `case calibrate` needs of a case once somebody has labelled it: [`Pooled`], as a line writes numbers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Pool {
    #[serde(serialize_with = "finely")]
    pub prior: f64,
    #[serde(serialize_with = "finely")]
    pub roles: f64,
    #[serde(serialize_with = "finely")]
    pub roles_deterministic: f64,
    pub is_fitted: bool,
    pub may_close: bool,
    pub may_act: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Technique<'a> {
    pub id: Cow<'a, str>,
    pub event_ids: Vec<Cow<'a, str>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reason<'a> {
    pub text: Cow<'a, str>,
    /// In log-odds; positive speaks for an attack.
    #[serde(serialize_with = "rounded")]
    pub weight: f64,
    pub event_ids: Vec<Cow<'a, str>>,
    /// Whose claim it is; `None` for what code alone established.
    #[serde(default)]
    pub role: Option<Role>,
    #[serde(default, deserialize_with = "lenient")]
    pub said: Option<Said>,
}

/// A text with what it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "S: DeserializeOwned"))]
pub struct Sentence<'a, S> {
    pub text: Cow<'a, str>,
    #[serde(default = "Option::default", deserialize_with = "lenient")]
    pub said: Option<S>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rejected<'a> {
    pub role: Role,
    /// What was claimed. Any text, if a model wrote it.
    pub claim: Cow<'a, str>,
    /// `ungrounded`, `contradicted`, `unknown` or `malformed`.
    pub finding: Cow<'a, str>,
}

/// Where the case goes next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Routed<'a> {
    /// `closed`, `automatic` or `person`; empty in a line of an earlier version.
    pub to: Cow<'a, str>,
    pub text: Cow<'a, str>,
    /// What keeps it with a person.
    #[serde(default = "Option::default", deserialize_with = "lenient")]
    pub why: Option<Vec<Hold>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step<'a> {
    pub playbook: Cow<'a, str>,
    pub target: Cow<'a, str>,
    pub tier: Tier,
    pub mode: Mode,
    pub calls: Vec<Call<'a>>,
    #[serde(default)]
    pub target_kind: Option<ResourceKind>,
    #[serde(default)]
    pub account: Cow<'a, str>,
    #[serde(default)]
    pub region: Cow<'a, str>,
    /// The principal whose a credential is, where the target is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Cow<'a, str>>,
    /// The calls as command lines, those that look first among them.
    #[serde(default)]
    pub commands: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub undo: Undo<'a>,
    /// Who or what is touched, and what a person should know before agreeing; in English, translated where it is shown.
    #[serde(default)]
    pub affects: Cow<'a, str>,
    #[serde(default)]
    pub notes: Vec<Cow<'a, str>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call<'a> {
    pub service: Cow<'a, str>,
    pub operation: Cow<'a, str>,
    pub parameters: Cow<'a, Value>,
}

/// The way back: command lines, or words where there is nothing to call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo<'a> {
    Commands(Vec<Cow<'a, str>>),
    Words(Cow<'a, str>),
}

/// A call of the case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exhibit<'a> {
    pub event_id: Cow<'a, str>,
    #[serde(serialize_with = "as_text", deserialize_with = "time")]
    pub event_time: Timestamp,
    pub principal: Cow<'a, str>,
    /// `iam:PutUserPolicy`.
    pub api: Cow<'a, str>,
    pub source: Cow<'a, str>,
    pub outcome: Ended,
    pub error: Option<Cow<'a, str>>,
    /// Titles of the rules that matched.
    pub rules: Vec<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    Succeeded,
    Denied,
    Failed,
}

impl Default for Undo<'_> {
    fn default() -> Self {
        Self::Commands(Vec::new())
    }
}

impl<S> Default for Sentence<'_, S> {
    fn default() -> Self {
        Self { text: Cow::default(), said: None }
    }
}

impl<'a> Line<'a> {
    /// The line of a finding; `rules` are those that its detections index.
    pub fn of(finding: &'a Finding, rules: &'a [Rule], language: Language) -> Self {
        let (case, judgement) = (&finding.case, &finding.judgement);
        let own: Vec<&str> = finding.event_ids();
        let known: BTreeSet<&str> = own.iter().copied().collect();
        // What is cited is of the case; the report shows what surrounds it too.
        let cited = |ids: &'a [String]| -> Vec<Cow<'a, str>> {
            ids.iter().map(String::as_str).filter(|id| known.contains(id)).map(Cow::from).collect()
        };
        let reason = |reason: &'a trailwarden_core::negotiation::Reason| Reason {
            text: language.reason(&reason.said).into(),
            weight: reason.weight,
            event_ids: cited(&reason.event_ids),
            role: reason.role,
            said: Some(reason.said.clone()),
        };
        let technique = |technique: &'a trailwarden_core::negotiation::Technique| Technique {
            id: Cow::from(&technique.id),
            event_ids: cited(&technique.event_ids),
        };
        let set_aside = judgement.reasons.iter().filter(|reason| matches!(reason.said, Said::SetAside { .. }));
        let techniques = judgement.techniques.iter().map(technique).filter(|one| !one.event_ids.is_empty()).collect();
        let reasons = judgement.reasons.iter().map(reason).filter(|one| !one.event_ids.is_empty()).collect();
        let (first_event_time, last_event_time) = finding.span();
        Self {
            case_id: Cow::from(&case.id),
            account: Cow::from(&case.account),
            principal: Cow::from(&case.principal),
            session: Cow::from(&case.session),
            first_event_time,
            last_event_time,
            score: judgement.probability,
            verdict: Some(judgement.verdict),
            severity: Some(judgement.severity),
            techniques,
            reasons,
            plan: (0..finding.actions.len()).map(|at| step(finding, at)).collect(),
            brains: judgement
                .brains
                .iter()
                .map(|(role, brain)| (role_name(*role).into(), brain_text(brain).into()))
                .collect(),
            language,
            summary: Sentence {
                text: language.summary(&judgement.summary).into(),
                said: Some(judgement.summary.clone()),
            },
            set_aside: set_aside
                .map(|reason| Sentence {
                    text: undercut(&reason.said, language).into(),
                    said: Some(reason.said.clone()),
                })
                .collect(),
            rejected: judgement
                .rejected
                .iter()
                .map(|claim| Rejected {
                    role: claim.role,
                    claim: Cow::from(&claim.predicate),
                    finding: Cow::from(&claim.finding),
                })
                .collect(),
            counterfactual: judgement
                .counterfactual
                .as_ref()
                .map(|found| Sentence { text: language.counterfactual(found).into(), said: Some(found.clone()) }),
            route: routed(&judgement.route, language),
            evidence: match judgement.severity >= Severity::Medium {
                true => evidence(finding, &known, rules),
                false => Vec::new(),
            },
            judged_under: Some(JudgedUnder::of(&judgement.basis)),
            pool: Some(judgement.basis.pooled.into()),
            is_cut: false,
            event_ids: own.into_iter().map(Cow::from).collect(),
        }
    }

    /// The same in another language, as far as facts stand beside its texts.
    #[must_use]
    pub fn retold(mut self, language: Language) -> Self {
        for reason in &mut self.reasons {
            if let Some(said) = &reason.said {
                reason.text = language.reason(said).into();
            }
        }
        self.summary.retell(|said| language.summary(said));
        self.set_aside.iter_mut().for_each(|one| one.retell(|said| undercut(said, language)));
        self.counterfactual.iter_mut().for_each(|one| one.retell(|said| language.counterfactual(said)));
        if let Some(route) = self.route.read() {
            self.route.text = language.route(&route).into();
        }
        self.language = language;
        self
    }
}

impl Line<'static> {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is no line of `scan --cases`.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

impl<'a> JudgedUnder<'a> {
    fn of(basis: &'a Basis) -> Self {
        let Bounds { close_up_to, close_by, act_from, act_from_without_models, act_by, labelled } = basis.bounds;
        Self {
            terms: Cow::from(&basis.terms),
            model: basis.model.as_deref().map(Cow::from),
            calibration: basis.calibration.as_deref().map(Cow::from),
            labelled,
            close_up_to,
            close_by: close_up_to.map(|_| close_by),
            act_from,
            act_from_without_models,
            act_by: act_from.or(act_from_without_models).map(|_| act_by),
        }
    }
}

impl From<Pooled> for Pool {
    fn from(pooled: Pooled) -> Self {
        let Pooled { prior, roles, roles_deterministic, is_fitted, may_close, may_act } = pooled;
        Self { prior, roles, roles_deterministic, is_fitted, may_close, may_act }
    }
}

impl<S> Sentence<'_, S> {
    fn retell(&mut self, tell: impl Fn(&S) -> String) {
        if let Some(said) = &self.said {
            self.text = tell(said).into();
        }
    }
}

impl Reason<'_> {
    /// Whether it speaks for an attack.
    pub fn speaks_for(&self) -> bool {
        speaks_for(self.weight, self.said.as_ref())
    }
}

impl Routed<'_> {
    fn read(&self) -> Option<Route> {
        match self.to.as_ref() {
            "closed" => Some(Route::Closed),
            "automatic" => Some(Route::Automatic),
            "person" => Some(Route::Person { why: self.why.clone()? }),
            _ => None,
        }
    }
}

impl Step<'_> {
    /// The menu's step; `None` for one of another version.
    pub fn known(&self) -> Option<Playbook> {
        let is_it = |known: &&Playbook| {
            known.as_str() == self.playbook && self.target_kind.is_none_or(|kind| known.target_kind() == kind)
        };
        Playbook::ALL.iter().find(is_it).copied()
    }

    /// Whom it touches, what to know, and the way back where it is words.
    pub fn affects(&self, language: Language) -> &str {
        told(&self.affects, language)
    }
}

/// Whether a reason speaks for an attack. What weighs nothing any more still has its side.
pub fn speaks_for(weight: f64, said: Option<&Said>) -> bool {
    match said {
        Some(Said::Claim { predicate, .. }) if weight == 0.0 => !predicate.is_benign(),
        _ => weight >= 0.0,
    }
}

/// A claim that was set aside, without the words that say so.
pub fn undercut(said: &Said, language: Language) -> String {
    match said {
        Said::SetAside { claim, by } => language.undercut(*claim, *by),
        other => language.reason(other),
    }
}

fn routed(route: &Route, language: Language) -> Routed<'static> {
    let (to, why) = match route {
        Route::Closed => ("closed", Vec::new()),
        Route::Automatic => ("automatic", Vec::new()),
        Route::Person { why } => ("person", why.clone()),
    };
    Routed { to: to.into(), text: language.route(route).into(), why: Some(why) }
}

/// The step of an action with what is known of how it would be done.
fn step(finding: &Finding, at: usize) -> Step<'_> {
    let action = &finding.actions[at];
    let step = finding.steps.get(at);
    let calls = step.map_or(&[][..], |step| &step.calls);
    let lines = |calls: &[trailwarden_playbooks::Call]| calls.iter().map(|call| cli_text(call).into()).collect();
    let mut commands: Vec<Cow<'_, str>> = step.map_or_else(Vec::new, |step| lines(&step.captured_first));
    commands.extend::<Vec<_>>(lines(calls));
    Step {
        playbook: action.name().into(),
        target: Cow::from(&action.target.id),
        tier: action.tier,
        mode: action.mode,
        calls: calls
            .iter()
            .map(|call| Call {
                service: call.service.into(),
                operation: call.operation.into(),
                parameters: Cow::Borrowed(&call.parameters),
            })
            .collect(),
        target_kind: Some(action.target.kind),
        account: Cow::from(&action.target.account),
        region: Cow::from(&action.target.region),
        owner: action.owner.as_deref().map(Cow::from),
        commands,
        undo: match step.map(|step| &step.undo) {
            None => Undo::default(),
            Some(trailwarden_playbooks::Undo::Calls(calls)) => Undo::Commands(lines(calls)),
            Some(trailwarden_playbooks::Undo::Words(words)) => Undo::Words(words.as_ref().into()),
        },
        affects: step.map_or("", |step| step.blast_radius.as_ref()).into(),
        notes: step.map_or_else(Vec::new, |step| step.notes.iter().map(|note| note.as_ref().into()).collect()),
    }
}

fn evidence<'a>(finding: &'a Finding, own: &BTreeSet<&str>, rules: &'a [Rule]) -> Vec<Exhibit<'a>> {
    let own = |signal: &&Signal| own.contains(signal.event_id.as_str());
    let mut signals: Vec<&Signal> = finding.case.signals.iter().filter(own).collect();
    let place = |signal: &Signal| (signal.event_time, signal.event_id.clone());
    signals.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| place(a).cmp(&place(b))));
    // A hundred calls of one kind leave room for the one that matters.
    let mut alike = BTreeMap::new();
    let (mut signals, repeated): (Vec<&Signal>, Vec<&Signal>) = signals.into_iter().partition(|signal| {
        let kind = (&signal.service, &signal.call, &signal.error_code, &signal.detections);
        let times = alike.entry(kind).or_insert(0u32);
        *times += 1;
        *times <= ALIKE_MAX
    });
    signals.extend(repeated);
    signals.truncate(EVIDENCE_MAX);
    signals.sort_by_cached_key(|signal| place(signal));
    let exhibit = |signal: &'a Signal| {
        let (outcome, error) = match outcome(signal) {
            Outcome::Succeeded => (Ended::Succeeded, None),
            Outcome::Denied(code) => (Ended::Denied, Some(code.into())),
            Outcome::Failed(code) => (Ended::Failed, Some(code.into())),
        };
        let matched = signal.detections.iter().filter_map(|rule| rules.get(usize::from(rule.0)));
        Exhibit {
            event_id: Cow::from(&signal.event_id),
            event_time: signal.event_time,
            principal: Cow::from(&signal.principal),
            api: signal.api().into(),
            source: Cow::from(&signal.source),
            outcome,
            error,
            rules: matched.take(RULES_MAX).map(|rule| Cow::from(&rule.title)).collect(),
        }
    };
    signals.into_iter().map(exhibit).collect()
}

/// As lines name it.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Analysis => "analysis",
        Role::Context => "context",
        Role::Sceptic => "sceptic",
        Role::Judge => "judge",
        Role::Responder => "responder",
        Role::Reporter => "reporter",
    }
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Timestamp::parse(&text).ok_or_else(|| de::Error::custom("a time as RFC 3339 writes it"))
}

/// `None` for facts of a later version, whose text stands beside them.
fn lenient<'de, D: Deserializer<'de>, S: DeserializeOwned>(deserializer: D) -> Result<Option<S>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Pairs as an object, in their order.
mod map {
    use super::*;

    type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

    pub(super) fn serialize<S: Serializer>(pairs: &Pairs<'_>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(pairs.len()))?;
        for (key, value) in pairs {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'a>, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'static>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Pairs::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    pairs.push((key.into(), value.into()));
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(Object)
    }
}
