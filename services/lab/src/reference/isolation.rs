//! Isolation forest (Liu, Ting, Zhou, "Isolation Forest", ICDM 2008): what random cuts set apart early is odd.
//!
//! Our own because a figure must be repeatable: the published crate draws from the thread's generator.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Error, median};

/// Rows whose median stands for an unknown value; more would not move it.
const MEDIAN_ROWS_MAX: usize = 20_000;
/// Rows scored together, so that a tree's nodes stay in the cache.
const BLOCK_ROWS: usize = 256;

/// The paper's sizes by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsolationOptions {
    pub trees: usize,
    /// Rows drawn for each tree, without replacement.
    pub sample_rows: usize,
    pub seed: u64,
    /// Threads that score; the scores do not depend on it.
    pub threads: usize,
}

impl Default for IsolationOptions {
    fn default() -> Self {
        Self { trees: 200, sample_rows: 256, seed: 0, threads: 2 }
    }
}

/// A grown forest.
#[derive(Clone, Debug)]
pub struct IsolationForest {
    columns: usize,
    medians: Vec<f32>,
    trees: Vec<Vec<Node>>,
    /// Path length that is usual for the sample's size.
    usual_path: f64,
    threads: usize,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// Below `cut` goes to the next node, otherwise to `above`.
    Split { column: u32, cut: f32, above: u32 },
    /// Depth plus the usual path of the rows that were not parted.
    Leaf { path: f32 },
}

impl IsolationForest {
    /// Grows the forest without labels. Unknown values take the column's median.
    pub fn fit(rows: &[f32], columns: usize, options: IsolationOptions) -> Result<Self, Error> {
        if columns == 0 || !rows.len().is_multiple_of(columns) {
            return Err(Error::Shape { values: rows.len(), columns, labels: 0 });
        }
        let count = rows.len() / columns;
        if count < 2 {
            return Err(Error::Degenerate("fewer than two rows"));
        }
        if options.trees == 0 || options.sample_rows < 2 {
            return Err(Error::Option("at least one tree of two rows"));
        }
        let stride = count.div_ceil(MEDIAN_ROWS_MAX);
        let medians: Vec<f32> = (0..columns)
            .map(|column| median(rows.iter().skip(column).step_by(columns * stride).copied().collect()))
            .collect();

        let drawn = options.sample_rows.min(count);
        let depth_max = drawn.next_power_of_two().ilog2();
        let mut order: Vec<u32> = (0..count as u32).collect();
        let trees = (0..options.trees)
            .map(|number| {
                let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
                rng.set_stream(number as u64);
                let mut sample = Vec::with_capacity(drawn * columns);
                // The first steps of a shuffle draw without replacement; the order goes on from tree to tree.
                for at in 0..drawn {
                    order.swap(at, rng.random_range(at..count));
                    imputed(&rows[order[at] as usize * columns..][..columns], &medians, &mut sample);
                }
                let mut growing = Growing { sample, columns, depth_max, rng, nodes: Vec::new() };
                let mut members: Vec<u32> = (0..drawn as u32).collect();
                growing.grow(&mut members, 0);
                growing.nodes
            })
            .collect();
        Ok(Self { columns, medians, trees, usual_path: usual_path(drawn), threads: options.threads.max(1) })
    }

    /// One score a row, 0 to 1, higher is odder: 2^(-mean path / usual path).
    ///
    /// # Panics
    /// When the rows are not of the trained width.
    pub fn scores(&self, rows: &[f32]) -> Vec<f64> {
        assert!(rows.len().is_multiple_of(self.columns));
        let mut scores = vec![0.0; rows.len() / self.columns];
        let share = scores.len().div_ceil(self.threads).next_multiple_of(BLOCK_ROWS).max(BLOCK_ROWS);
        std::thread::scope(|scope| {
            for (scores, rows) in scores.chunks_mut(share).zip(rows.chunks(share * self.columns)) {
                scope.spawn(|| self.score_share(rows, scores));
            }
        });
        scores
    }

    fn score_share(&self, rows: &[f32], scores: &mut [f64]) {
        let mut block = Vec::with_capacity(BLOCK_ROWS * self.columns);
        for (scores, rows) in scores.chunks_mut(BLOCK_ROWS).zip(rows.chunks(BLOCK_ROWS * self.columns)) {
            block.clear();
            rows.chunks_exact(self.columns).for_each(|row| imputed(row, &self.medians, &mut block));
            for tree in &self.trees {
                for (score, row) in scores.iter_mut().zip(block.chunks_exact(self.columns)) {
                    *score += f64::from(path(tree, row));
                }
            }
            for score in scores {
                *score = (-*score / self.trees.len() as f64 / self.usual_path).exp2();
            }
        }
    }
}

fn path(tree: &[Node], row: &[f32]) -> f32 {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Split { column, cut, above } => {
                at = if row[column as usize] < cut { at + 1 } else { above as usize };
            }
            Node::Leaf { path } => return path,
        }
    }
}

fn imputed(row: &[f32], medians: &[f32], into: &mut Vec<f32>) {
    into.extend(row.iter().zip(medians).map(|(value, median)| if value.is_finite() { *value } else { *median }));
}

struct Growing {
    sample: Vec<f32>,
    columns: usize,
    depth_max: u32,
    rng: ChaCha8Rng,
    nodes: Vec<Node>,
}

impl Growing {
    /// Depth is bounded by `depth_max`, at most 64.
    fn grow(&mut self, members: &mut [u32], depth: u32) {
        let cut = if members.len() < 2 || depth >= self.depth_max { None } else { self.random_cut(members) };
        let Some((column, cut)) = cut else {
            self.nodes.push(Node::Leaf { path: depth as f32 + usual_path(members.len()) as f32 });
            return;
        };
        let mut below = 0;
        for at in 0..members.len() {
            if self.sample[members[at] as usize * self.columns + column] < cut {
                members.swap(at, below);
                below += 1;
            }
        }
        let here = self.nodes.len();
        self.nodes.push(Node::Leaf { path: 0.0 });
        let (left, right) = members.split_at_mut(below);
        self.grow(left, depth + 1);
        self.nodes[here] = Node::Split { column: column as u32, cut, above: self.nodes.len() as u32 };
        self.grow(right, depth + 1);
    }

    /// A random column among those that vary, and a random place within its range. `None` when all rows are equal.
    fn random_cut(&mut self, members: &[u32]) -> Option<(usize, f32)> {
        let mut varying = Vec::with_capacity(self.columns);
        for column in 0..self.columns {
            let values = members.iter().map(|row| self.sample[*row as usize * self.columns + column]);
            let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            if low < high {
                varying.push((column, low, high));
            }
        }
        if varying.is_empty() {
            return None;
        }
        let at = self.rng.random_range(0..varying.len());
        let (column, low, high) = varying[at];
        // Strictly above the lowest and at most the highest, so that both sides keep a row, however close they lie.
        let cut = low + (high - low) * self.rng.random_range(0.0..1.0_f32);
        Some((column, if cut > low && cut <= high { cut } else { high }))
    }
}

/// Mean path of an unsuccessful search in a binary tree of `rows` leaves: equation 1 of the paper.
fn usual_path(rows: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        rows => {
            let rows = rows as f64;
            2.0 * ((rows - 1.0).ln() + EULER) - 2.0 * (rows - 1.0) / rows
        }
    }
}
