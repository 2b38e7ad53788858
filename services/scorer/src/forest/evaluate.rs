//! The evaluator: several walks at a time, no branch on the data.
//!
//! A walk is a chain of dependent loads, so one alone leaves the core idle; independent ones fill it. Every walk
//! of a tree takes as many steps as the tree is deep, because a leaf steps to itself. What goes left and what goes
//! right is one comparison of whole numbers: a row is encoded once so that the order of its numbers is that of its
//! values, with a copy for each way to treat an absent value (a [`Lane`]), and the node says which copy it reads.

use super::{Forest, ZERO_MAX};

/// Rows that walk through a tree side by side.
const ROWS: usize = 16;
/// Groups of rows that walk through a tree before the next tree is fetched.
const GROUPS: usize = 2;
/// Trees that one row walks through side by side.
const TREES: usize = 16;
/// Slots of an encoded row that can be found without a bound check, for forests of usual width.
const ROW_SLOTS_USUAL: usize = 256;
/// Slots of the widest encoded row.
pub(super) const ROW_SLOTS_MAX: usize = 4096;

/// The encoding of a row that a split reads: where an absent value goes, and whether zero counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    MissingRight = 0,
    MissingLeft = 1,
    ZeroRight = 2,
    ZeroLeft = 3,
}

impl Lane {
    pub(super) const COUNT: usize = 4;
    const ALL: [Lane; Lane::COUNT] = [Lane::MissingRight, Lane::MissingLeft, Lane::ZeroRight, Lane::ZeroLeft];

    pub(super) fn of(missing_left: bool, zero_is_missing: bool) -> Lane {
        Lane::ALL[usize::from(zero_is_missing) * 2 + usize::from(missing_left)]
    }

    pub(super) fn missing_left(self) -> bool {
        matches!(self, Lane::MissingLeft | Lane::ZeroLeft)
    }

    pub(super) fn zero_is_missing(self) -> bool {
        matches!(self, Lane::ZeroLeft | Lane::ZeroRight)
    }

    /// Left of every value, or right of every value and threshold.
    fn missing(self) -> u32 {
        if self.missing_left() { 0 } else { u32::MAX }
    }
}

/// A node in eight bytes. A split goes right, one beyond `step`, when the row's `slot` holds `key` or more. A leaf
/// reads slot 0, which holds 0, below its key (its number plus one), and so steps by 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    key: u32,
    slot: u16,
    step: u16,
}

impl Packed {
    pub(super) fn leaf(number: usize) -> Packed {
        Packed { key: number as u32 + 1, slot: 0, step: 0 }
    }

    /// The caller has checked that the column is there and that the step fits.
    pub(super) fn split(lane: Lane, feature: u16, columns: usize, threshold: f32, step: usize) -> Packed {
        let slot = 1 + lane as usize * columns + usize::from(feature);
        Packed { key: order(threshold), slot: slot as u16, step: step as u16 }
    }

    pub(super) fn leaf_number(self) -> Option<usize> {
        (self.step == 0).then(|| self.key as usize - 1)
    }

    /// How far the left child is; the right one is its neighbour.
    pub(super) fn step(self) -> usize {
        usize::from(self.step)
    }

    /// The column and the lane of a split.
    pub(super) fn test(self, columns: usize) -> (usize, Lane) {
        let place = usize::from(self.slot) - 1;
        (place % columns, Lane::ALL[place / columns])
    }

    pub(super) fn threshold(self) -> f32 {
        f32::from_bits(if self.key >> 31 == 1 { self.key & 0x7fff_ffff } else { !self.key })
    }
}

/// Whole numbers in the order of the values, -0 and 0 being one. NaN is not among the values.
fn order(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
}

impl Forest {
    /// The margin of one row: the base margin and one leaf of each tree, added in the order of the trees.
    /// A value that the row lacks counts as absent; values beyond the forest's columns are not read.
    pub fn margin(&self, row: &[f32]) -> f64 {
        if self.slots() <= ROW_SLOTS_USUAL {
            self.margin_within::<ROW_SLOTS_USUAL>(row)
        } else {
            self.margin_within::<ROW_SLOTS_MAX>(row)
        }
    }

