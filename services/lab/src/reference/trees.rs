//! Gradient-boosted trees by `forust-ml`: the GBDT baselines, and by the same door the product's own trees.

use forust_ml::gradientbooster::GrowPolicy;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;
use forust_ml::{GradientBooster, Matrix};

use super::{Error, row_count};

/// Rows predicted at once; the trainer wants them transposed and doubled in width.
const PREDICT_ROWS: usize = 65_536;

/// How trees are grown. Histograms are summed in an order that does not depend on threads, so equal rows and options
/// give equal trees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TreeOptions {
    pub iterations: usize,
    pub learning_rate: f32,
    pub depth_max: usize,
    /// Leaves a tree; trees grow where the loss falls most when this is the tighter bound.
    pub leaves_max: usize,
    pub l2: f32,
    /// Least sum of hessians in a leaf: p (1 - p) summed over its weighted rows.
    pub min_leaf_weight: f32,
    /// Share of rows drawn for each tree; 1 draws none.
    pub subsample: f32,
    /// Share of columns drawn for each tree; 1 draws none.
    pub colsample: f64,
    pub seed: u64,
    /// Bins of a column.
    pub bins: u16,
    pub threads: usize,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            iterations: 100,
            learning_rate: 0.1,
            depth_max: 6,
            leaves_max: 31,
            l2: 1.0,
            min_leaf_weight: 1.0,
            subsample: 1.0,
            colsample: 1.0,
            seed: 0,
            bins: 255,
            threads: 2,
        }
    }
}

impl TreeOptions {
    fn checked(self) -> Result<Self, Error> {
        let share = |share: f64| share > 0.0 && share <= 1.0;
        let rules = [
            (self.iterations > 0 && self.depth_max > 0 && self.leaves_max > 1, "trees need a split"),
            (self.learning_rate > 0.0 && self.learning_rate <= 1.0, "learning_rate lies above 0 and up to 1"),
            (share(f64::from(self.subsample)), "subsample lies above 0 and up to 1"),
            (share(self.colsample), "colsample lies above 0 and up to 1"),
            (self.l2 >= 0.0 && self.min_leaf_weight >= 0.0, "l2 and min_leaf_weight are not negative"),
            (self.bins >= 2 && self.threads > 0, "at least two bins and one thread"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(self), |(_, rule)| Err(Error::Option(rule)))
    }
}

/// Trees as trained, and their dump as the trainer writes it.
pub struct TrainedTrees {
    pub booster: GradientBooster,
    pub json: String,
    columns: usize,
}

impl TrainedTrees {
    /// Log-odds, one a row.
    ///
    /// # Panics
    /// When the rows are not of the trained width.
    pub fn log_odds(&self, rows: &[f32]) -> Vec<f64> {
        assert!(rows.len().is_multiple_of(self.columns));
        let blocks = rows.chunks(PREDICT_ROWS * self.columns);
        blocks
            .flat_map(|block| {
                let data = transposed(block, self.columns);
                self.booster.predict(&Matrix::new(&data, block.len() / self.columns, self.columns), true)
            })
            .collect()
    }

    /// Probabilities, one a row, uncalibrated.
    ///
    /// # Panics
    /// When the rows are not of the trained width.
    pub fn probabilities(&self, rows: &[f32]) -> Vec<f64> {
        self.log_odds(rows).into_iter().map(|odds| 1.0 / (1.0 + (-odds).exp())).collect()
    }
}

/// Trains trees on log loss with NaN as missing, sent to the better side of each split.
pub fn forest_on(
    rows: &[f32],
    columns: usize,
    labels: &[bool],
    weights: Option<&[f64]>,
    options: TreeOptions,
) -> Result<TrainedTrees, Error> {
    let count = row_count(rows, columns, labels, weights)?;
    let options = options.checked()?;
    let data = transposed(rows, columns);
    let targets: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(*label))).collect();
    let uniform;
    let weights = match weights {
        Some(weights) => weights,
        None => {
            uniform = vec![1.0; count];
            &uniform
        }
    };
    let mut booster = GradientBooster::default()
        .set_objective_type(ObjectiveType::LogLoss)
        .set_iterations(options.iterations)
        .set_learning_rate(options.learning_rate)
        .set_max_depth(options.depth_max)
        .set_max_leaves(options.leaves_max)
        .set_l2(options.l2)
        .set_min_leaf_weight(options.min_leaf_weight)
        .set_sample_method(if options.subsample < 1.0 { SampleMethod::Random } else { SampleMethod::None })
        .set_subsample(options.subsample)
        .set_colsample_bytree(options.colsample)
        .set_seed(options.seed)
        .set_nbins(options.bins)
        .set_missing(f64::NAN)
        .set_tiled_histograms(true)
        .set_parallel(options.threads > 1)
        .set_num_threads(Some(options.threads));
    // By loss, so that a bound on leaves spends them where they help.
    booster.grow_policy = GrowPolicy::LossGuide;
    let refused = |error: forust_ml::errors::ForustError| Error::Trees(error.to_string());
    booster.fit(&Matrix::new(&data, count, columns), &targets, weights, None).map_err(refused)?;
    // Threads are not part of the model: the same trees must give the same bytes on any machine.
    booster.num_threads = None;
    booster.parallel = true;
    let json = booster.json_dump().map_err(refused)?;
    Ok(TrainedTrees { booster, json, columns })
}

/// Column by column in double width, in blocks of rows that fit the cache.
fn transposed(rows: &[f32], columns: usize) -> Vec<f64> {
    const ROWS: usize = 64;
    let count = rows.len() / columns;
    let mut data = vec![0.0; rows.len()];
    for (number, block) in rows.chunks(ROWS * columns).enumerate() {
        for column in 0..columns {
            let target = &mut data[column * count + number * ROWS..][..block.len() / columns];
            for (value, row) in target.iter_mut().zip(block.chunks_exact(columns)) {
                *value = f64::from(row[column]);
            }
        }
    }
    data
}
