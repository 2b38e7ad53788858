//! What could be done: the menu's steps that fit the evidence, and the deterministic ranking of them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::brain::Pick;
use super::evidence::{Event, Evidence, Outcome};
use super::freeze::{Handles, account_of, own_name, short_name};
use super::handle::{Handle, HandleKind};
use super::predicate::Predicate;
use crate::activity::PrincipalKind;
use crate::level::Severity;
use crate::plan::{Action, Playbook, Tier};
use crate::resource::{Resource, ResourceKind};

/// Steps of one plan.
pub(super) const ACTIONS_MAX: usize = 6;

/// A step that may be chosen: a playbook on something in the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOption {
    pub playbook: Playbook,
    /// A principal, session or resource.
    pub target: Handle,
    /// Share of the weighty events that the step answers, 0 to 1.
    pub coverage: f64,
}

/// Every step that fits the evidence, best first. Steps on what the operator protects are left out, but for those
/// of tier 0.
pub(super) fn options(evidence: &Evidence, handles: &Handles) -> Vec<PlanOption> {
    let weighty = evidence.weighty();
    let share = 1.0 / weighty.len().max(1) as f64;
    let mut options: Vec<PlanOption> = Vec::new();
    let mut places: FxHashMap<(Playbook, Handle), usize> = FxHashMap::default();
    for event in &weighty {
        for (playbook, target) in fitting(evidence, handles, event) {
            if playbook.tier() > Tier::T0 && is_protected(evidence, target) {
                continue;
            }
            let next = options.len();
            let place = *places.entry((playbook, target)).or_insert(next);
            if place == next {
                options.push(PlanOption { playbook, target, coverage: 0.0 });
            }
            options[place].coverage += share;
        }
    }
    let strongest = evidence.strongest();
    options.retain(|option| is_proportionate(option.playbook, strongest));
    options.sort_by(|a, b| {
        utility(b).total_cmp(&utility(a)).then_with(|| (a.playbook, a.target).cmp(&(b.playbook, b.target)))
    });
    // The acting principal may also stand in the evidence as a resource: one step on it is enough.
    let mut known: FxHashSet<(Playbook, String, String)> = FxHashSet::default();
    options.retain(|option| {
        target(handles, option).is_some_and(|target| {
            let name = own_name(target.kind, &target.id).to_owned();
            known.insert((option.playbook, target.account, name))
        })
    });
    options
}

/// The deterministic choice: the best options, and always a mark on the principal, which costs nothing.
pub(super) fn picks(options: &[PlanOption]) -> Vec<Pick> {
    let is_mark = |option: &&PlanOption| option.playbook.tier() == Tier::T0;
    let steps = options.iter().filter(|option| !is_mark(option)).take(ACTIONS_MAX - 1);
    let marks = options.iter().filter(is_mark).take(1);
    let pick =
        |option: &PlanOption| Pick { playbook: option.playbook.as_str().to_owned(), target: option.target.to_string() };
    steps.chain(marks).map(pick).collect()
}

/// The steps picked, as actions. `None` for a pick that is not among the options.
pub(super) fn action(pick: &Pick, options: &[PlanOption], evidence: &Evidence, handles: &Handles) -> Option<Action> {
    let handle: Handle = pick.target.parse().ok()?;
    let option = options.iter().find(|option| option.target == handle && option.playbook.as_str() == pick.playbook)?;
    let target = target(handles, option)?;
    Some(proposed(option.playbook, target, owner(evidence, handles, option)))
}

/// The one place where an action is made: what is proposed is never more than rehearsed. `owner` is the IAM user an
/// access key belongs to, which the call that disables it must name.
fn proposed(playbook: Playbook, target: Resource, owner: Option<String>) -> Action {
    let action = Action::proposed(playbook, target);
    match owner {
        Some(owner) => action.owned_by(owner),
        None => action,
    }
}

