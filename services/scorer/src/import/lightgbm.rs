//! LightGBM's text, as `Booster.save_model("model.txt")` of version 4 writes it.
//!
//! One output, numbers alone, constant leaves; the objectives `binary`, `cross_entropy`, `regression` and
//! `regression_l1`. Its three ways with absent values are kept: none (NaN is 0), NaN, and zero. Values of up to 1e-35
//! count as 0 everywhere, as they do when LightGBM predicts a dense row.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Imported, Link, Refusal, above, column, counted, finish, named, node, sized};
use crate::Error;
use crate::forest::{Node, Tree, ZERO_MAX};

/// What the bits of a `decision_type` mean (LightGBM, include/LightGBM/tree.h).
const CATEGORICAL: u8 = 1;
const DEFAULT_LEFT: u8 = 2;
const MISSING_SHIFT: u8 = 2;

type Fields<'a> = BTreeMap<&'a str, &'a str>;

/// Reads a model. The margin is LightGBM's `raw_score`; where `sigmoid` is not 1 it is that times `sigmoid`, so that it
/// is the logarithm of the odds always. Covers are counts of rows, as in `pred_contrib`.
///
/// # Errors
/// [`Error::Import`] for what is not such a file or not supported, [`Error::Tree`], [`Error::Forest`] and
/// [`Error::TooLarge`] for trees that are none or too many.
pub fn read(text: &str) -> Result<Imported, Error> {
    named("LightGBM", import(text))
}

fn import(text: &str) -> Result<Imported, Refusal> {
    sized(text)?;
    let Some((body, _)) = text.split_once("\nend of trees") else {
        return Err("no end of the trees".into());
    };
    let mut parts = body.split("\nTree=");
    let head = parts.next().unwrap_or_default();
    let Some(("tree", head)) = head.split_once('\n').map(|(first, rest)| (first.trim_end(), rest)) else {
        return Err("it does not begin with `tree`".into());
    };
    if head.lines().any(|line| line.trim_end() == "average_output") {
        return Err("averaged output is not supported".into());
    }
    let head = fields(head);
    if value::<u32>(&head, "num_class")? != 1 || value::<u32>(&head, "num_tree_per_iteration")? != 1 {
        return Err("more than one output".into());
    }
    let columns = value::<usize>(&head, "max_feature_idx")?.saturating_add(1);
    let (link, scale) = objective(text_of(&head, "objective")?)?;
    let features = text_of(&head, "feature_names")?.split_whitespace().map(str::to_owned).collect();
    let mut trees = Vec::new();
    for part in parts {
        counted(trees.len() + 1)?;
        trees.push(tree(&fields(part), scale)?);
    }
    finish(&trees, 0.0, columns, link, features)
}

/// The link, and what the leaves are multiplied by.
fn objective(text: &str) -> Result<(Link, f64), Refusal> {
    let mut words = text.split_whitespace();
    match (words.next().unwrap_or_default(), words.next(), words.next()) {
        ("binary", Some(sigmoid), None) => {
            let scale = sigmoid.strip_prefix("sigmoid:").and_then(|scale| scale.parse::<f64>().ok());
            match scale.filter(|scale| scale.is_finite() && *scale > 0.0) {
                Some(scale) => Ok((Link::Logistic, scale)),
                None => Err("sigmoid is no positive number".into()),
            }
        }
        ("cross_entropy", None, None) => Ok((Link::Logistic, 1.0)),
        ("regression" | "regression_l1", None, None) => Ok((Link::Identity, 1.0)),
        _ => Err("the objective is neither binary, cross_entropy, regression nor regression_l1".into()),
    }
}

fn fields(text: &str) -> Fields<'_> {
    text.lines().filter_map(|line| line.trim_end().split_once('=')).collect()
}

fn text_of<'a>(fields: &Fields<'a>, key: &str) -> Result<&'a str, Refusal> {
    fields.get(key).copied().ok_or_else(|| Refusal::Said(format!("no {key}")))
}

