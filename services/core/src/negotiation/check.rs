//! The check: every predicate, evaluated by code on the frozen evidence. What is not grounded does not count.

use std::collections::BTreeSet;

use super::evidence::{BaselineFact, Detection, Event, Evidence, Outcome, PrincipalCard};
use super::handle::{Handle, HandleKind};
use super::predicate::Predicate;
use super::tactic::Tactic;
use crate::activity::{Credential, PrincipalKind};
use crate::feature::Feature;
use crate::level::Severity;
use crate::resource::ResourceKind;

/// What the evidence says of a predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is so; what shows it, in order, none twice.
    Holds(Vec<Handle>),
    Fails,
    /// It would take history that is not there.
    Unknown,
}

/// What the check says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    Grounded,
    /// It cites what the pack does not hold.
    Ungrounded,
    /// The evidence says otherwise, or what is cited does not show it.
    Contradicted,
    /// It needs history that is not there.
    Unknown,
    /// Outside the vocabulary, not this role's to claim, or beyond a limit.
    Malformed,
}

impl Finding {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grounded => "grounded",
            Self::Ungrounded => "ungrounded",
            Self::Contradicted => "contradicted",
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
        }
    }
}

/// The truth of every predicate, computed once a pack.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings(Vec<Truth>);

impl Findings {
    pub fn of(evidence: &Evidence) -> Self {
        let facts = Facts::of(evidence);
        let mut truths: Vec<Truth> = Predicate::ALL.iter().map(|predicate| facts.truth(*predicate)).collect();
        // It stands on other predicates, so it is decided last.
        truths[Predicate::TargetCreatedInCase as usize] = facts.onboarding(&truths);
        Self(truths)
    }

    pub fn truth(&self, predicate: Predicate) -> &Truth {
        &self.0[predicate as usize]
    }

    pub fn holds(&self, predicate: Predicate) -> bool {
        matches!(self.truth(predicate), Truth::Holds(_))
    }

    /// Checks a claim's evidence. Everything cited must be in the pack, and must be part of what shows the predicate.
    pub fn check(&self, evidence: &Evidence, predicate: Predicate, cited: &[Handle]) -> Finding {
        if cited.is_empty() || cited.iter().any(|handle| !evidence.contains(*handle)) {
            return Finding::Ungrounded;
        }
        match self.truth(predicate) {
            Truth::Holds(shown) if cited.iter().all(|handle| shown.binary_search(handle).is_ok()) => Finding::Grounded,
            Truth::Holds(_) | Truth::Fails => Finding::Contradicted,
            Truth::Unknown => Finding::Unknown,
        }
    }
}

/// Refused calls from which on a case holds a burst of them.
const DENIED_MIN: usize = 5;
const TACTICS_MIN: usize = 3;
const WEAK_SIGNS_MIN: usize = 3;
const FAST_STEPS_MIN: usize = 3;
const FAST_WINDOW_S: i64 = 120;
const ONBOARDING_WINDOW_S: i64 = 3600;
const LONG_LIVED_DAYS_MIN: u32 = 7;

struct Facts<'a> {
    evidence: &'a Evidence,
    weighty: Vec<&'a Event>,
    /// By event.
    weighs: Vec<bool>,
}

