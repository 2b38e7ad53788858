//! XGBoost's JSON, as `Booster.save_model("model.json")` of versions 2 and 3 writes it.
//!
//! `gbtree` with one output and the objectives `binary:logistic`, `reg:logistic` and `reg:squarederror`, of numbers
//! alone. All trees are used; a best iteration that early stopping has noted is not looked at.

use serde::Deserialize;

use super::{Imported, Link, Refusal, column, counted, finish, json, named, node};
use crate::Error;
use crate::forest::{Node, Tree};

#[derive(Deserialize)]
struct Document {
    learner: Learner,
    version: Vec<u64>,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: Parameters,
    objective: Objective,
}

#[derive(Deserialize)]
struct Booster {
    name: String,
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    trees: Vec<Nodes>,
}

/// Numbers are written as strings here; version 3 puts brackets round the base score.
#[derive(Deserialize)]
struct Parameters {
    base_score: String,
    num_class: String,
    num_feature: String,
    #[serde(default)]
    num_target: Option<String>,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
}

#[derive(Deserialize)]
struct Nodes {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<usize>,
    /// The threshold of a split, the value of a leaf.
    split_conditions: Vec<f32>,
    #[serde(default)]
    split_type: Vec<u64>,
    #[serde(default)]
    categories_nodes: Vec<u64>,
    default_left: Vec<Flag>,
    sum_hessian: Vec<f32>,
    tree_param: TreeParameters,
}

#[derive(Deserialize)]
struct TreeParameters {
    #[serde(default)]
    size_leaf_vector: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Number(u8),
    Truth(bool),
}

/// Reads a model. The margin is XGBoost's `output_margin`, to the rounding of its f32 sums.
///
/// # Errors
/// [`Error::Import`] for what is not such a file or not supported, [`Error::Tree`], [`Error::Forest`] and
/// [`Error::TooLarge`] for trees that are none or too many.
pub fn read(text: &str) -> Result<Imported, Error> {
    named("XGBoost", import(text))
}

fn import(text: &str) -> Result<Imported, Refusal> {
    let document: Document = json(text)?;
    if !matches!(document.version.first(), Some(2 | 3)) {
        return Err("the version is neither 2 nor 3".into());
    }
    let Learner { feature_names, gradient_booster, learner_model_param: parameters, objective } = document.learner;
    let Booster { name, model: Some(model) } = gradient_booster else {
        return Err("no trees in the booster, which is not gbtree".into());
    };
    if name != "gbtree" {
        return Err("the booster is not gbtree".into());
    }
    if !matches!(parameters.num_class.as_str(), "0" | "1")
        || !matches!(parameters.num_target.as_deref(), None | Some("1"))
    {
        return Err("more than one output".into());
    }
    let columns = parameters.num_feature.parse().map_err(|_| Refusal::from("num_feature is no number"))?;
    let base: f32 = parameters
        .base_score
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| Refusal::from("base_score is not one number"))?;
    let (link, base) = match objective.name.as_str() {
        "binary:logistic" | "reg:logistic" if base > 0.0 && base < 1.0 => {
            (Link::Logistic, (f64::from(base) / (1.0 - f64::from(base))).ln())
        }
        "binary:logistic" | "reg:logistic" => return Err("base_score is no probability between 0 and 1".into()),
        "reg:squarederror" => (Link::Identity, f64::from(base)),
        _ => return Err("the objective is neither binary:logistic, reg:logistic nor reg:squarederror".into()),
    };
    counted(model.trees.len())?;
    let trees = model.trees.iter().map(tree).collect::<Result<Vec<_>, _>>()?;
    finish(&trees, base, columns, link, feature_names)
}

fn tree(nodes: &Nodes) -> Result<Tree, Refusal> {
    if !matches!(nodes.tree_param.size_leaf_vector.as_deref(), None | Some("0" | "1")) {
        return Err("leaves of several values".into());
    }
    if !nodes.categories_nodes.is_empty() || nodes.split_type.iter().any(|&kind| kind != 0) {
        return Err("categorical splits are not supported".into());
    }
    let count = nodes.left_children.len();
    let lengths = [
        nodes.right_children.len(),
        nodes.split_indices.len(),
        nodes.split_conditions.len(),
        nodes.default_left.len(),
        nodes.sum_hessian.len(),
    ];
    if lengths.iter().any(|&length| length != count) {
        return Err("the lists of a tree differ in length".into());
    }
    let convert = |at: usize| {
        let (left, right) = (nodes.left_children[at], nodes.right_children[at]);
        if left == -1 && right == -1 {
            let value = f64::from(nodes.split_conditions[at]);
            return Ok(Node::Leaf { value, cover: nodes.sum_hessian[at] });
        }
        let child = |child: i64| usize::try_from(child).map_err(|_| Refusal::from("a negative child"));
        Ok(Node::Split {
            feature: column(nodes.split_indices[at]),
            threshold: nodes.split_conditions[at],
            missing_left: matches!(nodes.default_left[at], Flag::Number(1..) | Flag::Truth(true)),
            zero_is_missing: false,
            left: node(child(left)?),
            right: node(child(right)?),
        })
    };
    Ok(Tree { nodes: (0..count).map(convert).collect::<Result<_, Refusal>>()? })
}
