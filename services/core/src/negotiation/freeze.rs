//! Freezing a case: its signals become an [`EvidencePack`], and the names go into a table that no brain sees.

use std::collections::BTreeSet;
use std::fmt::Debug;

use rustc_hash::FxHashMap;

use super::Technique;
use super::evidence::{
    AccountCard, Attribution, BaselineFact, Detection, Event, Evidence, EvidencePack, Outcome, PrincipalCard,
    RESOURCES_PER_EVENT_MAX, ResourceCard, ResourceUse, SCHEMA_VERSION, SourceCard, TextCard, UNKNOWN_API,
};
use super::handle::{Handle, HandleKind};
use super::predicate::Predicate;
use super::selection::{choose, finite, raised, technique_id, techniques};
use super::tactic::Tactic;
use super::text::{TextClass, hides_instructions, quotes_instructions};
use crate::activity::PrincipalKind;
use crate::api::{AgentFamily, SourceClass, Vocabulary};
use crate::case::{Case, Signal};
use crate::detection::{Rule, RuleIndex};
use crate::feature::{Feature, FeatureVector};
use crate::registry::Registry;
use crate::resource::{Resource, ResourceKind};

/// What handles stand for. Opened only by code that writes the report and the plan, after every brain has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handles {
    pub(super) case_id: String,
    pub(super) events: Vec<String>,
    pub(super) principals: Vec<String>,
    pub(super) sessions: Vec<SessionName>,
    pub(super) resources: Vec<Resource>,
    pub(super) accounts: Vec<String>,
    /// Titles of rules, by detection.
    pub(super) titles: Vec<String>,
    /// ATT&CK techniques of the case's detections, by id, with all their events.
    pub(super) techniques: Vec<Technique>,
}

/// A session's key and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SessionName {
    pub(super) key: String,
    pub(super) principal: Handle,
    pub(super) account: String,
}

/// Freezes a case. `rules` are those that [`RuleIndex`] counts in. The order of signals does not matter.
pub fn freeze(case: &Case, rules: &[Rule], registry: &Registry, vocabulary: &Vocabulary) -> (EvidencePack, Handles) {
    let (evidence, handles) = frozen(case, rules, registry, vocabulary);
    (EvidencePack::new(evidence), handles)
}

/// As [`freeze`], without what names the case: neither handles nor digest.
pub fn evidence_of(case: &Case, rules: &[Rule], registry: &Registry, vocabulary: &Vocabulary) -> Evidence {
    frozen(case, rules, registry, vocabulary).0
}

