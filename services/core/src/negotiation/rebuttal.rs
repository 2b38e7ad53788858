//! The one rebuttal: which surviving claim undercuts which, and what stands once all attacks that were played are counted.
//!
//! Attacks come from a closed, directed table. A symmetric one would let a true benign fact erase a true malicious one;
//! here a circumstance is undercut by the fact that explains it, and a fact that vouches for somebody by the sign that it is
//! not that somebody any more. A deed is never undercut: what a detection saw was done, whoever explains it.
//!
//! What stands is the grounded extension of the claims and the attacks played (Dung, "On the acceptability of arguments",
//! 1995): claims that nothing attacks stand, what they attack falls, what only fallen claims attack stands again. In a
//! cycle nothing can be grounded, so nothing of it stands; the table has none, and a test keeps it so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Role;
use super::brain::Standing;
use super::evidence::Evidence;
use super::handle::Handle;
use super::predicate::Predicate::{self, self as P};

/// Attacks of one rebuttal that are read.
pub const ATTACKS_PER_REBUTTAL_MAX: usize = 24;

/// An attack of the table, and why it holds.
struct Rule {
    by: Predicate,
    on: Predicate,
    why: &'static str,
}

const fn rule(by: Predicate, on: Predicate, why: &'static str) -> Rule {
    Rule { by, on, why }
}

/// First the sceptic's, what explains a circumstance; then analysis's, what somebody's standing does not vouch for.
const TABLE: &[Rule] = &[
    rule(P::KnownAutomation, P::UnusualHour, "automation keeps its own hours"),
    rule(P::KnownAutomation, P::RateSpike, "automation works in bursts"),
    rule(P::KnownAutomation, P::FastSequence, "automation always hurries"),
    rule(P::ServicePrincipal, P::UnusualHour, "AWS keeps its own hours"),
    rule(P::ServicePrincipal, P::RateSpike, "AWS works in bursts"),
    rule(P::ServicePrincipal, P::NewSourceNetwork, "AWS calls from networks of its own"),
    rule(P::ServicePrincipal, P::NewAgent, "AWS calls with tools of its own"),
    rule(P::KnownAdministrator, P::FirstUseOfApi, "an administrator's duties take in new calls"),
    rule(P::PeerMatch, P::FirstUseOfApi, "it is an ordinary call for callers of this kind"),
    rule(P::InstanceCredentialUse, P::ServicePrincipal, "the credential left the machine that it was issued to"),
    rule(P::InstanceCredentialUse, P::KnownAutomation, "the credential left the machine that it was issued to"),
    rule(P::InstanceCredentialUse, P::LongLivedPrincipal, "the credential left the machine that it was issued to"),
    rule(P::NewSourceNetwork, P::KnownAutomation, "automation runs from places that are known"),
    rule(P::NewSourceNetwork, P::LongLivedPrincipal, "age tells whose credential it is, not who holds it"),
    rule(P::FirstRegion, P::PeerMatch, "nobody like the caller works there either"),
    rule(P::LoggingTamper, P::BaselineMatch, "no habit excuses switching off the record"),
    rule(P::SeveralTactics, P::BaselineMatch, "steps that are routine one by one are not routine together"),
    rule(P::SeveralTactics, P::PeerMatch, "others take such steps one by one, not together"),
    rule(P::DeniedBurst, P::NothingSucceeded, "being refused again and again is probing"),
];

/// One claim undercuts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attack {
    pub by: Predicate,
    pub on: Predicate,
}

impl Attack {
    /// Whose attack it is: the sceptic's where an innocent claim attacks, analysis's otherwise.
    pub fn side(self) -> Role {
        if self.by.is_benign() { Role::Sceptic } else { Role::Analysis }
    }
}

/// Why an attack holds, as the end of a sentence; empty for one that the table does not have.
pub(crate) fn why(by: Predicate, on: Predicate) -> &'static str {
    let known = TABLE.iter().find(|rule| rule.by == by && rule.on == on);
    known.map_or("", |rule| rule.why)
}

/// All attacks of the table.
#[cfg(test)]
pub(crate) fn table() -> impl Iterator<Item = (Predicate, Predicate)> {
    TABLE.iter().map(|rule| (rule.by, rule.on))
}

/// An attack as a role plays it. Untrusted: any text may stand in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Play {
    pub by: String,
    pub on: String,
}

/// The attacks that may be played: of the table, between surviving claims that share an event. In the table's order.
pub fn open(standing: &[Standing], evidence: &Evidence) -> Vec<Attack> {
    let events_of = |predicate: Predicate| -> BTreeSet<Handle> {
        let claims = standing.iter().filter(|claim| claim.predicate == predicate);
        claims.flat_map(|claim| evidence.events_behind(&claim.evidence)).collect()
    };
    let stands = |predicate: Predicate| standing.iter().any(|claim| claim.predicate == predicate);
    let both = TABLE.iter().filter(|rule| stands(rule.by) && stands(rule.on));
    let meeting = both.filter(|rule| !events_of(rule.by).is_disjoint(&events_of(rule.on)));
    meeting.map(|rule| Attack { by: rule.by, on: rule.on }).collect()
}

