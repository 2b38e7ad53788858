//! History taken in after the fact: an epoch of its own, learned in whatever order it comes, and laid under the live one.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::profile::Profile;
use super::{Epoch, EventKind, Limits, Times, hour_of};
use crate::time::{HOUR_MS, Timestamp};

impl Epoch {
    /// Learns events of any time. Unlike [`Baseline`](super::Baseline), which goes with the clock, it takes each by its
    /// own hour, so that newest first, or several years side by side, are as good as oldest first.
    ///
    /// Equal batches in equal order give equal epochs; within a batch order is nothing.
    pub fn learn(&mut self, events: impl IntoIterator<Item = (EventKind, Timestamp)>) {
        let mut hours = BTreeMap::<(i64, EventKind), Times>::new();
        for (kind, at) in events {
            let times = hours.entry((hour_of(at), kind)).or_insert(Times { events: 0, first: at, latest: at });
            times.events = times.events.saturating_add(1);
            times.first = times.first.min(at);
            times.latest = times.latest.max(at);
        }
        // Whose hours were counted as active, of the hour that is being folded.
        let (mut hour_now, mut active) = (i64::MIN, BTreeSet::new());
        for ((hour, kind), times) in &hours {
            if *hour != hour_now {
                hour_now = *hour;
                active.clear();
            }
            let limits = &self.limits;
            let whose = [
                (&mut self.principals, kind.principal),
                (&mut self.accounts, kind.account),
                (&mut self.peers, u64::from(kind.caller)),
            ];
            for (which, (profiles, key)) in whose.into_iter().enumerate() {
                // It fades from the hour's beginning on, whichever of its events comes first.
                let decayed_at = Timestamp::from_millis(hour.saturating_mul(HOUR_MS));
                let fresh = || Profile { decayed_at, ..Profile::new(times.first) };
                let profile = profiles.entry(key).or_insert_with(fresh);
                profile.decay_to(times.latest);
                profile.fold_past(kind, times, active.insert((which, key)), limits);
            }
        }
        if let Some(((hour, _), _)) = hours.last_key_value() {
            self.hour = self.hour.max(hour.saturating_add(1));
        }
        self.evict();
    }

    /// Whether nothing was learned or folded.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// This epoch, with what history knows beside it: what features of now read. It is no longer to be folded on.
    ///
    /// What is in both counts twice; weights fade as if all of it had been seen live.
    #[must_use]
    pub fn over(&self, history: &Self) -> Self {
        let mut whole = self.clone();
        whole.hour = whole.hour.max(history.hour);
        whole.evicted |= history.evicted;
        join(&mut whole.principals, &history.principals, &whole.limits);
        join(&mut whole.accounts, &history.accounts, &whole.limits);
        join(&mut whole.peers, &history.peers, &whole.limits);
        whole.evict();
        whole
    }
}

