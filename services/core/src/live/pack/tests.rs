use proptest::prelude::*;

use super::*;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// A plain generator, so that a state can be filled from one number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).wrapping_mul(self.0 >> 7 | 1).wrapping_add(self.0 >> 20) % bound.max(1)
    }

    /// 0 to 2, and 1 on average.
    fn level(&mut self) -> f64 {
        self.below(2_000) as f64 / 1_000.0
    }
}

/// Rings of nothing but chance, up to `most` a bucket: what no log can lead to.
fn noise(dice: &mut Dice, latest: Timestamp, most: u64) -> Rings {
    let mut rings = Rings::new(latest);
    let buckets = rings.buckets_mut().into_iter().flatten();
    buckets.for_each(|count| *count = dice.below(most + 1) as u16);
    rings
}

/// The rings of `shares.len()` keys after a day in which a principal did `rate` things a second on average, an hour, a
/// minute and a second never like the one before.
fn day(dice: &mut Dice, latest: Timestamp, rate: f64, shares: &[f64]) -> Vec<Rings> {
    let mut keys = vec![Rings::new(latest); shares.len()];
    let lengths_s = [1, 10, 60, 600, 3_600];
    let end_s = latest.as_millis() / SECOND_MS;
    let (mut of_hour, mut of_minute) = (0.0, 0.0);
    for at_s in end_s - 23 * 3_600..=end_s {
        if at_s % 3_600 == 0 || of_hour == 0.0 {
            of_hour = dice.level();
        }
        if at_s % 60 == 0 || of_minute == 0.0 {
            of_minute = dice.level();
        }
        let wanted = rate * of_hour * of_minute * dice.level();
        for (rings, share) in keys.iter_mut().zip(shares) {
            let count = (wanted * share * dice.level() + dice.level() / 2.0) as u16;
            for (buckets, length_s) in rings.buckets_mut().into_iter().zip(lengths_s) {
                let (place, count_of) = (at_s / length_s, buckets.len() as i64);
                if end_s / length_s - place < count_of {
                    let bucket = &mut buckets[place.rem_euclid(count_of) as usize];
                    *bucket = bucket.saturating_add(count);
                }
            }
        }
    }
    keys
}

/// A state with every list full around the rings that `rings` makes: for the principal, then by keys of each kind.
fn full(seed: u64, mut rings: impl FnMut(&mut Dice, Timestamp, &[f64]) -> Vec<Rings>) -> LiveState {
    let mut dice = Dice(seed);
    let base = Timestamp::from_millis(1_780_000_123_456);
    let mut state = LiveState::new(base);
    let times: Vec<Timestamp> = (0..64).map(|_| base.plus_ms(-(dice.below(DAY_MS as u64) as i64))).collect();
    state.seen_any = true;
    let whole = rings(&mut dice, base, &[1.0, 0.3, 0.4, 0.5, 0.2]);
    [&mut state.all, &mut state.denied, &mut state.listing, &mut state.writing, &mut state.novel]
        .into_iter()
        .zip(whole)
        .for_each(|(place, rings)| *place = rings);
    let mut keyed = |dice: &mut Dice, count: usize| {
        let shares: Vec<f64> = (0..count).map(|_| dice.level() / count as f64).collect();
        let keys = (0..count).map(|_| dice.below(u64::MAX)).collect::<Vec<_>>();
        keys.into_iter().zip(rings(dice, base, &shares)).collect::<Vec<_>>()
    };
    for (number, (key, rings)) in keyed(&mut dice, SESSIONS_MAX).into_iter().enumerate() {
        let mut sequence = Sequence::default();
        (0..LENGTH).for_each(|_| sequence.push(token(COLUMNS.map(|max| dice.below(max + 1)))));
        let session = Session {
            first: times[number],
            latest: times[6 + number],
            network: dice.below(u64::MAX),
            surprise_mean: dice.below(1 << 20) as f32 / 7.0,
            surprise_max: dice.below(1 << 20) as f32 / 7.0,
            novel: dice.below(1 << 20) as f32 / 7.0,
            sequence,
        };
        state.sessions.0.push(Slot { key, rings, context: Some(session) });
    }
    let plain = |(key, rings)| Slot { key, rings, context: () };
    state.sources.0.extend(keyed(&mut dice, SOURCES_MAX).into_iter().map(plain));
    state.apis.0.extend(keyed(&mut dice, APIS_MAX).into_iter().map(plain));
    state.targets = (0..TARGETS_MAX).map(|place| (dice.below(u64::MAX), times[place])).collect();
    state.intervals = (0..INTERVALS_MAX).map(|_| dice.below(16_000) as f32 / 1_000.0).collect();
    state
}