impl<'a> Facts<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let weighty = evidence.weighty();
        let mut weighs = vec![false; evidence.events.len()];
        for event in &weighty {
            weighs[event.handle.index()] = true;
        }
        Self { evidence, weighty, weighs }
    }

    fn truth(&self, predicate: Predicate) -> Truth {
        use Predicate as P;
        let by_rule = self.detected(predicate);
        let computed = match predicate {
            P::DeniedBurst => self.denied_burst(),
            P::SeveralTactics => self.several_tactics(),
            P::SeveralWeakSigns => self.several_weak_signs(),
            P::LongTermKeyWithoutMfa => self.any(uses_bare_key),
            P::FastSequence => self.fast_sequence(),
            P::NewSourceNetwork => self.measured(Feature::FirstSourcePrincipal),
            P::FirstUseOfApi => self.measured(Feature::FirstApiPrincipal),
            P::FirstRegion => self.measured(Feature::FirstRegionAccount),
            P::NewAgent => self.measured(Feature::FirstAgentPrincipal),
            P::UnusualHour => self.measured(Feature::HourShare),
            P::RateSpike => self.measured(Feature::HourRateRatio),
            P::BaselineMatch => self.remembered(|fact| Some(fact.routine_api? && fact.known_source?)),
            P::PeerMatch => self.remembered(|fact| fact.peer_api),
            P::LongLivedPrincipal => self.remembered(|fact| Some(fact.age_days? >= LONG_LIVED_DAYS_MIN)),
            P::KnownAutomation => self.all_by(|card| card.automation),
            P::KnownAdministrator => self.all_by(|card| card.administrator),
            P::FederatedWorkforceSession => self.all_by(|card| card.workforce),
            P::MfaSession => self.all(|event| event.mfa == Some(true)),
            P::ServicePrincipal => self.all(|event| event.principal_kind == PrincipalKind::AwsService),
            P::NothingSucceeded => self.all(|event| event.outcome != Outcome::Succeeded),
            _ => Truth::Fails,
        };
        match (by_rule, computed) {
            (Truth::Holds(mut shown), Truth::Holds(further)) => {
                shown.extend(further);
                holds(shown)
            }
            (Truth::Holds(shown), _) => Truth::Holds(shown),
            (_, computed) => computed,
        }
    }

    /// Grounded by a detection whose rule names the predicate. Only claims for an attack can be.
    fn detected(&self, predicate: Predicate) -> Truth {
        if predicate.is_benign() {
            return Truth::Fails;
        }
        let grounds = self.evidence.grounds(predicate);
        holds(grounds.flat_map(|detection| detection.events.iter().copied().chain([detection.handle])).collect())
    }

    /// Holds when any weighty event is so.
    fn any(&self, is_so: fn(&Event) -> bool) -> Truth {
        holds(self.weighty.iter().filter(|event| is_so(event)).map(|event| event.handle).collect())
    }

    /// Holds when every weighty event is so.
    fn all(&self, is_so: fn(&Event) -> bool) -> Truth {
        if self.weighty.iter().all(|event| is_so(event)) { self.any(is_so) } else { Truth::Fails }
    }

    /// Holds when the principals of all weighty events are so.
    fn all_by(&self, is_so: fn(&PrincipalCard) -> bool) -> Truth {
        let is_by = |event: &&Event| self.evidence.principal(event.principal).is_some_and(is_so);
        if !self.weighty.iter().all(is_by) {
            return Truth::Fails;
        }
        holds(self.weighty.iter().flat_map(|event| [event.handle, event.principal]).collect())
    }

    fn is_weighty(&self, handle: Handle) -> bool {
        self.weighs.get(handle.index()).copied().unwrap_or(false)
    }

    /// Whether a weighty event shows a notable value of the feature.
    fn measured(&self, feature: Feature) -> Truth {
        let notable = self.evidence.features.iter().filter(|attribution| attribution.feature == feature);
        let shown: Vec<Handle> = notable
            .filter(|attribution| self.is_weighty(attribution.event))
            .flat_map(|attribution| [attribution.event, attribution.handle])
            .collect();
        let has_history = self.evidence.baseline.iter().any(|fact| self.is_weighty(fact.event));
        if shown.is_empty() && !has_history { Truth::Unknown } else { holds(shown) }
    }

    /// Whether history says so of every weighty event; one that it does not know leaves the whole unknown.
    fn remembered(&self, is_so: fn(&BaselineFact) -> Option<bool>) -> Truth {
        let mut shown = Vec::with_capacity(2 * self.weighty.len());
        for event in &self.weighty {
            let baseline = &self.evidence.baseline;
            let fact =
                baseline.binary_search_by_key(&event.handle, |fact| fact.event).ok().map(|place| baseline[place]);
            match fact.and_then(|fact| is_so(&fact).map(|so| (so, fact.handle))) {
                None => return Truth::Unknown,
                Some((false, _)) => return Truth::Fails,
                Some((true, handle)) => shown.extend([event.handle, handle]),
            }
        }
        holds(shown)
    }

    fn denied_burst(&self) -> Truth {
        let denied = self.evidence.events.iter().filter(|event| event.outcome == Outcome::Denied);
        let shown: Vec<Handle> = denied.map(|event| event.handle).collect();
        if shown.len() >= DENIED_MIN { holds(shown) } else { Truth::Fails }
    }

    fn several_tactics(&self) -> Truth {
        let strong: Vec<&Detection> =
            self.evidence.active().filter(|detection| detection.severity >= Severity::Medium).collect();
        let events: BTreeSet<Handle> = strong.iter().flat_map(|detection| detection.events.iter().copied()).collect();
        if events.len() < 2 || distinct_tactics(&strong) < TACTICS_MIN {
            return Truth::Fails;
        }
        holds(strong.iter().map(|detection| detection.handle).chain(events).collect())
    }

    fn several_weak_signs(&self) -> Truth {
        let is_bare = |handle: &&Handle| self.evidence.event(**handle).is_some_and(uses_bare_key);
        let weak: Vec<&Detection> = self
            .evidence
            .active()
            .filter(|detection| detection.severity == Severity::Low)
            .filter(|detection| detection.events.iter().any(|event| is_bare(&event)))
            .collect();
        if weak.len() < WEAK_SIGNS_MIN || distinct_tactics(&weak) < 2 {
            return Truth::Fails;
        }
        let events = weak.iter().flat_map(|detection| detection.events.iter().filter(is_bare).copied());
        holds(weak.iter().map(|detection| detection.handle).chain(events).collect())
    }

    /// Events are in time, so each window is a run of them. Services act fast by nature and are left out.
    fn fast_sequence(&self) -> Truth {
        let steps: Vec<&Event> = self
            .evidence
            .events
            .iter()
            .filter(|event| !event.detections.is_empty() && event.principal_kind != PrincipalKind::AwsService)
            .collect();
        // Far more detections than a window needs fit the bits; one beyond them only goes uncounted.
        let bits = |event: &Event| {
            let bit = |handle: &Handle| 1u128.checked_shl(handle.index() as u32).unwrap_or(0);
            event.detections.iter().map(bit).fold(0, |all, bit| all | bit)
        };
        let mut shown = vec![false; self.evidence.events.len()];
        for (index, first) in steps.iter().enumerate() {
            let window = steps[index..]
                .iter()
                .take_while(|event| event.offset_s - first.offset_s <= FAST_WINDOW_S)
                .filter(|event| event.session == first.session);
            let detections = window.clone().map(|event| bits(event)).fold(0, |all, bit| all | bit);
            if window.clone().count() >= FAST_STEPS_MIN && detections.count_ones() as usize >= FAST_STEPS_MIN {
                window.for_each(|event| shown[event.handle.index()] = true);
            }
        }
        holds(steps.iter().map(|event| event.handle).filter(|handle| shown[handle.index()]).collect())
    }

    /// A credential for a user whom the same session created shortly before. An intruder can stage this, so it holds
    /// only beside MFA, the workforce's sign-in or the registry, and never beside a grant or an attack on the defences.
    fn onboarding(&self, truths: &[Truth]) -> Truth {
        use Predicate as P;
        let is_true = |predicate: P| matches!(truths[predicate as usize], Truth::Holds(_));
        let vouched = [P::MfaSession, P::FederatedWorkforceSession, P::KnownAdministrator, P::KnownAutomation];
        let spoilt = [P::PrivilegeGrant, P::LoggingTamper, P::DetectorTamper, P::TrustWidened];
        if !vouched.into_iter().any(is_true) || spoilt.into_iter().any(is_true) {
            return Truth::Fails;
        }
        let mut shown = Vec::new();
        for event in &self.evidence.events {
            for used in event.resources.iter().filter(|used| used.created) {
                let Some(card) = self.evidence.resource(used.resource) else {
                    continue;
                };
                if !matches!(card.kind, ResourceKind::AccessKey | ResourceKind::LoginProfile) {
                    continue;
                }
                let born = card.owner.and_then(|owner| self.creation_of(owner, event));
                match born {
                    Some(born) => shown.extend([born, event.handle]),
                    None => return Truth::Fails,
                }
            }
        }
        holds(shown)
    }

    /// The event by which `user` came into being, in the session of `event` and within the hour before it.
    fn creation_of(&self, user: Handle, event: &Event) -> Option<Handle> {
        let earlier = self.evidence.events.iter().filter(|other| {
            other.session == event.session
                && other.handle != event.handle
                && (0..=ONBOARDING_WINDOW_S).contains(&(event.offset_s - other.offset_s))
        });
        let is_birth = |used: &super::evidence::ResourceUse| used.created && used.resource == user;
        (user.kind == HandleKind::Resource)
            .then(|| earlier.into_iter().find(|other| other.resources.iter().any(is_birth)))?
            .map(|other| other.handle)
    }
}

