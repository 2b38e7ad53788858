//! CatBoost's JSON, as `save_model(path, format="json")` of version 1 writes it.
//!
//! Oblivious trees over numbers with one output, trained for `Logloss`, `CrossEntropy`, `RMSE` or `MAE`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Imported, Link, Refusal, above, column, counted, finish, json, named, node};
use crate::Error;
use crate::forest::{NODES_MAX, Node, TREE_NODES_MAX, Tree};

/// The deepest oblivious tree whose nodes stay within those of one tree. CatBoost trains up to 16, 6 if not told.
const DEPTH_MAX: usize = 15;
const _: () = assert!((2 << DEPTH_MAX) - 1 <= TREE_NODES_MAX);

#[derive(Deserialize)]
struct Document {
    features_info: Features,
    model_info: Information,
    oblivious_trees: Option<Vec<Oblivious>>,
    scale_and_bias: (f64, Bias),
}

#[derive(Deserialize)]
struct Features {
    #[serde(default)]
    float_features: Vec<Feature>,
    #[serde(default)]
    categorical_features: Vec<IgnoredAny>,
    #[serde(default)]
    text_features: Vec<IgnoredAny>,
    #[serde(default)]
    embedding_features: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(default)]
    feature_id: String,
    feature_index: usize,
    flat_feature_index: usize,
    nan_value_treatment: Missing,
}

/// How an absent value compares with a border. Compared as a number, NaN is above none.
#[derive(Deserialize, Clone, Copy, PartialEq)]
enum Missing {
    #[serde(rename = "AsIs")]
    Compared,
    #[serde(rename = "AsFalse")]
    Below,
    #[serde(rename = "AsTrue")]
    Above,
}

#[derive(Deserialize)]
struct Information {
    params: Value,
}

#[derive(Deserialize)]
struct Oblivious {
    leaf_values: Vec<f64>,
    leaf_weights: Vec<f32>,
    splits: Option<Vec<Split>>,
}

#[derive(Deserialize)]
struct Split {
    /// Written only for splits of numbers, as the two below.
    border: Option<f64>,
    float_feature_index: Option<usize>,
    split_type: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bias {
    One(f64),
    Each(Vec<f64>),
}

/// Reads a model. The margin is CatBoost's `RawFormulaVal`.
///
/// # Errors
/// [`Error::Import`] for what is not such a file or not supported, [`Error::Tree`], [`Error::Forest`] and
/// [`Error::TooLarge`] for trees that are none or too many.
pub fn read(text: &str) -> Result<Imported, Error> {
    named("CatBoost", import(text))
}

fn import(text: &str) -> Result<Imported, Refusal> {
    let document: Document = json(text)?;
    let features = document.features_info;
    let others = [&features.categorical_features, &features.text_features, &features.embedding_features];
    if others.iter().any(|features| !features.is_empty()) {
        return Err("categorical, text and embedding features are not supported".into());
    }
    let Some(oblivious) = document.oblivious_trees else {
        return Err("trees that are not oblivious are not supported".into());
    };
    let features = features.float_features;
    let in_order = |(at, feature): (usize, &Feature)| feature.feature_index == at && feature.flat_feature_index == at;
    if !features.iter().enumerate().all(in_order) {
        return Err("the features are not listed in order".into());
    }
    let loss = document.model_info.params.pointer("/loss_function/type").and_then(Value::as_str).unwrap_or_default();
    let link = match loss {
        "Logloss" | "CrossEntropy" => Link::Logistic,
        "RMSE" | "MAE" => Link::Identity,
        _ => return Err("the loss is neither Logloss, CrossEntropy, RMSE nor MAE".into()),
    };
    let (scale, bias) = match document.scale_and_bias {
        (scale, Bias::One(bias)) => (scale, bias),
        (scale, Bias::Each(biases)) => match biases[..] {
            [bias] => (scale, bias),
            _ => return Err("more than one output".into()),
        },
    };
    counted(oblivious.len())?;
    // A split in the file becomes as many nodes as its level has.
    let nodes: usize = oblivious.iter().map(|tree| tree.leaf_values.len() * 2).sum();
    if nodes > NODES_MAX {
        return Err(Error::TooLarge { what: "nodes", limit: NODES_MAX }.into());
    }
    let trees = oblivious.iter().map(|tree| expand(tree, &features, scale)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = features.into_iter().map(|feature| feature.feature_id).collect();
    let columns = names.len();
    finish(&trees, bias, columns, link, if names.iter().all(String::is_empty) { Vec::new() } else { names })
}

/// Leaf number `n` is where split `i` says yes exactly if bit `i` of `n` is set, and yes is right here. So with the last
/// split at the root the leaves stand in order, below a heap whose level `l` asks split `depth - 1 - l`.
fn expand(tree: &Oblivious, features: &[Feature], scale: f64) -> Result<Tree, Refusal> {
    let splits = tree.splits.as_deref().unwrap_or_default();
    if splits.len() > DEPTH_MAX {
        return Err(Error::TooLarge { what: "levels of an oblivious tree", limit: DEPTH_MAX }.into());
    }
    let leaves = 1 << splits.len();
    if tree.leaf_values.len() != leaves || tree.leaf_weights.len() != leaves {
        return Err("not one value and weight for each leaf of one output".into());
    }
    let mut nodes = Vec::with_capacity(2 * leaves);
    for split in splits.iter().rev() {
        let (Some(border), Some(feature), "FloatFeature") =
            (split.border, split.float_feature_index, split.split_type.as_str())
        else {
            return Err("splits on anything but numbers are not supported".into());
        };
        let Some(known) = features.get(feature) else {
            return Err("a split on a feature that is not listed".into());
        };
        // Borders are f32, written as the f64 of that value.
        let threshold = above(f64::from(border as f32));
        for at in nodes.len()..nodes.len() * 2 + 1 {
            nodes.push(Node::Split {
                feature: column(feature),
                threshold,
                missing_left: known.nan_value_treatment != Missing::Above,
                zero_is_missing: false,
                left: node(2 * at + 1),
                right: node(2 * at + 2),
            });
        }
    }
    let weights = tree.leaf_weights.iter();
    nodes
        .extend(tree.leaf_values.iter().zip(weights).map(|(value, &cover)| Node::Leaf { value: value * scale, cover }));
    Ok(Tree { nodes })
}