fn fullest(seed: u64, most: u64) -> LiveState {
    full(seed, |dice, base, shares| {
        shares
            .iter()
            .map(|_| {
                let latest = base.plus_ms(-(dice.below(DAY_MS as u64) as i64));
                noise(dice, latest, most)
            })
            .collect()
    })
}

#[test]
fn a_full_state_stays_within_the_budget() {
    for rate in [0.01, 1.0, 20.0, 40.0, 60.0, 80.0, 100.0, 1_000.0, 20_000.0] {
        for seed in 0..4 {
            let mut state = full(seed, |dice, base, shares| day(dice, base, rate, shares));
            // Who does so many things a second does not rest for hours.
            let seconds = |interval: &f32| ((f64::from(*interval) / rate).min(9_999.0) * 1_000.0).round() as u32;
            state.intervals =
                state.intervals.iter().map(|interval| seconds_of(seconds(interval) % (1 << 24))).collect();
            let bytes = state.pack();
            assert!(bytes.len() <= 4_096, "{rate} a second: {} bytes", bytes.len());
            assert!(LiveState::unpack(&bytes).as_ref() == Ok(&state), "{rate} a second");
        }
    }
    let longest = (0..64).map(|seed| fullest(seed, u64::from(FULL)).pack().len()).max().unwrap_or(0);
    assert!(longest <= LiveState::PACKED_BYTES_MAX, "{longest} bytes");
}

proptest! {
    #[test]
    fn comes_back_as_it_was(seed in any::<u64>(), most in 0_u64..65_536) {
        let state = fullest(seed, most);
        let bytes = state.pack();
        let back = LiveState::unpack(&bytes);
        prop_assert!(back.as_ref() == Ok(&state), "{} bytes", bytes.len());
        prop_assert_eq!(back.map(|back| back.pack()), Ok(bytes));
    }

    #[test]
    fn damaged_bytes_are_refused_or_some_state(seed in any::<u64>(), damage in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4), cut in any::<u16>()) {
        let mut bytes = fullest(seed, 9).pack();
        for (place, byte) in damage {
            let place = usize::from(place) % bytes.len();
            bytes[place] = byte;
        }
        bytes.truncate(usize::from(cut) % (bytes.len() + 1000));
        if let Ok(state) = LiveState::unpack(&bytes) {
            // Whatever came out can be worked with.
            let at = state.latest().plus_ms(SECOND_MS);
            state.all.counts(at);
            prop_assert!(state.sessions.0.len() <= SESSIONS_MAX && state.apis.0.len() <= APIS_MAX);
            prop_assert!(LiveState::unpack(&state.pack()).is_ok());
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..6_000)) {
        let _ = LiveState::unpack(&noise);
        let _ = LiveState::unpack(&[&[VERSION], noise.as_slice()].concat());
    }
}

#[test]
fn times_of_all_ages_come_back() {
    let bases = [0, 1_780_000_000_000, i64::MAX, i64::MIN];
    let shifts = [0, 1, -1, MINUTE_MS, -HOUR_MS, i64::MAX, i64::MIN];
    for (base, shift) in bases.iter().flat_map(|base| shifts.map(|shift| (*base, shift))) {
        let (base, at) = (Timestamp::from_millis(base), Timestamp::from_millis(base.wrapping_add(shift)));
        let mut out = Writer::new(Vec::new());
        put_time(&mut out, at, base);
        assert_eq!(take_time(&mut Reader::new(&out.finish()), base), Ok(at));
    }
}