/// Coverage against cost: how much is answered, whether harm is undone, how much else the step breaks.
fn utility(option: &PlanOption) -> f64 {
    use Playbook as B;
    let (benefit, blast_radius) = match option.playbook {
        // Undo what blinds or destroys: nothing that works depends on it.
        B::RestoreTrail | B::RescueKms => (2.0, 0.0),
        B::RestoreDetector | B::RestoreConfigRecorder => (1.8, 0.0),
        // Take away what the intruder holds: the key in use first, or the rest is undone again.
        B::DisableAccessKey => (2.6, 0.2),
        B::QuarantineUserSoft => (0.9, 0.3),
        B::QuarantineUserHard => (1.4, 0.9),
        B::RemoveConsoleLogin => (1.3, 0.5),
        B::RevokeRoleSessions => (1.5, 0.9),
        B::LockRoleTrust => (1.3, 0.8),
        B::BlockPublicS3 => (1.5, 0.5),
        B::ProtectS3Data => (1.3, 0.5),
        B::FreezeLambda => (1.1, 0.6),
        B::IsolateEc2 => (1.2, 0.8),
        B::ForensicSnapshot => (0.6, 0.1),
        B::DisableCreatedCredentials | B::DisableCreatedUser | B::DisableCreatedRole => (1.6, 0.1),
        B::UnshareSnapshot | B::UnshareDbSnapshot | B::UnshareImage => (1.6, 0.1),
        B::ScpQuarantine => (1.8, 1.5),
        B::TagUser | B::TagRole | B::TagInstance | B::PreserveLogs => (0.0, 0.0),
        // Not among what is chosen from: see [`super::own`].
        B::Own => (0.0, 0.0),
    };
    let irreversibility = match option.playbook.tier() {
        Tier::T0 | Tier::T1 => 0.0,
        Tier::T2 => 0.2,
        Tier::T3 => 0.6,
    };
    benefit + option.coverage.min(1.0) - blast_radius - irreversibility
}

/// Steps that stop a whole person or role need a detection of high severity.
fn is_proportionate(playbook: Playbook, strongest: Option<Severity>) -> bool {
    let is_heavy = matches!(playbook, Playbook::QuarantineUserHard | Playbook::IsolateEc2);
    !is_heavy || strongest >= Some(Severity::High)
}

fn is_protected(evidence: &Evidence, target: Handle) -> bool {
    let of_principal = |handle: Handle| evidence.principal(handle).is_some_and(|card| card.protected);
    match target.kind {
        HandleKind::Principal => of_principal(target),
        HandleKind::Session => {
            evidence.events.iter().any(|event| event.session == target && of_principal(event.principal))
        }
        _ => evidence.resource(target).is_none_or(|card| {
            card.protected
                || card.owner.is_some_and(|owner| {
                    of_principal(owner) || evidence.resource(owner).is_some_and(|owner| owner.protected)
                })
        }),
    }
}

/// Playbooks and targets that answer one event.
fn fitting(evidence: &Evidence, handles: &Handles, event: &Event) -> Vec<(Playbook, Handle)> {
    let mut fitting = Vec::new();
    let actor = &handles.principals[event.principal.index()];
    match event.principal_kind {
        PrincipalKind::IamUser => {
            fitting.push((Playbook::TagUser, event.principal));
            if handles.sessions[event.session.index()].key.starts_with("AKIA") {
                fitting.push((Playbook::DisableAccessKey, event.session));
            }
            fitting.push((Playbook::QuarantineUserSoft, event.principal));
            fitting.push((Playbook::QuarantineUserHard, event.principal));
        }
        // AWS refuses changes to roles under its reserved paths (service-linked roles, Identity Center).
        PrincipalKind::Role if !actor.contains(":role/aws-") => {
            fitting.push((Playbook::TagRole, event.principal));
            fitting.push((Playbook::RevokeRoleSessions, event.principal));
        }
        _ => {}
    }
    if event.outcome == Outcome::Succeeded {
        for used in &event.resources {
            let Some(card) = evidence.resource(used.resource) else {
                continue;
            };
            // Only lasting keys can be disabled; temporary ones end with their role's sessions.
            if card.kind == ResourceKind::AccessKey && !handles.resources[used.resource.index()].id.starts_with("AKIA")
            {
                continue;
            }
            let playbooks = Playbook::ALL.iter().filter(|playbook| playbook.target_kind() == card.kind);
            let answering = playbooks.filter(|playbook| answers(evidence, event, **playbook, used.created));
            fitting.extend(answering.map(|playbook| (*playbook, used.resource)));
        }
    }
    fitting
}

