//! Gradient-boosted trees, ready to run: checked once, then evaluated without a branch on the data.
//!
//! [`Forest::new`] takes plain [`Tree`]s from a trainer or an importer. Whatever they hold, a forest that was made
//! neither panics nor loops; one that is read back from bytes passes the same checks.

mod evaluate;
mod shapley;
mod wire;

#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::Error;
use evaluate::{Lane, Packed, ROW_SLOTS_MAX};

/// The most trees in a forest.
pub const TREES_MAX: usize = 10_000;
/// The most nodes in one tree, leaves included; a node finds its children by a 16-bit step.
pub const TREE_NODES_MAX: usize = 1 << 16;
/// The most nodes in a forest, leaves included (about 20 bytes each in memory).
pub const NODES_MAX: usize = 1 << 22;
/// The most splits from a root to a leaf.
pub const DEPTH_MAX: usize = 128;
/// The most columns of a row; an encoded row of them still fits [`ROW_SLOTS_MAX`].
pub const COLUMNS_MAX: usize = 1023;
/// The largest leaf value and base margin, so that no sum of them overflows.
pub const VALUE_MAX: f64 = 1e30;

const _: () = assert!(COLUMNS_MAX * Lane::COUNT < ROW_SLOTS_MAX);

/// One tree as its trainer left it. Node 0 is the root; nodes that cannot be reached from it are dropped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    pub nodes: Vec<Node>,
}

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Node {
    /// A value below `threshold` goes left, any other right. The threshold may be infinite, not NaN.
    Split {
        feature: u16,
        threshold: f32,
        /// Where an absent value (NaN) goes.
        missing_left: bool,
        /// Zero, up to [`ZERO_MAX`] on either side, counts as absent, as LightGBM's `zero_as_missing` has it.
        zero_is_missing: bool,
        left: u32,
        right: u32,
    },
    /// `value` is in units of the margin; `cover` is the weight of the training rows that ended here, at least 0.
    Leaf { value: f64, cover: f32 },
}

/// The largest magnitude that counts as zero where zero counts as absent (LightGBM's `kZeroThreshold`).
pub const ZERO_MAX: f32 = 1e-35;

/// Boosted trees over rows of `columns` f32 values, NaN for an absent one.
///
/// Serialised as its trees in preorder, about 8 bytes a node; the rest is derived again when it is read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "wire::Wire")]
pub struct Forest {
    columns: usize,
    base_margin: f64,
    /// Trees one after the other, each breadth-first with siblings adjacent.
    nodes: Vec<Packed>,
    roots: Vec<Root>,
    /// Values by leaf; a leaf in `nodes` holds its number here.
    values: Vec<f64>,
    /// By node: the cover of the leaves below it.
    covers: Vec<f64>,
    expected: f64,
    /// Some split takes zero for absent, so rows need the lanes for that.
    zero_lanes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Root {
    at: u32,
    depth: u32,
}

impl Forest {
    /// Checks the trees and lays them out to be run over rows of `columns` values.
    ///
    /// # Errors
    /// [`Error::Tree`] for a tree that is empty, is no tree (a child out of range or with two parents), splits on a
    /// column that is not there or holds a number that is not finite, too large or, for a cover, negative;
    /// [`Error::TooLarge`] beyond a limit of this module; [`Error::Forest`] for no columns or a bad base margin.
    pub fn new(trees: &[Tree], base_margin: f64, columns: usize) -> Result<Forest, Error> {
        if columns == 0 {
            return Err(Error::Forest("no columns"));
        }
        limit(columns, COLUMNS_MAX, "columns")?;
        limit(trees.len(), TREES_MAX, "trees")?;
        if base_margin.is_nan() || base_margin.abs() > VALUE_MAX {
            return Err(Error::Forest("the base margin is not finite or too large"));
        }
        let mut forest = Forest {
            columns,
            base_margin,
            nodes: Vec::new(),
            roots: Vec::with_capacity(trees.len()),
            values: Vec::new(),
            covers: Vec::new(),
            expected: base_margin,
            zero_lanes: false,
        };
        for (number, tree) in trees.iter().enumerate() {
            forest.add(tree).map_err(|fault| match fault {
                Fault::Tree(problem) => Error::Tree { tree: number, problem },
                Fault::TooLarge(what, limit) => Error::TooLarge { what, limit },
            })?;
        }
        Ok(forest)
    }

