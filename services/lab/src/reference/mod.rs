//! Reference detectors: what our own must beat, and what the generator is made hard against. None of them needs
//! knowledge of attacks beyond labels, and none is tuned.
//!
//! Rows are `f32`, row by row, `columns` wide, unknown as NaN: the feature vectors of any schema, or raw fields.

mod isolation;
mod logistic;
mod surprise;
mod trees;

#[cfg(test)]
mod tests;

pub use isolation::{IsolationForest, IsolationOptions};
pub use logistic::{LogisticOptions, LogisticRegression};
pub use surprise::{FIRST_SEEN, RARITY, first_seen_scores, rarity_scores};
pub use trees::{TrainedTrees, TreeOptions, forest_on};

/// Why a reference detector could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{values} values are not rows of {columns} columns with {labels} labels and weights")]
    Shape { values: usize, columns: usize, labels: usize },
    #[error("nothing to learn from: {0}")]
    Degenerate(&'static str),
    #[error("an option lies outside its range: {0}")]
    Option(&'static str),
    #[error("the tree trainer refused: {0}")]
    Trees(String),
}

/// Checks that labels and weights stand for the rows, and returns the number of rows.
fn row_count(rows: &[f32], columns: usize, labels: &[bool], weights: Option<&[f64]>) -> Result<usize, Error> {
    let wrong = || Error::Shape { values: rows.len(), columns, labels: labels.len() };
    if columns == 0 || !rows.len().is_multiple_of(columns) || rows.len() / columns != labels.len() {
        return Err(wrong());
    }
    if weights.is_some_and(|weights| weights.len() != labels.len()) {
        return Err(wrong());
    }
    if weights.is_some_and(|weights| weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0)) {
        return Err(Error::Option("a weight must be finite and not negative"));
    }
    if labels.iter().all(|label| *label) || labels.iter().all(|label| !*label) {
        return Err(Error::Degenerate("all labels are equal"));
    }
    Ok(labels.len())
}

/// Median of the known values; 0 when none is known.
fn median(mut known: Vec<f32>) -> f32 {
    known.retain(|value| value.is_finite());
    if known.is_empty() {
        return 0.0;
    }
    let middle = known.len() / 2;
    *known.select_nth_unstable_by(middle, f32::total_cmp).1
}
