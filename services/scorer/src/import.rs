//! Trees that others have trained: XGBoost JSON, LightGBM text, CatBoost JSON, and forust's JSON dump.
//!
//! A file is believed in nothing: its size, trees and nodes are bounded, what it says is checked by
//! [`crate::forest::Forest::new`], and whatever would change a prediction and is not supported (categories, linear
//! leaves, several classes, other links) is refused by name. Thresholds are turned into those of
//! f32 values exactly: a row of f32 goes the way it goes in the package that trained the model.

pub mod catboost;
pub mod forust;
pub mod lightgbm;
pub mod xgboost;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::forest::{Forest, TREES_MAX, Tree};

/// The longest model file in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 20;
/// The longest part of a parser's complaint that is passed on, in characters; it may quote the file.
const COMPLAINT_CHARACTERS_MAX: usize = 160;

/// A model read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    pub forest: Forest,
    pub link: Link,
    /// The columns' names in order; empty if the file names none.
    pub features: Vec<String>,
}

impl Imported {
    /// The package's prediction for a row: a probability under [`Link::Logistic`], a value under [`Link::Identity`].
    pub fn predict(&self, row: &[f32]) -> f64 {
        self.link.apply(self.forest.margin(row))
    }
}

/// From a margin to a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// The margin is the logarithm of the odds.
    Logistic,
    /// The margin is the prediction.
    Identity,
}

impl Link {
    pub fn apply(self, margin: f64) -> f64 {
        match self {
            Link::Logistic => 1.0 / (1.0 + (-margin).exp()),
            Link::Identity => margin,
        }
    }
}

/// What a reader fails with, before the format's name is put on it.
enum Refusal {
    Said(String),
    Checked(Error),
}

impl From<&str> for Refusal {
    fn from(problem: &str) -> Refusal {
        Refusal::Said(problem.to_owned())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Checked(error)
    }
}

fn named<T>(format: &'static str, result: Result<T, Refusal>) -> Result<T, Error> {
    result.map_err(|refusal| match refusal {
        Refusal::Said(problem) => Error::Import { format, problem },
        Refusal::Checked(error) => error,
    })
}

/// Parses JSON of bounded size. Nesting is bounded by the parser; every list is no longer than the text.
fn json<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    sized(text)?;
    serde_json::from_str(text)
        .map_err(|complaint| Refusal::Said(complaint.to_string().chars().take(COMPLAINT_CHARACTERS_MAX).collect()))
}

fn sized(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::TooLarge { what: "bytes of a model file", limit: TEXT_BYTES_MAX }.into());
    }
    Ok(())
}

/// Refuses a list of trees that [`Forest::new`] would, before the trees are made.
fn counted(trees: usize) -> Result<(), Refusal> {
    if trees > TREES_MAX {
        return Err(Error::TooLarge { what: "trees", limit: TREES_MAX }.into());
    }
    Ok(())
}

fn finish(trees: &[Tree], base: f64, columns: usize, link: Link, features: Vec<String>) -> Result<Imported, Refusal> {
    if !features.is_empty() && features.len() != columns {
        return Err("not one name for each feature".into());
    }
    Ok(Imported { forest: Forest::new(trees, base, columns)?, link, features })
}

/// A column's number, or one that is beyond every forest's columns.
fn column(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// A node's number, or one that is beyond every tree.
fn node(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The lowest f32 that is not below `threshold`: `x < threshold` for every f32 x is `x < at_least(threshold)`.
fn at_least(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) < threshold { near.next_up() } else { near }
}

/// The lowest f32 above `threshold`: `x <= threshold` for every finite f32 x is `x < above(threshold)`.
fn above(threshold: f64) -> f32 {
    let near = threshold as f32;
    if f64::from(near) <= threshold { near.next_up() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_part_the_f32_values_as_the_f64_ones_do() {
        let edges =
            [0.0, -0.0, 1.5, 0.1, -0.1, 1e-35, -1e-35, 1e-50, -1e-50, 1e300, -1e300, f64::from(f32::MAX), 16777217.0];
        for threshold in edges {
            let near = threshold as f32;
            for value in [near, near.next_up(), near.next_down(), f32::MAX, f32::MIN, 0.0, -0.0] {
                if value.is_finite() {
                    assert_eq!(value < at_least(threshold), f64::from(value) < threshold, "{value} < {threshold}");
                    assert_eq!(value < above(threshold), f64::from(value) <= threshold, "{value} <= {threshold}");
                }
            }
        }
    }
}
