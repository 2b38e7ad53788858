//! Live state written down, bit by bit: what a store holds of a principal, in at most about 4 KiB.
//!
//! Counts of one window mostly lie close together or are zero, so each window is written as its least count and what
//! the others are above it, zero counts and full ones apart. Times are written as what they lie before the latest. The
//! latest bucket of a window is as long as the whole next finer window, so it is the sum of that one's latest buckets.

use super::bits::{Reader, Writer, width};
use super::{APIS_MAX, INTERVALS_MAX, LiveState, SESSIONS_MAX, SOURCES_MAX, Session, Slot, Slots, TARGETS_MAX};
use crate::sequence::{API_BUCKETS, GAP_MAX, LENGTH, Sequence, Token};
use crate::stored::{Corrupt, after_version};
use crate::time::Timestamp;
use crate::window::Rings;

/// First byte of a state that is written down.
const VERSION: u8 = 1;
/// Bits that say how many bits a number of 16, or of 64 bits takes.
const WIDTH_BITS: u32 = 5;
const LONG_WIDTH_BITS: u32 = 7;
/// Bits that say how many there are of each list; wide enough for its bound.
const COUNT_BITS: u32 = 6;
/// A bucket stops counting here.
const FULL: u16 = u16::MAX;

/// How the counts of one window are written.
const ALL_ZERO: u64 = 0;
const ALL: u64 = 1;
const BESIDE_ZEROS: u64 = 2;
const BESIDE_FULL: u64 = 3;

/// Largest value of each column of a [`Token`], and the bits of its width.
const COLUMNS: [u64; 7] = [API_BUCKETS as u64 - 1, GAP_MAX as u64, 5, 12, 7, 2, 63];

impl LiveState {
    /// No state is longer than this, even if each of its 1,848 buckets held noise of 16 bits. States that events lead to
    /// stay within 4 KiB: the fullest are of principals who did some 60 things a second for a whole day.
    pub const PACKED_BYTES_MAX: usize = 6_144;

    /// The state written down. What it says of any event afterwards is the same.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Writer::new(vec![VERSION]);
        let base = self.latest();
        out.put(base.as_millis() as u64, 64);
        out.put(u64::from(self.seen_any), 1);
        put_rows(&mut out, &self.all);
        for rings in [&self.denied, &self.listing, &self.writing, &self.novel] {
            put_rings(&mut out, rings, base);
        }
        put_slots(&mut out, &self.sessions, base, |out, session| {
            out.put(u64::from(session.is_some()), 1);
            if let Some(session) = session {
                put_session(out, session, base);
            }
        });
        put_slots(&mut out, &self.sources, base, |_, ()| {});
        put_slots(&mut out, &self.apis, base, |_, ()| {});
        out.put(self.targets.len() as u64, COUNT_BITS);
        for (target, at) in &self.targets {
            out.put(*target, 64);
            put_time(&mut out, *at, base);
        }
        out.put(self.intervals.len() as u64, COUNT_BITS);
        self.intervals.iter().for_each(|interval| put_interval(&mut out, *interval));
        out.finish()
    }

    /// Reads what [`LiveState::pack`] wrote.
    ///
    /// # Errors
    /// When the bytes are of another version, cut, too long, or say what no state can hold.
    pub fn unpack(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.len() > Self::PACKED_BYTES_MAX {
            return Err(Corrupt::Long);
        }
        let mut from = Reader::new(after_version(bytes, VERSION)?);
        let base = Timestamp::from_millis(from.take(64)? as i64);
        let mut state = Self::new(base);
        state.seen_any = from.take(1)? == 1;
        take_rows(&mut from, &mut state.all)?;
        for rings in [&mut state.denied, &mut state.listing, &mut state.writing, &mut state.novel] {
            *rings = take_rings(&mut from, base)?;
        }
        state.sessions = take_slots::<_, SESSIONS_MAX>(&mut from, base, |from| match from.take(1)? {
            0 => Ok(None),
            _ => take_session(from, base).map(Some),
        })?;
        state.sources = take_slots::<_, SOURCES_MAX>(&mut from, base, |_| Ok(()))?;
        state.apis = take_slots::<_, APIS_MAX>(&mut from, base, |_| Ok(()))?;
        for _ in 0..take_count(&mut from, TARGETS_MAX)? {
            state.targets.push((from.take(64)?, take_time(&mut from, base)?));
        }
        for _ in 0..take_count(&mut from, INTERVALS_MAX)? {
            state.intervals.push(take_interval(&mut from)?);
        }
        from.finish()?;
        Ok(state)
    }
}

fn take_count(from: &mut Reader<'_>, max: usize) -> Result<usize, Corrupt> {
    Ok(from.take_below(COUNT_BITS, max as u64, "length of a list")? as usize)
}

fn put_float(out: &mut Writer, value: f32) {
    out.put(u64::from(value.to_bits()), 32);
}

fn take_float(from: &mut Reader<'_>) -> Result<f32, Corrupt> {
    Ok(f32::from_bits(from.take(32)? as u32))
}