fn value<T: FromStr>(fields: &Fields<'_>, key: &str) -> Result<T, Refusal> {
    text_of(fields, key)?.trim().parse().map_err(|_| Refusal::Said(format!("{key} is no number that fits")))
}

/// A list of exactly `count` numbers.
fn list<T: FromStr>(fields: &Fields<'_>, key: &str, count: usize) -> Result<Vec<T>, Refusal> {
    let numbers: Result<Vec<T>, _> = text_of(fields, key)?.split_whitespace().map(str::parse).collect();
    match numbers {
        Ok(numbers) if numbers.len() == count => Ok(numbers),
        Ok(_) => Err(Refusal::Said(format!("{key} is not as long as the tree"))),
        Err(_) => Err(Refusal::Said(format!("{key} holds what is no number that fits"))),
    }
}

fn tree(fields: &Fields<'_>, scale: f64) -> Result<Tree, Refusal> {
    if value::<u32>(fields, "num_cat")? != 0 {
        return Err("categorical splits are not supported".into());
    }
    if fields.get("is_linear").is_some_and(|linear| linear.trim() != "0") {
        return Err("linear leaves are not supported".into());
    }
    let leaves = value::<usize>(fields, "num_leaves")?;
    let values: Vec<f64> = list(fields, "leaf_value", leaves)?;
    if leaves == 1 {
        return Ok(Tree { nodes: vec![Node::Leaf { value: values[0] * scale, cover: 0.0 }] });
    }
    let covers: Vec<f32> = list(fields, "leaf_count", leaves)?;
    // The list of values has shown that there are so many leaves; there is one split less.
    let splits = leaves.saturating_sub(1);
    let columns: Vec<usize> = list(fields, "split_feature", splits)?;
    let thresholds: Vec<f64> = list(fields, "threshold", splits)?;
    let decisions: Vec<u8> = list(fields, "decision_type", splits)?;
    let lefts: Vec<i32> = list(fields, "left_child", splits)?;
    let rights: Vec<i32> = list(fields, "right_child", splits)?;
    // A child below 0 is the leaf of its complement; leaves follow the splits here.
    let child = |child: i32| node(if child < 0 { splits + !child as usize } else { child as usize });
    let mut nodes = Vec::with_capacity(splits + leaves);
    for at in 0..splits {
        let (decision, threshold) = (decisions[at], thresholds[at]);
        if decision & CATEGORICAL != 0 {
            return Err("categorical splits are not supported".into());
        }
        if threshold.is_nan() {
            return Err("a threshold is not a number".into());
        }
        let (missing_left, zero_is_missing) = match decision >> MISSING_SHIFT {
            0 => (0.0 <= threshold, false),
            1 => (decision & DEFAULT_LEFT != 0, true),
            2 => (decision & DEFAULT_LEFT != 0, false),
            _ => return Err("an unknown way with absent values".into()),
        };
        let (feature, left, right) = (column(columns[at]), child(lefts[at]), child(rights[at]));
        // Of an infinite threshold, which parts absent values from all others, no value is above; so the sides are
        // exchanged, for none is below minus infinity either.
        nodes.push(if threshold == f64::INFINITY {
            let (threshold, missing_left) = (f32::NEG_INFINITY, !missing_left);
            Node::Split { feature, threshold, missing_left, zero_is_missing, left: right, right: left }
        } else {
            Node::Split { feature, threshold: part(threshold), missing_left, zero_is_missing, left, right }
        });
    }
    nodes.extend(values.iter().zip(covers).map(|(value, cover)| Node::Leaf { value: value * scale, cover }));
    Ok(Tree { nodes })
}

/// The f32 that parts values as `threshold` does after LightGBM has made everything that counts as zero 0.
fn part(threshold: f64) -> f32 {
    if threshold.abs() > f64::from(ZERO_MAX) {
        above(threshold)
    } else if threshold >= 0.0 {
        ZERO_MAX.next_up()
    } else {
        -ZERO_MAX
    }
}

// The evaluator's zero is LightGBM's.
const _: () = assert!(ZERO_MAX == 1e-35);
