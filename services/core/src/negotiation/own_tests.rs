use super::super::fixtures::{ACCOUNT, Caller, Scene, resource, rule, single, user};
use super::*;
use crate::level::Severity;
use crate::plan::own::read;
use crate::plan::{Playbook, Tier};

const LOCK: &str = include_str!("../../../../tests/fixtures/playbooks/lock_user.yml");
const RETIRE: &str = include_str!("../../../../tests/fixtures/playbooks/retire_key.yml");

fn own(yaml: &str) -> Arc<OwnPlaybook> {
    Arc::new(read(yaml).expect("a playbook").own)
}

fn offered(all: &[Arc<OwnPlaybook>], scene: &Scene) -> Vec<String> {
    let offers = offers(all, &scene.case(), &scene.judged(), &scene.registry);
    assert!(offers.iter().all(|action| action.playbook == Playbook::Own && action.least_tier() == action.tier));
    let told =
        |action: &Action| format!("{} {} {}", action.name(), action.target.id, action.owner.as_deref().unwrap_or(""));
    offers.iter().map(told).collect()
}

#[test]
fn a_playbook_is_offered_on_what_its_claims_are_about() {
    let scene = single(Caller::Key, Severity::High);
    let all = [own(LOCK)];
    assert_eq!(offered(&all, &scene), [format!("lock_user {} ", user("ci-staging"))]);
    assert_eq!(offers(&all, &scene.case(), &scene.judged(), &scene.registry)[0].target.account, ACCOUNT);
    // Not where it is of less severity, of another kind of caller, in another account, or what it answers is not claimed.
    assert!(offered(&all, &single(Caller::Key, Severity::Low)).is_empty());
    assert!(offered(&all, &single(Caller::Workforce, Severity::High)).is_empty());
    let elsewhere = LOCK.replace("  severity: high", "  severity: high\n  accounts: ['999988887777']");
    assert!(offered(&[own(&elsewhere)], &scene).is_empty());
    let other = LOCK.replace(
        "principal_creation, credential_creation_for_other, privilege_grant, long_term_key_without_mfa",
        "root_use",
    );
    let other = other.replace("T1098, T1136.003", "T1496");
    assert!(offered(&[own(&other)], &scene).is_empty());
    // A technique stands for its parts.
    let by_technique = LOCK.replace("  predicates: [principal_creation, credential_creation_for_other, privilege_grant, long_term_key_without_mfa]\n", "");
    assert_eq!(offered(&[own(&by_technique)], &scene).len(), 1);
}

#[test]
fn what_is_protected_is_left_out_and_there_are_no_more_than_a_few() {
    let mut scene = single(Caller::Key, Severity::High);
    scene.registry.protected.insert(user("ci-staging"));
    assert!(offered(&[own(LOCK)], &scene).is_empty());
    let mut scene = Scene::default();
    let index = scene.with_rule(rule(Severity::High, "persistence", Some("credential_creation_for_other")));
    for number in 0..20 {
        let signal = scene.add(Caller::Key, &[index]);
        signal.details.resources.push(resource(
            crate::resource::ResourceKind::AccessKey,
            &format!("AKIA{number:03}"),
            true,
        ));
    }
    let all: Vec<_> = (0..9).map(|nth| own(&RETIRE.replace("retire_key", &format!("retire_key_{nth}")))).collect();
    let offered = offered(&all, &scene);
    assert_eq!(offered.len(), OFFERS_MAX);
    assert!(offered[0].starts_with("retire_key_0 AKIA"), "{offered:?}");
    // The caller's own key has a known owner.
    assert!(offered.iter().any(|one| one.ends_with("AKIAEXAMPLE ci-staging")), "{offered:?}");
}

#[test]
fn what_an_operator_wrote_is_another_action_once_it_says_something_else() {
    let target = resource(crate::resource::ResourceKind::User, "alice", false);
    let key = |yaml: &str| crate::response::idempotency_key("c1", &Action::of_own(own(yaml), target.clone()));
    assert_eq!(key(LOCK), key(LOCK));
    assert_ne!(key(LOCK), key(&LOCK.replace("lease_h: 12", "lease_h: 13")));
    // What an action does not carry is no step of anybody's.
    let bare = Action::proposed(Playbook::Own, target);
    assert_eq!((bare.least_tier(), bare.name()), (Tier::T3, "own"));
}
