//! What playbooks of the operator's answer in a judged case.
//!
//! They stand behind the menu's steps and have no part in the judgement: no role chooses them and nothing of a verdict or a
//! route rests on them, so a capsule needs no file of the operator's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Judgement;
use super::freeze::{account_of, own_name, short_name};
use super::said::Said;
use crate::activity::PrincipalKind;
use crate::case::{Case, Signal};
use crate::plan::Action;
use crate::plan::own::{Answers, OwnPlaybook};
use crate::registry::Registry;
use crate::resource::{Resource, ResourceKind};

/// Steps of one case, and things that one playbook acts on.
pub const OFFERS_MAX: usize = 6;
const TARGETS_MAX: usize = 3;

/// The steps that playbooks of the operator's offer for a case, in the order of the playbooks. What the operator protects is
/// left out.
pub fn offers(all: &[Arc<OwnPlaybook>], case: &Case, judgement: &Judgement, registry: &Registry) -> Vec<Action> {
    let mut offers = Vec::new();
    for own in all.iter().filter(|own| judgement.severity >= own.answers.severity) {
        let answered = answered(&own.answers, judgement);
        let signals = case.signals.iter().filter(|signal| {
            answered.contains(signal.event_id.as_str())
                && !registry.protected.contains(&signal.principal)
                && (own.answers.accounts.is_empty() || own.answers.accounts.contains(&signal.account))
        });
        let mut targets: BTreeMap<(String, String), (Resource, Option<String>)> = BTreeMap::new();
        for (target, owner) in signals.flat_map(|signal| things(signal, own.answers.target)) {
            let name = own_name(target.kind, &target.id).to_owned();
            if targets.len() < TARGETS_MAX && !registry.protected.contains(&target.id) {
                targets.entry((target.account.clone(), name)).or_insert((target, owner));
            }
        }
        for (target, owner) in targets.into_values().take(OFFERS_MAX - offers.len()) {
            offers.push(Action { owner, ..Action::of_own(Arc::clone(own), target) });
        }
    }
    offers
}

/// Events of the claims and techniques that a playbook answers, as far as they stand.
fn answered<'j>(answers: &Answers, judgement: &'j Judgement) -> BTreeSet<&'j str> {
    let is_technique = |id: &str| {
        answers.techniques.contains(id)
            || id.split_once('.').is_some_and(|(whole, _)| answers.techniques.contains(whole))
    };
    let claims = judgement.reasons.iter().filter(|reason| match &reason.said {
        Said::Claim { predicate, .. } => answers.predicates.contains(predicate),
        _ => false,
    });
    let techniques = judgement.techniques.iter().filter(|technique| is_technique(&technique.id));
    let events = claims.flat_map(|claim| &claim.event_ids).chain(techniques.flat_map(|one| &one.event_ids));
    events.map(String::as_str).collect()
}

/// Things of one kind in an event, with the owner of a key: who acts, and by what; else what a successful call touched.
fn things(signal: &Signal, kind: ResourceKind) -> Vec<(Resource, Option<String>)> {
    let named = |account: &str, id: &str| Resource {
        kind,
        account: account.to_owned(),
        region: String::new(),
        id: id.to_owned(),
        created: false,
    };
    let principal = &signal.principal;
    let of_principal = || (named(account_of(principal).unwrap_or_default(), principal), None);
    let mut things = match (kind, signal.principal_kind) {
        (ResourceKind::User, PrincipalKind::IamUser) => vec![of_principal()],
        // AWS refuses changes to roles under its reserved paths.
        (ResourceKind::Role, PrincipalKind::Role) if !principal.contains(":role/aws-") => vec![of_principal()],
        (ResourceKind::AccessKey, PrincipalKind::IamUser) if signal.session.starts_with("AKIA") => {
            vec![(named(&signal.account, &signal.session), Some(short_name(principal).to_owned()))]
        }
        (ResourceKind::Account, _) => vec![(named(&signal.account, &signal.account), None)],
        _ => vec![],
    };
    if signal.error_code.is_none() {
        let touched = signal.details.resources.iter().filter(|resource| resource.kind == kind);
        // Temporary keys have no status that could be changed.
        let touched = touched.filter(|resource| kind != ResourceKind::AccessKey || resource.id.starts_with("AKIA"));
        things.extend(touched.map(|resource| (resource.clone(), None)));
    }
    things
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
