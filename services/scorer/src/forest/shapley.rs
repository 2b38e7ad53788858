//! Reasons: how much each column moved a row's margin away from the expected one.
//!
//! Exact Shapley values of the path-dependent game, by Lundberg, Erion and Lee, "Consistent Individualized Feature
//! Attribution for Tree Ensembles" (2018, arXiv:1802.03888), algorithm 2: a column that is not known sends the row down
//! both sides of a split in proportion to their covers. All subsets of the columns on a path are followed at once by
//! keeping, for each size of subset, the weight of the subsets of that size that lead to the node.

use super::Forest;

/// One column on the way to a node; the first is a stand-in for no column.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    column: usize,
    /// The share of rows that come this way if the column is not known.
    zero: f64,
    /// 1 if this row comes this way, else 0.
    one: f64,
    /// The weight of the subsets with as many known columns as this step's position.
    weight: f64,
}

impl Forest {
    /// The contribution of each column to the margin of `row`, in units of the margin; their sum and
    /// [`Forest::expected`] make up [`Forest::margin`]. Costs leaves times depth squared: for rows that are shown to
    /// somebody, not for all.
    pub fn contributions(&self, row: &[f32]) -> Vec<f64> {
        let deepest = self.roots.iter().map(|root| root.depth as usize).max().unwrap_or(0);
        // A node at depth d has up to d + 1 steps, and keeps those of every node above it.
        let mut arena = vec![Step::default(); (deepest + 1) * (deepest + 2) / 2];
        let mut walk = Walk { forest: self, row, contributions: vec![0.0; self.columns] };
        for root in &self.roots {
            walk.descend(
                root.at as usize,
                &mut arena,
                0,
                Step { column: usize::MAX, zero: 1.0, one: 1.0, weight: 0.0 },
            );
        }
        walk.contributions
    }
}

struct Walk<'a> {
    forest: &'a Forest,
    row: &'a [f32],
    contributions: Vec<f64>,
}

impl Walk<'_> {
    /// Visits a node; `arena` begins with its parent's `length` steps. Recursion ends at the forest's depth limit.
    fn descend(&mut self, at: usize, arena: &mut [Step], length: usize, last: Step) {
        let (above, arena) = arena.split_at_mut(length);
        arena[..length].copy_from_slice(above);
        let mut length = extend(arena, length, last);
        let node = self.forest.nodes[at];
        if let Some(number) = node.leaf_number() {
            for (position, step) in arena[..length].iter().enumerate().skip(1) {
                let weight = unwound_weight(&arena[..length], position);
                self.contributions[step.column] += weight * (step.one - step.zero) * self.forest.values[number];
            }
            return;
        }
        let (column, _) = node.test(self.forest.columns);
        // A column that is met again takes the place of its earlier step.
        let (mut zero, mut one) = (1.0, 1.0);
        if let Some(position) = arena[1..length].iter().position(|step| step.column == column) {
            (zero, one) = (arena[position + 1].zero, arena[position + 1].one);
            length = unwind(arena, length, position + 1);
        }
        let goes_left = self.forest.goes_left(self.row, at);
        let share = self.forest.share_left(at);
        for (child, share, comes) in [(0, share, goes_left), (1, 1.0 - share, !goes_left)] {
            let last = Step { column, zero: zero * share, one: if comes { one } else { 0.0 }, weight: 0.0 };
            // Where no subset leads, nothing is added; and the weights could not be undone.
            if last.zero > 0.0 || last.one > 0.0 {
                self.descend(at + node.step() + child, arena, length, last);
            }
        }
    }
}

/// Adds a step and returns the new length.
fn extend(steps: &mut [Step], length: usize, last: Step) -> usize {
    steps[length] = Step { weight: if length == 0 { 1.0 } else { 0.0 }, ..last };
    let all = (length + 1) as f64;
    for i in (0..length).rev() {
        let weight = steps[i].weight;
        steps[i + 1].weight += last.one * weight * (i + 1) as f64 / all;
        steps[i].weight = last.zero * weight * (length - i) as f64 / all;
    }
    length + 1
}

/// Takes a step out again, as if it had never been added, and returns the new length.
fn unwind(steps: &mut [Step], length: usize, position: usize) -> usize {
    let last = length - 1;
    let (zero, one) = (steps[position].zero, steps[position].one);
    let mut next = steps[last].weight;
    for i in (0..last).rev() {
        if one != 0.0 {
            let weight = steps[i].weight;
            steps[i].weight = next * length as f64 / ((i + 1) as f64 * one);
            next = weight - steps[i].weight * zero * (last - i) as f64 / length as f64;
        } else {
            steps[i].weight = steps[i].weight * length as f64 / (zero * (last - i) as f64);
        }
    }
    for i in position..last {
        let Step { column, zero, one, .. } = steps[i + 1];
        steps[i] = Step { column, zero, one, weight: steps[i].weight };
    }
    last
}

/// The sum of the weights that [`unwind`] would leave.
fn unwound_weight(steps: &[Step], position: usize) -> f64 {
    let (length, last) = (steps.len(), steps.len() - 1);
    let Step { zero, one, .. } = steps[position];
    let mut next = steps[last].weight;
    let mut total = 0.0;
    for i in (0..last).rev() {
        if one != 0.0 {
            let weight = next * length as f64 / ((i + 1) as f64 * one);
            total += weight;
            next = steps[i].weight - weight * zero * (last - i) as f64 / length as f64;
        } else {
            total += steps[i].weight * length as f64 / (zero * (last - i) as f64);
        }
    }
    total
}