    /// Values in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The number of trees.
    pub fn trees(&self) -> usize {
        self.roots.len()
    }

    /// The margin that the forest gives before it knows anything of a row: the base margin and, of each tree, the mean
    /// of its leaves by cover.
    pub fn expected(&self) -> f64 {
        self.expected
    }

    fn add(&mut self, tree: &Tree) -> Result<(), Fault> {
        if tree.nodes.is_empty() {
            return Err(Fault::Tree("no nodes"));
        }
        if tree.nodes.len() > TREE_NODES_MAX {
            return Err(Fault::TooLarge("nodes in a tree", TREE_NODES_MAX));
        }
        let root = self.nodes.len();
        let mut seen = vec![false; tree.nodes.len()];
        seen[0] = true;
        // Breadth-first: the n-th source met becomes the n-th node, so children of one split are neighbours.
        let mut order = vec![(0_usize, 0_usize)];
        let mut deepest = 0;
        let mut next = 0;
        while let Some(&(source, depth)) = order.get(next) {
            deepest = depth;
            let packed = match tree.nodes[source] {
                Node::Split { feature, threshold, missing_left, zero_is_missing, left, right } => {
                    if usize::from(feature) >= self.columns {
                        return Err(Fault::Tree("a split on a column that is not there"));
                    }
                    if threshold.is_nan() {
                        return Err(Fault::Tree("a threshold is not a number"));
                    }
                    if depth == DEPTH_MAX {
                        return Err(Fault::TooLarge("splits on one path", DEPTH_MAX));
                    }
                    let step = order.len() - next;
                    for child in [left, right] {
                        let child = child as usize;
                        match seen.get_mut(child) {
                            None => return Err(Fault::Tree("a child out of range")),
                            Some(true) => return Err(Fault::Tree("a node with two parents")),
                            Some(first) => *first = true,
                        }
                        order.push((child, depth + 1));
                    }
                    self.zero_lanes |= zero_is_missing;
                    Packed::split(Lane::of(missing_left, zero_is_missing), feature, self.columns, threshold, step)
                }
                Node::Leaf { value, cover } => {
                    if value.is_nan() || value.abs() > VALUE_MAX {
                        return Err(Fault::Tree("a leaf value is not finite or too large"));
                    }
                    if !(cover.is_finite() && cover >= 0.0) {
                        return Err(Fault::Tree("a cover is not finite or negative"));
                    }
                    self.values.push(value);
                    Packed::leaf(self.values.len() - 1)
                }
            };
            self.nodes.push(packed);
            self.covers.push(match tree.nodes[source] {
                Node::Leaf { cover, .. } => f64::from(cover),
                Node::Split { .. } => 0.0,
            });
            next += 1;
        }
        if self.nodes.len() > NODES_MAX {
            return Err(Fault::TooLarge("nodes", NODES_MAX));
        }
        self.roots.push(Root { at: root as u32, depth: deepest as u32 });
        self.sum_up(root);
        Ok(())
    }

    /// Sums covers up to the root of the last tree, and adds that tree's mean to the expected margin.
    fn sum_up(&mut self, root: usize) {
        let mut means = vec![0.0; self.nodes.len() - root];
        for at in (root..self.nodes.len()).rev() {
            let node = self.nodes[at];
            means[at - root] = match node.leaf_number() {
                Some(number) => self.values[number],
                None => {
                    let left = at + node.step();
                    self.covers[at] = self.covers[left] + self.covers[left + 1];
                    let share = self.share_left(at);
                    share * means[left - root] + (1.0 - share) * means[left + 1 - root]
                }
            };
        }
        self.expected += means[0];
    }

    /// The part of a split's cover that its left child has; half where no training row came.
    fn share_left(&self, at: usize) -> f64 {
        let left = self.covers[at + self.nodes[at].step()];
        if self.covers[at] > 0.0 { left / self.covers[at] } else { 0.5 }
    }
}

enum Fault {
    Tree(&'static str),
    TooLarge(&'static str, usize),
}

fn limit(count: usize, limit: usize, what: &'static str) -> Result<(), Error> {
    if count > limit { Err(Error::TooLarge { what, limit }) } else { Ok(()) }
}