/// The predicates that fall, each with the standing claim that undercuts it: what is not in the grounded extension.
pub fn fallen(standing: &[Standing], played: &[Attack]) -> Vec<Attack> {
    let mut undecided: BTreeSet<Predicate> = standing.iter().map(|claim| claim.predicate).collect();
    let (mut grounded, mut out) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let attackers = |on: Predicate| played.iter().filter(move |attack| attack.on == on).map(|attack| attack.by);
        // An attacker that no claim makes cannot attack.
        let is_free = |on: &Predicate| attackers(*on).all(|by| !undecided.contains(&by) && !grounded.contains(&by));
        let freed: Vec<Predicate> = undecided.iter().copied().filter(is_free).collect();
        if freed.is_empty() {
            break;
        }
        grounded.extend(freed);
        let is_hit = |on: &Predicate| attackers(*on).any(|by| grounded.contains(&by));
        out.extend(undecided.iter().copied().filter(is_hit));
        undecided.retain(|predicate| !grounded.contains(predicate) && !out.contains(predicate));
    }
    let fell = |on: &Predicate| !grounded.contains(on);
    let gone = standing.iter().map(|claim| claim.predicate).filter(fell).collect::<BTreeSet<_>>();
    let is_up = |by: &Predicate| grounded.contains(by) || undecided.contains(by);
    let by = |on: Predicate| played.iter().copied().find(|attack| attack.on == on && is_up(&attack.by));
    gone.into_iter().filter_map(by).collect()
}

/// The claims that stand after the attacks.
pub fn surviving(standing: &[Standing], played: &[Attack]) -> Vec<Standing> {
    let fallen: BTreeSet<Predicate> = fallen(standing, played).into_iter().map(|attack| attack.on).collect();
    standing.iter().filter(|claim| !fallen.contains(&claim.predicate)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::negotiation::predicate::{Ground, Strength};

    fn claims(predicates: &[Predicate]) -> Vec<Standing> {
        let claim = |predicate: &Predicate| Standing {
            role: predicate.owner(),
            predicate: *predicate,
            evidence: Vec::new(),
            strength: Strength::Weak,
        };
        predicates.iter().map(claim).collect()
    }

    #[test]
    fn the_table_is_directed_and_spares_deeds() {
        for rule in TABLE {
            assert_ne!(
                rule.by.is_benign(),
                rule.on.is_benign(),
                "{} on {}: of one side",
                rule.by.name(),
                rule.on.name()
            );
            assert_ne!(rule.on.definition().ground, Ground::Detection, "{} is a deed", rule.on.name());
            assert!(!rule.why.is_empty());
        }
        // Taking away what nothing attacks, again and again, leaves nothing: there is no cycle.
        let mut left: Vec<&Rule> = TABLE.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            let attacked: BTreeSet<Predicate> = left.iter().map(|rule| rule.on).collect();
            left.retain(|rule| attacked.contains(&rule.by));
            assert!(left.len() < before, "a cycle");
        }
    }

    #[test]
    fn what_its_defender_loses_falls_again() {
        let attack = |by, on| Attack { by, on };
        let all = [P::UnusualHour, P::NewSourceNetwork, P::KnownAutomation];
        let explains = attack(P::KnownAutomation, P::UnusualHour);
        assert_eq!(fallen(&claims(&all), &[]), []);
        assert_eq!(fallen(&claims(&all), &[explains]), [explains]);
        // Automation from a new place vouches for nothing, so the hour is unusual again.
        let doubts = attack(P::NewSourceNetwork, P::KnownAutomation);
        assert_eq!(fallen(&claims(&all), &[explains, doubts]), [doubts]);
        let left = surviving(&claims(&all), &[explains, doubts]);
        assert_eq!(left.iter().map(|claim| claim.predicate).collect::<Vec<_>>(), [P::UnusualHour, P::NewSourceNetwork]);
        // Who is not there attacks nobody.
        assert_eq!(fallen(&claims(&all[..2]), &[explains, doubts]), []);
    }

    proptest! {
        /// The definition, against the fixpoint: conflict-free, defends itself, and holds all that nothing attacks.
        #[test]
        fn the_extension_is_admissible(
            present in prop::collection::btree_set(prop::sample::select(Predicate::ALL), 0..12),
            pairs in prop::collection::vec((prop::sample::select(Predicate::ALL), prop::sample::select(Predicate::ALL)), 0..30),
        ) {
            let present: Vec<Predicate> = present.into_iter().collect();
            let played: Vec<Attack> = pairs.into_iter().map(|(by, on)| Attack { by, on }).collect();
            let standing = claims(&present);
            let inside: BTreeSet<Predicate> =
                surviving(&standing, &played).into_iter().map(|claim| claim.predicate).collect();
            let meant = |attack: &&Attack| present.contains(&attack.by) && present.contains(&attack.on);
            for attack in played.iter().filter(meant) {
                prop_assert!(!(inside.contains(&attack.by) && inside.contains(&attack.on)));
                if inside.contains(&attack.on) {
                    let defends = |other: &Attack| other.on == attack.by && inside.contains(&other.by);
                    prop_assert!(played.iter().any(defends));
                }
            }
            for predicate in &present {
                if !played.iter().filter(meant).any(|attack| attack.on == *predicate) {
                    prop_assert!(inside.contains(predicate));
                }
            }
        }
    }
}