fn frozen(case: &Case, rules: &[Rule], registry: &Registry, vocabulary: &Vocabulary) -> (Evidence, Handles) {
    let chosen = choose(&case.signals, rules);
    let start = chosen.iter().map(|signal| signal.event_time).min().unwrap_or_default();
    let mut freezer = Freezer::new(case, registry, vocabulary);
    freezer.detections(&chosen, &case.signals, rules);
    for signal in &chosen {
        freezer.event(signal, signal.event_time.since_ms(start).div_euclid(1000));
    }
    freezer.own_keys();
    let left_out = case.signals.len().saturating_sub(chosen.len()) + case.further_event_ids.len();
    let Freezer { mut evidence, mut handles, .. } = freezer;
    evidence.further_events = count(left_out);
    evidence.injection = evidence.events.iter().any(|event| event.injection)
        || evidence.agents.iter().chain(&evidence.sessions).any(|card| card.text.injection)
        || evidence.principals.iter().any(|card| card.text.injection)
        || evidence.resources.iter().any(|card| card.text.injection);
    handles.techniques = techniques(&case.signals, rules);
    (evidence, handles)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `PermissionsManagement` as `permissions_management`: the closed enumerations' own names, as the pack spells them.
fn word(variant: impl Debug) -> String {
    let name = format!("{variant:?}");
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// The part of a user's, role's or other ARN after the last `/`: IAM names are unique without their path.
pub(super) fn short_name(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

/// What tells a resource from others of its kind. Calls give IAM's names, keys and trails with or without what
/// stands before the last `/`; elsewhere the path is part of the name.
pub(super) fn own_name(kind: ResourceKind, id: &str) -> &str {
    use ResourceKind as K;
    match kind {
        K::User | K::Role | K::LoginProfile | K::Policy | K::KmsKey | K::Trail => short_name(id),
        _ => id,
    }
}

/// Whether a role belongs to IAM Identity Center. AWS reserves the path; nobody else can create a role in it. Other
/// federated callers are not counted: an intruder can make federation tokens and identity providers.
fn is_workforce(kind: PrincipalKind, principal: &str) -> bool {
    kind == PrincipalKind::Role && principal.contains(":role/aws-reserved/sso.amazonaws.com/")
}

type IsNotable = fn(f32) -> bool;

/// The features that brains may cite, and from which value on they are worth a line.
const NOTABLE: &[(Feature, IsNotable)] = &[
    (Feature::FirstSourcePrincipal, |value| value > 0.0),
    (Feature::FirstApiPrincipal, |value| value > 0.0),
    (Feature::FirstRegionAccount, |value| value > 0.0),
    (Feature::FirstAgentPrincipal, |value| value > 0.0),
    (Feature::HourShare, |value| value <= 0.01),
    (Feature::HourRateRatio, |value| value >= 8.0),
];
/// A call of at least one in 128 of a principal's is routine for it.
const ROUTINE_BITS_MAX: f32 = 7.0;
/// A call of at least one in 64 of a kind's is common among peers.
const PEER_BITS_MAX: f32 = 6.0;
const DAY_S: f32 = 86_400.0;

struct Freezer<'a> {
    registry: &'a Registry,
    vocabulary: &'a Vocabulary,
    known: FxHashMap<(HandleKind, &'a str, &'a str), Handle>,
    /// How many names of each kind are known.
    counts: [usize; HandleKind::COUNT],
    resources: FxHashMap<(ResourceKind, &'a str, &'a str), Handle>,
    rules: FxHashMap<RuleIndex, Handle>,
    evidence: Evidence,
    handles: Handles,
}

impl<'a> Freezer<'a> {
    fn new(case: &Case, registry: &'a Registry, vocabulary: &'a Vocabulary) -> Self {
        let evidence = Evidence {
            accounts: Vec::new(),
            agents: Vec::new(),
            baseline: Vec::new(),
            detections: Vec::new(),
            events: Vec::new(),
            features: Vec::new(),
            floor: None,
            further_events: 0,
            further_resources: 0,
            injection: false,
            learned_milli: case.learned.map(|learned| (finite(learned) * 1000.0).round() as u16),
            principals: Vec::new(),
            resources: Vec::new(),
            schema: SCHEMA_VERSION,
            sessions: Vec::new(),
            sources: Vec::new(),
            unknown_detections: 0,
        };
        let handles = Handles { case_id: case.id.clone(), ..Handles::default() };
        Self {
            registry,
            vocabulary,
            known: FxHashMap::default(),
            counts: [0; HandleKind::COUNT],
            resources: FxHashMap::default(),
            rules: FxHashMap::default(),
            evidence,
            handles,
        }
    }

    /// Detections in order of their first event in the pack, then of their rule; matches and floor over all signals.
    fn detections(&mut self, chosen: &[&Signal], all: &[Signal], rules: &[Rule]) {
        for signal in chosen {
            for index in &signal.detections {
                if self.rules.contains_key(index) {
                    continue;
                }
                let Some(rule) = raised(rules, *index) else { continue };
                let handle = Handle::at(HandleKind::Detection, self.evidence.detections.len());
                self.rules.insert(*index, handle);
                self.handles.titles.push(rule.title.clone());
                let tactics: BTreeSet<Tactic> = rule.tactics.iter().filter_map(|text| Tactic::named(text)).collect();
                let techniques: BTreeSet<String> = rule.techniques.iter().filter_map(|id| technique_id(id)).collect();
                self.evidence.detections.push(Detection {
                    events: Vec::new(),
                    floor: rule.floor,
                    handle,
                    matches: 0,
                    predicate: rule.predicate.as_deref().and_then(Predicate::named),
                    severity: rule.severity,
                    tactics: tactics.into_iter().collect(),
                    techniques: techniques.into_iter().collect(),
                });
            }
        }
        for index in all.iter().flat_map(|signal| &signal.detections) {
            let Some(rule) = rules.get(usize::from(index.0)) else {
                self.evidence.unknown_detections = self.evidence.unknown_detections.saturating_add(1);
                continue;
            };
            if rule.can_fire() {
                self.evidence.floor = self.evidence.floor.max(rule.floor);
            }
            if let Some(handle) = self.rules.get(index) {
                let matches = &mut self.evidence.detections[handle.index()].matches;
                *matches = matches.saturating_add(1);
            }
        }
    }

    fn event(&mut self, signal: &'a Signal, offset_s: i64) {
        let handle = Handle::at(HandleKind::Event, self.evidence.events.len());
        let access = self.vocabulary.access_level(&signal.service, &signal.call);
        let principal = self.principal(signal);
        let account = self.account(&signal.account);
        let mut detections: Vec<Handle> =
            signal.detections.iter().filter_map(|index| self.rules.get(index).copied()).collect();
        detections.sort_unstable();
        detections.dedup();
        for detection in &detections {
            self.evidence.detections[detection.index()].events.push(handle);
        }
        let event = Event {
            access: access.map(word),
            account,
            agent: self.agent(signal),
            api: if access.is_some() { signal.api() } else { UNKNOWN_API.to_owned() },
            credential: signal.credential,
            detections,
            handle,
            injection: hides_instructions(&signal.details.parameters)
                || quotes_instructions(&signal.details.error_message),
            learned_milli: signal.learned.map(|learned| (finite(learned) * 1000.0).round() as u16),
            level: signal.level,
            mfa: signal.mfa,
            offset_s,
            outcome: match &signal.error_code {
                None => Outcome::Succeeded,
                Some(_) if signal.denied() => Outcome::Denied,
                Some(_) => Outcome::Failed,
            },
            principal,
            principal_kind: signal.principal_kind,
            read_only: signal.read_only,
            region: self.known(HandleKind::Region, &signal.region, ""),
            resources: self.used(signal),
            score_milli: (finite(signal.score) * 1000.0).round() as u16,
            session: self.session(signal, principal),
            source: self.source(signal),
        };
        self.handles.events.push(signal.event_id.clone());
        self.evidence.events.push(event);
        self.features(handle, signal);
        self.baseline(handle, &signal.features);
    }

    /// The handle of a name, counted in order of first appearance.
    fn known(&mut self, kind: HandleKind, name: &'a str, within: &'a str) -> Handle {
        let next = &mut self.counts[kind as usize];
        *self.known.entry((kind, name, within)).or_insert_with(|| {
            *next += 1;
            Handle::at(kind, *next - 1)
        })
    }

    fn principal(&mut self, signal: &'a Signal) -> Handle {
        let handle = self.known(HandleKind::Principal, &signal.principal, "");
        if handle.index() == self.evidence.principals.len() {
            self.evidence.principals.push(PrincipalCard {
                administrator: self.registry.administrators.contains(&signal.principal),
                automation: self.registry.automation.contains(&signal.principal),
                handle,
                kind: signal.principal_kind,
                protected: self.registry.protected.contains(&signal.principal),
                text: TextClass::of(short_name(&signal.principal)),
                workforce: is_workforce(signal.principal_kind, &signal.principal),
            });
            self.handles.principals.push(signal.principal.clone());
        }
        handle
    }

    fn account(&mut self, account: &'a str) -> Handle {
        let handle = self.known(HandleKind::Account, account, "");
        if handle.index() == self.evidence.accounts.len() {
            let listed = self.registry.accounts.contains(account);
            self.evidence.accounts.push(AccountCard { handle, listed });
            self.handles.accounts.push(account.to_owned());
        }
        handle
    }

    /// Sessions are told apart by key; where a record has none, by principal.
    fn session(&mut self, signal: &'a Signal, principal: Handle) -> Handle {
        let within = if signal.session.is_empty() { signal.principal.as_str() } else { "" };
        let handle = self.known(HandleKind::Session, &signal.session, within);
        if handle.index() == self.evidence.sessions.len() {
            self.evidence.sessions.push(TextCard {
                family: "session".to_owned(),
                handle,
                text: TextClass::of(&signal.session_name),
            });
            self.handles.sessions.push(SessionName {
                key: signal.session.clone(),
                principal,
                account: account_of(&signal.principal).unwrap_or(&signal.account).to_owned(),
            });
        } else {
            // One credential has one session name in AWS's records; a record that says otherwise hides nothing.
            self.evidence.sessions[handle.index()].text.injection |= TextClass::of(&signal.session_name).injection;
        }
        handle
    }

    fn agent(&mut self, signal: &'a Signal) -> Handle {
        let handle = self.known(HandleKind::Agent, &signal.user_agent, "");
        if handle.index() == self.evidence.agents.len() {
            self.evidence.agents.push(TextCard {
                family: word(AgentFamily::of(&signal.user_agent)),
                handle,
                text: TextClass::of(&signal.user_agent),
            });
        }
        handle
    }

    fn source(&mut self, signal: &'a Signal) -> Handle {
        let handle = self.known(HandleKind::Source, &signal.source, "");
        if handle.index() == self.evidence.sources.len() {
            let class = word(SourceClass::of(&signal.source));
            self.evidence.sources.push(SourceCard { class, handle });
        }
        handle
    }

    fn used(&mut self, signal: &'a Signal) -> Vec<ResourceUse> {
        let resources = &signal.details.resources;
        let further = count(resources.len().saturating_sub(RESOURCES_PER_EVENT_MAX));
        self.evidence.further_resources = self.evidence.further_resources.saturating_add(further);
        let mut used = Vec::with_capacity(resources.len().min(RESOURCES_PER_EVENT_MAX));
        for resource in resources.iter().take(RESOURCES_PER_EVENT_MAX) {
            let handle = self.resource(resource);
            // What a refused call would have made does not exist.
            let created = resource.created && signal.error_code.is_none();
            self.evidence.resources[handle.index()].created |= created;
            used.push(ResourceUse { created, resource: handle });
        }
        used
    }

    fn resource(&mut self, resource: &'a Resource) -> Handle {
        let next = Handle::at(HandleKind::Resource, self.evidence.resources.len());
        let key = (resource.kind, resource.account.as_str(), own_name(resource.kind, &resource.id));
        let handle = *self.resources.entry(key).or_insert(next);
        if handle == next {
            let account = self.account(&resource.account);
            self.evidence.resources.push(ResourceCard {
                account,
                created: false,
                handle,
                kind: resource.kind,
                owner: None,
                protected: self.is_protected(resource),
                text: TextClass::of(short_name(&resource.id)),
            });
            self.handles.resources.push(resource.clone());
        }
        handle
    }

    /// Whether a user or role, by whatever name the call gave, is on the operator's protected list.
    fn is_protected(&self, resource: &Resource) -> bool {
        let path = match resource.kind {
            ResourceKind::User => ":user/",
            ResourceKind::Role => ":role/",
            _ => return self.registry.protected.contains(&resource.id),
        };
        self.registry.protected.iter().any(|arn| {
            let is_same = short_name(arn) == short_name(&resource.id) && arn.contains(path);
            is_same && account_of(arn).is_some_and(|account| resource.account.is_empty() || account == resource.account)
        })
    }

    /// A key or login profile is for the user that the call that touched it names, else for who called.
    fn own_keys(&mut self) {
        for event in &self.evidence.events {
            let kind = |handle: Handle| self.handles.resources[handle.index()].kind;
            let touched = event.resources.iter().map(|used| used.resource);
            let user = touched.clone().find(|handle| kind(*handle) == ResourceKind::User);
            for key in
                touched.filter(|handle| matches!(kind(*handle), ResourceKind::AccessKey | ResourceKind::LoginProfile))
            {
                let card = &mut self.evidence.resources[key.index()];
                card.owner = card.owner.or(user).or(Some(event.principal));
            }
        }
    }

    fn features(&mut self, event: Handle, signal: &Signal) {
        let milli = |value: f32| (value * 1000.0).round() as i32;
        let weight_of =
            |feature| signal.reasons.iter().find(|(reason, _)| *reason == feature).map(|(_, weight)| *weight);
        let notable = NOTABLE.iter().filter(|(feature, is_notable)| {
            weight_of(*feature).is_none() && signal.features.get(*feature).is_some_and(is_notable)
        });
        let told = notable.map(|(feature, _)| (*feature, 0.0)).chain(signal.reasons.iter().copied());
        for (feature, weight) in told {
            self.evidence.features.push(Attribution {
                event,
                feature,
                handle: Handle::at(HandleKind::Feature, self.evidence.features.len()),
                value_milli: signal.features.get(feature).map(milli),
                weight_milli: milli(weight),
            });
        }
    }

    fn baseline(&mut self, event: Handle, features: &FeatureVector) {
        let at_most = |feature, bound| features.get(feature).map(|value| value <= bound);
        let fact = BaselineFact {
            age_days: features.get(Feature::PrincipalAge).map(|seconds| (seconds / DAY_S) as u32),
            event,
            handle: Handle::at(HandleKind::Baseline, self.evidence.baseline.len()),
            known_source: at_most(Feature::FirstSourcePrincipal, 0.0),
            peer_api: at_most(Feature::ApiRarityPeers, PEER_BITS_MAX),
            routine_api: at_most(Feature::ApiRarityPrincipal, ROUTINE_BITS_MAX),
        };
        let known = [fact.known_source, fact.peer_api, fact.routine_api];
        if fact.age_days.is_some() || known.iter().any(Option::is_some) {
            self.evidence.baseline.push(fact);
        }
    }
}

/// The account in an ARN; `None` where the text is none.
pub(super) fn account_of(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    (parts.next() == Some("arn")).then_some(())?;
    parts.nth(3).filter(|account| !account.is_empty())
}
