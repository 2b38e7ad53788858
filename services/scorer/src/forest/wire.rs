//! A forest as bytes: only what its trees hold. In preorder the kinds of the nodes alone give the shape of a tree, so
//! there are no indices to go astray.

use serde::{Deserialize, Serialize, Serializer};

use super::{Forest, NODES_MAX, Node, Tree, limit};
use crate::Error;

#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    columns: u16,
    base_margin: f64,
    /// By node in preorder, tree after tree: 0 for a leaf, else 1 + 4 * column + 2 * zero_is_missing + missing_left.
    kinds: Vec<u16>,
    /// By split.
    thresholds: Vec<f32>,
    /// By leaf.
    values: Values,
    /// By leaf.
    covers: Vec<f32>,
}

/// Most trainers write f32 values; half the bytes when all of them are.
#[derive(Serialize, Deserialize)]
enum Values {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Serialize for Forest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire::from(self).serialize(serializer)
    }
}

impl From<&Forest> for Wire {
    fn from(forest: &Forest) -> Wire {
        let (mut kinds, mut thresholds, mut values, mut covers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut open = Vec::new();
        for root in &forest.roots {
            open.push(root.at as usize);
            while let Some(at) = open.pop() {
                let node = forest.nodes[at];
                if let Some(number) = node.leaf_number() {
                    kinds.push(0);
                    values.push(forest.values[number]);
                    covers.push(forest.covers[at] as f32);
                } else {
                    let (column, lane) = node.test(forest.columns);
                    let lane = usize::from(lane.zero_is_missing()) * 2 + usize::from(lane.missing_left());
                    kinds.push((1 + 4 * column + lane) as u16);
                    thresholds.push(node.threshold());
                    open.extend([at + node.step() + 1, at + node.step()]);
                }
            }
        }
        let single: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let exact = single.iter().zip(&values).all(|(&single, value)| f64::from(single).to_bits() == value.to_bits());
        let values = if exact { Values::Single(single) } else { Values::Double(values) };
        Wire { columns: forest.columns as u16, base_margin: forest.base_margin, kinds, thresholds, values, covers }
    }
}

impl TryFrom<Wire> for Forest {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Forest, Error> {
        limit(wire.kinds.len(), NODES_MAX, "nodes")?;
        let mut thresholds = wire.thresholds.into_iter();
        let mut values = match wire.values {
            Values::Single(values) => values.into_iter().map(f64::from).collect(),
            Values::Double(values) => values,
        }
        .into_iter();
        let mut covers = wire.covers.into_iter();
        let mut trees = Vec::new();
        let mut nodes: Vec<Node> = Vec::new();
        // Splits whose right subtree has not begun; it begins after the leaf that ends the left one.
        let mut open: Vec<usize> = Vec::new();
        for kind in wire.kinds {
            let following = nodes.len() as u32 + 1;
            if kind > 0 {
                let kind = kind - 1;
                open.push(nodes.len());
                nodes.push(Node::Split {
                    feature: kind / 4,
                    threshold: thresholds.next().ok_or(Error::Forest("too few thresholds"))?,
                    missing_left: kind & 1 != 0,
                    zero_is_missing: kind & 2 != 0,
                    left: following,
                    right: 0,
                });
                continue;
            }
            nodes.push(Node::Leaf {
                value: values.next().ok_or(Error::Forest("too few leaf values"))?,
                cover: covers.next().ok_or(Error::Forest("too few covers"))?,
            });
            match open.pop() {
                None => trees.push(Tree { nodes: std::mem::take(&mut nodes) }),
                Some(split) => {
                    if let Node::Split { right, .. } = &mut nodes[split] {
                        *right = following;
                    }
                }
            }
        }
        if !nodes.is_empty() || thresholds.next().is_some() || values.next().is_some() || covers.next().is_some() {
            return Err(Error::Forest("its parts do not fit together"));
        }
        Forest::new(&trees, wire.base_margin, usize::from(wire.columns))
    }
}
