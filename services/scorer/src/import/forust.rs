//! The JSON dump of forust-ml 0.8, the library that `lab train` trains with.
//!
//! Absent values are NaN and have no branch of their own (`create_missing_branch: false`).

use serde::Deserialize;

use super::{Imported, Link, Refusal, at_least, column, counted, finish, json, named, node};
use crate::Error;
use crate::forest::{self, Tree};

#[derive(Deserialize)]
struct Dump {
    objective_type: Objective,
    base_score: f64,
    /// Null for NaN.
    missing: Option<f64>,
    #[serde(default)]
    prediction_iteration: Option<usize>,
    trees: Vec<Nodes>,
}

#[derive(Deserialize, Clone, Copy)]
enum Objective {
    LogLoss,
    SquaredLoss,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    num: usize,
    weight_value: f32,
    hessian_sum: f32,
    split_value: f64,
    split_feature: usize,
    missing_node: usize,
    left_child: usize,
    right_child: usize,
    is_leaf: bool,
}

/// Reads a dump of a model of `columns` columns, which the dump does not say. The base score is a margin. Only the trees
/// that the model predicts with are taken.
///
/// # Errors
/// [`Error::Import`] for what is not such a dump or not supported, [`Error::Tree`], [`Error::Forest`] and
/// [`Error::TooLarge`] for trees that are none or too many.
pub fn read(text: &str, columns: usize) -> Result<Imported, Error> {
    named("forust", import(text, columns))
}

fn import(text: &str, columns: usize) -> Result<Imported, Refusal> {
    let dump: Dump = json(text)?;
    if dump.missing.is_some_and(|missing| !missing.is_nan()) {
        return Err("absent values are a number, not NaN".into());
    }
    let used = dump.prediction_iteration.unwrap_or(dump.trees.len());
    let Some(trees) = dump.trees.get(..used) else {
        return Err("fewer trees than it predicts with".into());
    };
    counted(trees.len())?;
    let trees = trees.iter().map(tree).collect::<Result<Vec<_>, _>>()?;
    let link = match dump.objective_type {
        Objective::LogLoss => Link::Logistic,
        Objective::SquaredLoss => Link::Identity,
    };
    finish(&trees, dump.base_score, columns, link, Vec::new())
}

fn tree(tree: &Nodes) -> Result<Tree, Refusal> {
    let convert = |(at, from): (usize, &Node)| {
        if from.num != at {
            return Err("the nodes are not listed in order".into());
        }
        if from.is_leaf {
            return Ok(forest::Node::Leaf { value: f64::from(from.weight_value), cover: from.hessian_sum });
        }
        if from.missing_node != from.left_child && from.missing_node != from.right_child {
            return Err("a branch of its own for absent values is not supported".into());
        }
        Ok(forest::Node::Split {
            feature: column(from.split_feature),
            threshold: at_least(from.split_value),
            missing_left: from.missing_node == from.left_child,
            zero_is_missing: false,
            left: node(from.left_child),
            right: node(from.right_child),
        })
    };
    Ok(Tree { nodes: tree.nodes.iter().enumerate().map(convert).collect::<Result<_, Refusal>>()? })
}