fn holds(mut shown: Vec<Handle>) -> Truth {
    shown.sort_unstable();
    shown.dedup();
    if shown.is_empty() { Truth::Fails } else { Truth::Holds(shown) }
}

fn uses_bare_key(event: &Event) -> bool {
    event.credential == Credential::LongTermKey && event.mfa != Some(true)
}

/// How many tactics can be assigned to a detection each (a maximum matching): one rule that lists three tactics is one
/// step of an intrusion, not three.
fn distinct_tactics(detections: &[&Detection]) -> usize {
    let mut taken: Vec<(Tactic, usize)> = Vec::new();
    (0..detections.len()).filter(|index| assign(detections, *index, &mut taken, &mut BTreeSet::new())).count()
}

/// Finds a tactic for a detection, moving others if need be (augmenting path; at most as deep as there are tactics).
fn assign(
    detections: &[&Detection],
    index: usize,
    taken: &mut Vec<(Tactic, usize)>,
    tried: &mut BTreeSet<Tactic>,
) -> bool {
    for tactic in &detections[index].tactics {
        if !tried.insert(*tactic) {
            continue;
        }
        match taken.iter().position(|(known, _)| known == tactic) {
            None => {
                taken.push((*tactic, index));
                return true;
            }
            Some(place) => {
                let holder = taken[place].1;
                if assign(detections, holder, taken, tried) {
                    taken[place].1 = index;
                    return true;
                }
            }
        }
    }
    false
}