fn join(profiles: &mut FxHashMap<u64, Profile>, history: &FxHashMap<u64, Profile>, limits: &Limits) {
    #[expect(clippy::iter_over_hash_type, reason = "every key has a profile of its own")]
    for (key, past) in history {
        match profiles.get_mut(key) {
            Some(profile) => profile.join(past.clone(), limits),
            None => _ = profiles.insert(*key, past.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AgentFamily;
    use crate::baseline::Baseline;
    use crate::feature::{Feature, FeatureVector};
    use crate::time::DAY_MS;

    fn kind(principal: u64, api: u64) -> EventKind {
        EventKind {
            principal,
            account: 2,
            caller: 0,
            api,
            network: 3,
            region: 1,
            agent: AgentFamily::AwsCli,
            service: 4,
            program: 5,
            target: Some(api),
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 / HOUR_MS * HOUR_MS + hours * HOUR_MS)
    }

    /// Three events an hour over some days.
    fn days(days: i64) -> Vec<(EventKind, Timestamp)> {
        (0..days * 24).flat_map(|hour| (0..3).map(move |event| (kind(1, event % 2), at(hour)))).collect()
    }

    fn described(epoch: &Epoch, kind: &EventKind, hour: i64) -> FeatureVector {
        let mut features = FeatureVector::default();
        epoch.describe(kind, at(hour), 3, &mut features);
        features
    }

    #[test]
    fn history_lets_a_first_live_hour_speak() {
        let limits = Limits::default();
        let mut history = Epoch::new(limits);
        history.learn(days(10));
        let mut live = Baseline::new(limits);
        (0..3).for_each(|_| live.add(kind(1, 0), at(240)));
        live.advance(at(241));
        assert_eq!(described(live.epoch(), &kind(1, 9), 241), FeatureVector::default());
        let whole = live.epoch().over(&history);
        assert_eq!(whole.hour(), live.epoch().hour());
        let (new, usual) = (described(&whole, &kind(1, 9), 241), described(&whole, &kind(1, 0), 241));
        for feature in [Feature::FirstApiPrincipal, Feature::FirstApiAccount, Feature::FirstTargetPrincipal] {
            assert_eq!((new.get(feature), usual.get(feature)), (Some(1.0), Some(0.0)), "{feature:?}");
        }
        assert!((usual.get(Feature::HourRateRatio).expect("known") - 1.0).abs() < 0.1);
        assert_eq!(usual.get(Feature::PrincipalAge), Some((7 * DAY_MS / 1_000) as f32));
        // A principal whom history alone knows is not new.
        history.learn([(kind(8, 0), at(3))]);
        assert!(
            described(&live.epoch().over(&history), &kind(8, 0), 241).get(Feature::PrincipalAge).expect("known") > 0.0
        );
    }

    #[test]
    fn the_order_in_which_history_comes_hardly_matters() {
        let events = days(40);
        let learned = |batches: &mut dyn Iterator<Item = &[(EventKind, Timestamp)]>| {
            let mut epoch = Epoch::new(Limits::default());
            batches.for_each(|batch| epoch.learn(batch.iter().copied()));
            epoch
        };
        let forward = learned(&mut events.chunks(100));
        let backward = learned(&mut events.chunks(100).rev());
        assert_eq!(forward.hour(), backward.hour());
        let mut live = Baseline::new(Limits::default());
        events.iter().for_each(|(kind, at)| live.add(*kind, *at));
        live.advance(at(40 * 24));
        for feature in Feature::ALL.iter().copied() {
            let [one, other, lived] =
                [&forward, &backward, live.epoch()].map(|epoch| described(epoch, &kind(1, 0), 40 * 24).get(feature));
            assert_eq!((one.is_some(), other.is_some()), (lived.is_some(), lived.is_some()), "{feature:?}");
            for value in [one, other].into_iter().flatten() {
                let lived = lived.expect("known");
                assert!((value - lived).abs() <= 0.03 * lived.abs().max(1.0), "{feature:?}: {value} and {lived}");
            }
        }
    }

    #[test]
    fn what_is_joined_keeps_to_the_limits_and_says_what_it_forgot() {
        let limits = Limits { warm_up_h: 0, principals_max: 8, values_max: 8, ..Limits::default() };
        let mut history = Epoch::new(limits);
        history.learn((0..8).map(|number| (EventKind { network: number, ..kind(number, 1) }, at(number as i64))));
        let mut live = Baseline::new(limits);
        (100..106).for_each(|number| live.add(EventKind { network: number, ..kind(number, 1) }, at(number as i64)));
        live.advance(at(110));
        let whole = live.epoch().over(&history);
        assert!(whole.principals.len() <= 8 && whole.evicted);
        assert!((100..106).all(|number| whole.principals.contains_key(&number)), "the latest stay");
        assert_eq!(Epoch::from_bytes(&whole.to_bytes()).as_ref(), Ok(&whole));
        let mut nothing = Epoch::new(limits);
        nothing.learn([]);
        assert!(nothing.is_empty());
        assert_eq!(&live.epoch().over(&nothing), live.epoch());
    }
}