/// Whether a playbook on something that a successful event touched answers that event.
fn answers(evidence: &Evidence, event: &Event, playbook: Playbook, created: bool) -> bool {
    use Playbook as B;
    use Predicate as P;
    let wanted: &[P] = match playbook {
        B::DisableCreatedCredentials
        | B::DisableCreatedUser
        | B::DisableCreatedRole
        | B::QuarantineUserSoft
        | B::RemoveConsoleLogin
        | B::TagUser
        | B::TagRole
        | B::TagInstance => return created,
        B::LockRoleTrust => &[P::TrustWidened, P::PrincipalCreation, P::PersistenceResource],
        B::RestoreTrail => &[P::LoggingTamper],
        B::RestoreDetector | B::RestoreConfigRecorder => &[P::DetectorTamper, P::LoggingTamper],
        B::BlockPublicS3 => &[P::PublicExposure, P::ExternalSharing],
        B::ProtectS3Data => &[P::DataDestruction],
        B::IsolateEc2 | B::ForensicSnapshot => {
            &[P::RemoteCommand, P::StartupScriptChange, P::ComputeAbuse, P::InstanceCredentialUse, P::SshKeyPush]
        }
        B::FreezeLambda => &[P::CodeChange, P::PersistenceResource, P::PublicExposure],
        B::RescueKms => &[P::KeyDestruction, P::DataDestruction],
        B::UnshareSnapshot | B::UnshareDbSnapshot | B::UnshareImage => &[P::ExternalSharing, P::PublicExposure],
        // The key in use is a session of the evidence, the person behind it a principal; whole accounts are for people.
        B::DisableAccessKey
        | B::QuarantineUserHard
        | B::RevokeRoleSessions
        | B::ScpQuarantine
        | B::PreserveLogs
        | B::Own => {
            return false;
        }
    };
    // A rule of the operator's may name no predicate; what only undoes harm then fits by the kind of its target.
    let undoes = matches!(playbook, B::RestoreTrail | B::RestoreDetector | B::RestoreConfigRecorder | B::RescueKms);
    event.detections.iter().filter_map(|handle| evidence.detection(*handle)).any(|detection| {
        match detection.predicate {
            Some(predicate) => wanted.contains(&predicate),
            None => undoes,
        }
    })
}

/// The thing behind an option. A principal's id is its ARN, a session's its key.
fn target(handles: &Handles, option: &PlanOption) -> Option<Resource> {
    let index = option.target.index();
    let kind = option.playbook.target_kind();
    let named = |account: &str, id: &str| Resource {
        kind,
        account: account.to_owned(),
        region: String::new(),
        id: id.to_owned(),
        created: false,
    };
    match option.target.kind {
        HandleKind::Principal => {
            let principal = handles.principals.get(index)?;
            Some(named(account_of(principal).unwrap_or_default(), principal))
        }
        HandleKind::Session => {
            let session = handles.sessions.get(index)?;
            Some(named(&session.account, &session.key))
        }
        HandleKind::Resource => handles.resources.get(index).filter(|resource| resource.kind == kind).cloned(),
        _ => None,
    }
}

/// The name of the IAM user an access key belongs to.
fn owner(evidence: &Evidence, handles: &Handles, option: &PlanOption) -> Option<String> {
    let owner = match option.target.kind {
        _ if option.playbook.target_kind() != ResourceKind::AccessKey => return None,
        HandleKind::Session => handles.sessions.get(option.target.index())?.principal,
        _ => evidence.resource(option.target)?.owner?,
    };
    let name = match owner.kind {
        HandleKind::Principal => handles.principals.get(owner.index())?,
        _ => &handles.resources.get(owner.index())?.id,
    };
    Some(short_name(name).to_owned())
}

/// Whether a plan holds a reversible step that nobody need approve under two keys.
pub(super) fn has_narrow_step(actions: &[Action]) -> bool {
    actions.iter().any(|action| action.tier == Tier::T1)
}