/// Seconds that are whole milliseconds, as nearly all are, take fewer bits as those.
fn put_interval(out: &mut Writer, seconds: f32) {
    let millis = (seconds * 1_000.0).round() as u32;
    let is_whole = seconds_of(millis).to_bits() == seconds.to_bits() && width(u64::from(millis)) < 1 << WIDTH_BITS;
    out.put(u64::from(is_whole), 1);
    if is_whole { out.put_sized(u64::from(millis), WIDTH_BITS) } else { put_float(out, seconds) }
}

fn take_interval(from: &mut Reader<'_>) -> Result<f32, Corrupt> {
    match from.take(1)? {
        0 => take_float(from),
        _ => Ok(seconds_of(from.take_sized(WIDTH_BITS, 31)? as u32)),
    }
}

fn seconds_of(millis: u32) -> f32 {
    millis as f32 / 1_000.0
}

/// What a time lies before `base`, its sign in the lowest bit.
fn put_time(out: &mut Writer, at: Timestamp, base: Timestamp) {
    let before = base.as_millis().wrapping_sub(at.as_millis());
    out.put_sized(((before << 1) ^ (before >> 63)) as u64, LONG_WIDTH_BITS);
}

fn take_time(from: &mut Reader<'_>, base: Timestamp) -> Result<Timestamp, Corrupt> {
    let coded = from.take_sized(LONG_WIDTH_BITS, 64)?;
    let before = (coded >> 1) as i64 ^ -((coded & 1) as i64);
    Ok(Timestamp::from_millis(base.as_millis().wrapping_sub(before)))
}

fn put_rings(out: &mut Writer, rings: &Rings, base: Timestamp) {
    put_time(out, rings.latest(), base);
    put_rows(out, rings);
}

fn take_rings(from: &mut Reader<'_>, base: Timestamp) -> Result<Rings, Corrupt> {
    let mut rings = Rings::new(take_time(from, base)?);
    take_rows(from, &mut rings)?;
    Ok(rings)
}

/// What the latest bucket of each window but the finest holds by the counts of the next finer one: the finer buckets
/// since the latest bucket began, which are the first ones in their ring.
fn latest_sums(finer: &[u16], newest: usize) -> u16 {
    finer[..=newest].iter().fold(0, |sum, count| sum.saturating_add(*count))
}

fn put_rows(out: &mut Writer, rings: &Rings) {
    let (windows, newest) = (rings.buckets(), rings.newest());
    let sum = |window: usize| latest_sums(windows[window - 1], newest[window - 1]);
    // True of all rings that events filled.
    let adds_up = (1..windows.len()).all(|window| windows[window][newest[window]] == sum(window));
    out.put(u64::from(adds_up), 1);
    for (window, buckets) in windows.into_iter().enumerate() {
        put_buckets(out, buckets, (adds_up && window > 0).then_some(newest[window]));
    }
}

fn take_rows(from: &mut Reader<'_>, rings: &mut Rings) -> Result<(), Corrupt> {
    let adds_up = from.take(1)? == 1;
    let newest = rings.newest();
    let mut sum = None;
    for (buckets, newest) in rings.buckets_mut().into_iter().zip(newest) {
        take_buckets(from, buckets, sum.map(|sum| (newest, sum)))?;
        sum = adds_up.then(|| latest_sums(buckets, newest));
    }
    Ok(())
}

/// The least of some counts, and the bits that the others take above it.
fn frame(counts: impl Iterator<Item = u16>) -> (u16, u32) {
    let (least, most) = counts.fold((FULL, 0), |(least, most), count| (count.min(least), count.max(most)));
    (least, width(u64::from(most.saturating_sub(least))))
}

/// Writes the counts of a window, but for the one at `known`.
fn put_buckets(out: &mut Writer, buckets: &[u16], known: Option<usize>) {
    let counts = || buckets.iter().enumerate().filter(|(place, _)| Some(*place) != known).map(|(_, count)| *count);
    if counts().all(|count| count == 0) {
        return out.put(ALL_ZERO, 2);
    }
    let cost = |apart: Option<u16>| {
        let kept = || counts().filter(|count| Some(*count) != apart);
        let (least, bits) = frame(kept());
        let plain = width(u64::from(kept().max().unwrap_or(0)));
        let mask_bits = if apart.is_some() { counts().count() as u32 } else { 0 };
        let kept = kept().count() as u32;
        let framed = WIDTH_BITS + width(u64::from(least)) + bits * kept;
        let (bits_all, least, bits) =
            if framed < plain * kept { (framed, least, bits) } else { (plain * kept, 0, plain) };
        (mask_bits + bits_all, least, bits)
    };
    let ways = [(ALL, None), (BESIDE_ZEROS, Some(0)), (BESIDE_FULL, Some(FULL))];
    let ((_, least, bits), (way, apart)) =
        ways.map(|way| (cost(way.1), way)).into_iter().min_by_key(|((cost, ..), _)| *cost).unwrap_or_default();
    out.put(way, 2);
    if apart.is_some() {
        counts().for_each(|count| out.put(u64::from(Some(count) != apart), 1));
    }
    out.put(u64::from(least > 0), 1);
    if least > 0 {
        out.put_sized(u64::from(least), WIDTH_BITS);
    }
    out.put(u64::from(bits), WIDTH_BITS);
    counts().filter(|count| Some(*count) != apart).for_each(|count| out.put(u64::from(count - least), bits));
}

