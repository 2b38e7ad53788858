//! The fence in every interleaving of three batches on two workers that crash, are slow, meet each other and a store
//! that forgets: nothing lost, doubled or reordered. And the check itself: planted mistakes are found.
#![allow(clippy::print_stdout, reason = "a test says what it is at")]

use stateright::{Checker, HasDiscoveries, Model};
use trailwarden_tests::fence_model::{Fence, Mistake, Stage};

const TROUBLE: Fence = Fence { stage: Stage::Stateful, rollbacks_max: 1, expiries_max: 1, late_max: 1, mistake: None };

/// Walks through all worlds, and fails with the way to the first that is wrong.
fn hold(fence: Fence) {
    let checker = fence.checker().threads(2).spawn_bfs().join();
    println!(
        "{fence:?}: {} worlds, {} ways between them, {} steps at most",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    assert!(checker.is_done(), "some worlds were not looked at");
    checker.assert_properties();
}

#[test]
fn nothing_is_lost_doubled_or_reordered_whatever_crashes_or_is_slow() {
    hold(TROUBLE);
}

#[test]
fn a_store_may_forget_twice() {
    hold(Fence { rollbacks_max: 2, late_max: 0, ..TROUBLE });
}

#[test]
fn a_stage_without_states_follows_its_own_outputs() {
    hold(Fence { stage: Stage::Relay, rollbacks_max: 0, ..TROUBLE });
}

#[test]
fn planted_mistakes_are_found() {
    for (mistake, breaks) in [
        (Mistake::AcknowledgeBeforePublish, "what is acknowledged has its output"),
        (Mistake::AcknowledgeBeforeCommit, "what is acknowledged is committed, unless the store forgot it"),
        (Mistake::PublishUnguarded, "outputs are the inputs, in order, none lost, none twice"),
        (Mistake::PublishById, "the store holds what the chain up to its record left"),
        (Mistake::CommitUnguarded, "what is acknowledged is committed, unless the store forgot it"),
        (Mistake::IgnorePredecessor, "the store holds what the chain up to its record left"),
        (Mistake::CommitOwnEpoch, "the store holds what the chain up to its record left"),
        (Mistake::RebuildOwnEpoch, "the store holds what the chain up to its record left"),
        (Mistake::SkipRebuild, "a worker left alone ends its work"),
        (Mistake::SkipPoison, "what is acknowledged has its output"),
        (Mistake::BuryAfterPublish, "what is poisoned is buried before its place in the chain is taken"),
    ] {
        let fence = Fence { mistake: Some(mistake), expiries_max: 0, ..TROUBLE };
        let found = HasDiscoveries::AnyOf([breaks].into());
        let checker = fence.checker().threads(2).finish_when(found).spawn_bfs().join();
        let path = checker.assert_any_discovery(breaks);
        println!("{mistake:?}: {:?}", path.into_actions());
    }
}