    /// The margins of `rows`, which stand one after the other in `columns()` values each, appended to `out`. Each is
    /// bit for bit what [`Forest::margin`] gives; a last row that is cut short lacks its last values.
    pub fn margins(&self, rows: &[f32], out: &mut Vec<f64>) {
        if self.slots() <= ROW_SLOTS_USUAL {
            self.margins_within::<ROW_SLOTS_USUAL>(rows, out);
        } else {
            self.margins_within::<ROW_SLOTS_MAX>(rows, out);
        }
    }

    fn lanes(&self) -> usize {
        if self.zero_lanes { Lane::COUNT } else { 2 }
    }

    fn slots(&self) -> usize {
        1 + self.lanes() * self.columns
    }

    /// Slot 0 is 0; each lane follows with all columns. Slots beyond stay as they are, for no node reads them.
    fn encode(&self, row: &[f32], slots: &mut [u32]) {
        slots[0] = 0;
        let row = &row[..row.len().min(self.columns)];
        for (lane, slots) in Lane::ALL.into_iter().zip(slots[1..self.slots()].chunks_exact_mut(self.columns)) {
            let missing = lane.missing();
            let zero = if lane.zero_is_missing() { ZERO_MAX } else { -1.0 };
            let (present, absent) = slots.split_at_mut(row.len());
            for (slot, &value) in present.iter_mut().zip(row) {
                *slot = if value.is_nan() || value.abs() <= zero { missing } else { order(value) };
            }
            absent.fill(missing);
        }
    }

    fn step<const SLOTS: usize>(&self, row: &[u32; SLOTS], at: usize) -> usize {
        let node = self.nodes[at];
        at + node.step() + usize::from(row[usize::from(node.slot) & (SLOTS - 1)] >= node.key)
    }

    fn value(&self, at: usize) -> f64 {
        self.values[self.nodes[at].key as usize - 1]
    }

    fn margin_within<const SLOTS: usize>(&self, row: &[f32]) -> f64 {
        let mut slots = [0; SLOTS];
        self.encode(row, &mut slots);
        let mut sum = self.base_margin;
        let (groups, rest) = self.roots.as_chunks::<TREES>();
        for roots in groups {
            let mut walks = roots.map(|root| root.at as usize);
            for _ in 0..roots.iter().map(|root| root.depth).max().unwrap_or(0) {
                for at in &mut walks {
                    *at = self.step(&slots, *at);
                }
            }
            for at in walks {
                sum += self.value(at);
            }
        }
        for root in rest {
            sum += self.value((0..root.depth).fold(root.at as usize, |at, _| self.step(&slots, at)));
        }
        sum
    }

    fn margins_within<const SLOTS: usize>(&self, rows: &[f32], out: &mut Vec<f64>) {
        let groups = rows.len().div_ceil(self.columns * ROWS).min(GROUPS);
        let mut tile = vec![[[0; SLOTS]; ROWS]; groups];
        for rows in rows.chunks(self.columns * ROWS * GROUPS) {
            let mut count = 0_usize;
            for (row, slots) in rows.chunks(self.columns).zip(tile.as_flattened_mut()) {
                self.encode(row, slots);
                count += 1;
            }
            let mut sums = [[self.base_margin; ROWS]; GROUPS];
            let used = count.div_ceil(ROWS);
            for root in &self.roots {
                for (sums, slots) in sums.iter_mut().zip(&tile[..used]) {
                    let mut walks = [root.at as usize; ROWS];
                    for _ in 0..root.depth {
                        for (at, slots) in walks.iter_mut().zip(slots) {
                            *at = self.step(slots, *at);
                        }
                    }
                    for (sum, at) in sums.iter_mut().zip(walks) {
                        *sum += self.value(at);
                    }
                }
            }
            out.extend_from_slice(&sums.as_flattened()[..count]);
        }
    }

    /// Whether a row goes left at a split, decided as the evaluator decides.
    pub(super) fn goes_left(&self, row: &[f32], at: usize) -> bool {
        let node = self.nodes[at];
        let (column, lane) = node.test(self.columns);
        let value = row.get(column).copied().unwrap_or(f32::NAN);
        let missing = value.is_nan() || (lane.zero_is_missing() && value.abs() <= ZERO_MAX);
        (if missing { lane.missing() } else { order(value) }) < node.key
    }
}