fn take_buckets(from: &mut Reader<'_>, buckets: &mut [u16], known: Option<(usize, u16)>) -> Result<(), Corrupt> {
    let way = from.take(2)?;
    let written = buckets.len() - usize::from(known.is_some());
    let mask = match way {
        ALL_ZERO => 0,
        ALL => u64::MAX,
        _ => from.take(written as u32)?,
    };
    let least = if way != ALL_ZERO && from.take(1)? == 1 { from.take_sized(WIDTH_BITS, 16)? } else { 0 };
    let bits = if way == ALL_ZERO { 0 } else { from.take_below(WIDTH_BITS, 16, "width of a count")? as u32 };
    let apart = if way == BESIDE_FULL { FULL } else { 0 };
    let mut next = 0;
    for (place, count) in buckets.iter_mut().enumerate() {
        *count = match known {
            Some((known, sum)) if known == place => sum,
            _ => {
                next += 1;
                match mask >> (next - 1) & 1 {
                    0 => apart,
                    _ => u16::try_from(least + from.take(bits)?).map_err(|_| Corrupt::Impossible("count"))?,
                }
            }
        };
    }
    Ok(())
}

fn put_slots<C, const MAX: usize>(
    out: &mut Writer,
    slots: &Slots<C, MAX>,
    base: Timestamp,
    put_context: impl Fn(&mut Writer, &C),
) {
    out.put(slots.0.len() as u64, COUNT_BITS);
    for slot in &slots.0 {
        out.put(slot.key, 64);
        put_rings(out, &slot.rings, base);
        put_context(out, &slot.context);
    }
}

fn take_slots<'a, C, const MAX: usize>(
    from: &mut Reader<'a>,
    base: Timestamp,
    take_context: impl Fn(&mut Reader<'a>) -> Result<C, Corrupt>,
) -> Result<Slots<C, MAX>, Corrupt> {
    let count = take_count(from, MAX)?;
    let mut slots = Vec::with_capacity(count);
    for _ in 0..count {
        let key = from.take(64)?;
        let rings = take_rings(from, base)?;
        slots.push(Slot { key, rings, context: take_context(from)? });
    }
    Ok(Slots(slots))
}

fn put_session(out: &mut Writer, session: &Session, base: Timestamp) {
    let Session { first, latest, network, surprise_mean, surprise_max, novel, sequence } = session;
    put_time(out, *first, base);
    put_time(out, *latest, base);
    out.put(*network, 64);
    [surprise_mean, surprise_max, novel].into_iter().for_each(|value| put_float(out, *value));
    out.put(sequence.len() as u64, COUNT_BITS);
    if sequence.is_empty() {
        return;
    }
    for column in 0..COLUMNS.len() {
        let values = || sequence.iter().map(|token| columns(token)[column]);
        let least = values().min().unwrap_or(0);
        let bits = width(values().max().unwrap_or(0) - least);
        out.put_sized(least, WIDTH_BITS);
        out.put(u64::from(bits), WIDTH_BITS);
        values().for_each(|value| out.put(value - least, bits));
    }
}

fn take_session(from: &mut Reader<'_>, base: Timestamp) -> Result<Session, Corrupt> {
    let (first, latest) = (take_time(from, base)?, take_time(from, base)?);
    let network = from.take(64)?;
    let (surprise_mean, surprise_max, novel) = (take_float(from)?, take_float(from)?, take_float(from)?);
    let count = take_count(from, LENGTH)?;
    let mut rows = [[0; COLUMNS.len()]; LENGTH];
    let mut sequence = Sequence::default();
    if count > 0 {
        for (column, max) in COLUMNS.into_iter().enumerate() {
            let least = from.take_sized(WIDTH_BITS, 16)?;
            let bits = from.take_below(WIDTH_BITS, 16, "width of a token")? as u32;
            for row in &mut rows[..count] {
                row[column] = least + from.take(bits)?;
                if row[column] > max {
                    return Err(Corrupt::Impossible("token"));
                }
            }
        }
    }
    rows[..count].iter().for_each(|row| sequence.push(token(*row)));
    Ok(Session { first, latest, network, surprise_mean, surprise_max, novel, sequence })
}

fn columns(token: Token) -> [u64; COLUMNS.len()] {
    let Token { api, gap, access, agent, source, outcome, novelty } = token;
    [u64::from(api), gap.into(), access.into(), agent.into(), source.into(), outcome.into(), novelty.into()]
}

/// Each value is within [`COLUMNS`].
fn token([api, gap, access, agent, source, outcome, novelty]: [u64; COLUMNS.len()]) -> Token {
    Token {
        api: api as u16,
        gap: gap as u8,
        access: access as u8,
        agent: agent as u8,
        source: source as u8,
        outcome: outcome as u8,
        novelty: novelty as u8,
    }
}

#[cfg(test)]
mod tests;
