use proptest::prelude::*;

use super::*;

const COLUMNS: usize = 5;
/// Values that rows and thresholds have in common, so that rows stand on thresholds often.
const VALUES: [f32; 9] = [f32::NEG_INFINITY, -2.5, -1e-35, -0.0, 0.0, 1e-36, 1.0, f32::MAX, f32::INFINITY];

/// A tree of at most `depth` splits on a path, in preorder.
fn tree(depth: u32, zeros: bool) -> impl Strategy<Value = Tree> {
    let leaf = (-4i32..=4, 0u32..5)
        .prop_map(|(value, cover)| vec![Node::Leaf { value: f64::from(value) * 0.3, cover: cover as f32 }]);
    let split = (0..COLUMNS as u16, 0..VALUES.len(), any::<bool>(), any::<bool>());
    leaf.prop_recursive(depth, 64, 2, move |below| {
        (split.clone(), below.clone(), below).prop_map(
            move |((feature, threshold, missing_left, zero), left, right)| {
                let at = |by: usize| {
                    move |node: Node| match node {
                        Node::Split { feature, threshold, missing_left, zero_is_missing, left, right } => {
                            let (left, right) = (left + by as u32, right + by as u32);
                            Node::Split { feature, threshold, missing_left, zero_is_missing, left, right }
                        }
                        leaf => leaf,
                    }
                };
                let (threshold, zero_is_missing, right_at) = (VALUES[threshold], zero && zeros, 1 + left.len());
                let mut nodes = vec![Node::Split {
                    feature,
                    threshold,
                    missing_left,
                    zero_is_missing,
                    left: 1,
                    right: right_at as u32,
                }];
                nodes.extend(left.into_iter().map(at(1)));
                nodes.extend(right.into_iter().map(at(right_at)));
                nodes
            },
        )
    })
    .prop_map(|nodes| Tree { nodes })
}

fn trees() -> impl Strategy<Value = Vec<Tree>> {
    any::<bool>().prop_flat_map(|zeros| prop::collection::vec(tree(5, zeros), 0..20))
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![3 => (0..VALUES.len()).prop_map(|at| VALUES[at]), 1 => Just(f32::NAN), 1 => any::<f32>()]
}

/// The walk as the documentation of [`Node::Split`] tells it; `None` sends a row both ways by cover.
fn mean(nodes: &[Node], at: usize, row: &[Option<f32>]) -> f64 {
    match nodes[at] {
        Node::Leaf { value, .. } => value,
        Node::Split { feature, threshold, missing_left, zero_is_missing, left, right } => {
            let (left, right) = (left as usize, right as usize);
            match row[usize::from(feature)] {
                Some(value) if value.is_nan() || (zero_is_missing && value.abs() <= ZERO_MAX) => {
                    mean(nodes, if missing_left { left } else { right }, row)
                }
                Some(value) => mean(nodes, if value < threshold { left } else { right }, row),
                None => {
                    let (a, b) = (cover(nodes, left), cover(nodes, right));
                    let share = if a + b > 0.0 { a / (a + b) } else { 0.5 };
                    share * mean(nodes, left, row) + (1.0 - share) * mean(nodes, right, row)
                }
            }
        }
    }
}

fn cover(nodes: &[Node], at: usize) -> f64 {
    match nodes[at] {
        Node::Leaf { cover, .. } => f64::from(cover),
        Node::Split { left, right, .. } => cover(nodes, left as usize) + cover(nodes, right as usize),
    }
}

/// Shapley values by their definition, over all subsets of the columns.
fn shapley(trees: &[Tree], row: &[f32]) -> Vec<f64> {
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let worth = |known: u32| -> f64 {
        let row: Vec<_> = row.iter().enumerate().map(|(c, &value)| (known >> c & 1 == 1).then_some(value)).collect();
        trees.iter().map(|tree| mean(&tree.nodes, 0, &row)).sum()
    };
    let worths: Vec<f64> = (0..1u32 << COLUMNS).map(worth).collect();
    let gain = |known: usize, column: usize| {
        let size = known.count_ones();
        let orders = factorial(size) * factorial(COLUMNS as u32 - size - 1) / factorial(COLUMNS as u32);
        orders * (worths[known | 1 << column] - worths[known])
    };
    let without = |column: usize| (0..worths.len()).filter(move |known| known >> column & 1 == 0);
    (0..COLUMNS).map(|column| without(column).map(|known| gain(known, column)).sum()).collect()
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-9
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_way_to_evaluate_agrees_with_the_plain_walk(
        trees in trees(),
        rows in prop::collection::vec(value(), COLUMNS..COLUMNS * 20),
    ) {
        let forest = Forest::new(&trees, -0.7, COLUMNS).unwrap();
        let mut margins = Vec::new();
        forest.margins(&rows, &mut margins);
        prop_assert_eq!(margins.len(), rows.len().div_ceil(COLUMNS));
        // The same trees in the wide layout, which wide rows need.
        let wide = Forest::new(&trees, -0.7, COLUMNS_MAX).unwrap();
        for (row, margin) in rows.chunks(COLUMNS).zip(margins) {
            prop_assert_eq!(forest.margin(row).to_bits(), margin.to_bits());
            prop_assert_eq!(wide.margin(row).to_bits(), margin.to_bits());
            let row: Vec<_> = (0..COLUMNS).map(|c| Some(row.get(c).copied().unwrap_or(f32::NAN))).collect();
            let plain = trees.iter().fold(-0.7, |sum, tree| sum + mean(&tree.nodes, 0, &row));
            prop_assert_eq!(plain, margin);
        }
    }

    #[test]
    fn contributions_are_the_shapley_values(
        trees in trees(),
        row in prop::collection::vec(value(), COLUMNS),
    ) {
        let forest = Forest::new(&trees, 0.2, COLUMNS).unwrap();
        let contributions = forest.contributions(&row);
        for (got, want) in contributions.iter().zip(shapley(&trees, &row)) {
            prop_assert!(close(*got, want), "{got} {want}");
        }
        prop_assert!(close(contributions.iter().sum::<f64>() + forest.expected(), forest.margin(&row)));
        let unknown = [None; COLUMNS];
        prop_assert!(close(forest.expected(), 0.2 + trees.iter().map(|tree| mean(&tree.nodes, 0, &unknown)).sum::<f64>()));
    }

    #[test]
    fn bytes_give_the_forest_back_and_no_bytes_panic(trees in trees(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let forest = Forest::new(&trees, 0.2, COLUMNS).unwrap();
        let mut bytes = postcard::to_stdvec(&forest).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Forest>(&bytes).unwrap(), &forest);
        let cut = at.index(bytes.len());
        prop_assert!(postcard::from_bytes::<Forest>(&bytes[..cut]).is_err());
        bytes[cut] = byte;
        if let Ok(forest) = postcard::from_bytes::<Forest>(&bytes) {
            prop_assert!(forest.margin(&[0.5; COLUMNS]).is_finite());
        }
    }
}

/// A perfect tree of `depth` levels of splits.
fn perfect(depth: usize, seed: usize) -> Tree {
    let splits = (1 << depth) - 1;
    let split = |at: usize| Node::Split {
        feature: ((at * 31 + seed * 7) % 70) as u16,
        threshold: ((at * 13 + seed) % 97) as f32 / 97.0,
        missing_left: at.is_multiple_of(3),
        zero_is_missing: false,
        left: 2 * at as u32 + 1,
        right: 2 * at as u32 + 2,
    };
    let leaf = |at: usize| Node::Leaf { value: f64::from((at % 11) as f32 / 7.0), cover: 1.0 + at as f32 };
    Tree { nodes: (0..splits).map(split).chain((0..=splits).map(leaf)).collect() }
}

#[test]
fn a_large_forest_is_small_in_bytes_and_its_reasons_add_up() {
    let trees: Vec<Tree> = (0..300).map(|seed| perfect(8, seed)).collect();
    let forest = Forest::new(&trees, -3.0, 70).unwrap();
    let bytes = postcard::to_stdvec(&forest).unwrap();
    assert!(bytes.len() < 1_300_000, "{}", bytes.len());
    let row: Vec<f32> = (0..70).map(|c| if c % 9 == 4 { f32::NAN } else { (c * 37 % 101) as f32 / 101.0 }).collect();
    let sum: f64 = forest.contributions(&row).iter().sum();
    assert!((sum + forest.expected() - forest.margin(&row)).abs() < 1e-6);
}

#[test]
fn what_is_no_tree_is_refused() {
    let leaf = Node::Leaf { value: 1.0, cover: 1.0 };
    let split = |left, right| Node::Split {
        feature: 0,
        threshold: 0.0,
        missing_left: true,
        zero_is_missing: false,
        left,
        right,
    };
    let wrong_column =
        Node::Split { feature: 1, threshold: 0.0, missing_left: true, zero_is_missing: false, left: 1, right: 2 };
    let not_a_number =
        Node::Split { feature: 0, threshold: f32::NAN, missing_left: true, zero_is_missing: false, left: 1, right: 2 };
    // Splits all the way down to the right, one more than may be.
    let chain: Vec<Node> =
        (0..=DEPTH_MAX as u32).flat_map(|at| [split(2 * at + 1, 2 * at + 2), leaf]).chain([leaf]).collect();
    let shallower: Vec<Node> = chain
        .iter()
        .skip(2)
        .cloned()
        .map(|node| match node {
            Node::Split { left, right, .. } => split(left - 2, right - 2),
            leaf => leaf,
        })
        .collect();
    assert!(Forest::new(&[Tree { nodes: shallower }], 0.0, 1).is_ok());
    for nodes in [
        vec![],
        vec![split(1, 2), leaf],
        vec![split(0, 1), leaf],
        vec![split(1, 1), leaf],
        vec![split(1, 2), split(0, 2), leaf],
        vec![wrong_column, leaf, leaf],
        vec![not_a_number, leaf, leaf],
        vec![Node::Leaf { value: f64::NAN, cover: 1.0 }],
        vec![Node::Leaf { value: 1e31, cover: 1.0 }],
        vec![Node::Leaf { value: 1.0, cover: -1.0 }],
        vec![Node::Leaf { value: 1.0, cover: f32::INFINITY }],
        vec![leaf; TREE_NODES_MAX + 1],
        chain,
    ] {
        let shown: Vec<Node> = nodes.iter().take(3).copied().collect();
        assert!(Forest::new(&[Tree { nodes }], 0.0, 1).is_err(), "{shown:?}");
    }
    let tree = Tree { nodes: vec![split(1, 2), leaf, leaf] };
    assert!(Forest::new(std::slice::from_ref(&tree), 0.0, 0).is_err());
    assert!(Forest::new(std::slice::from_ref(&tree), 0.0, COLUMNS_MAX + 1).is_err());
    assert!(Forest::new(std::slice::from_ref(&tree), f64::INFINITY, 1).is_err());
    assert!(Forest::new(&vec![tree; TREES_MAX + 1], 0.0, 1).is_err());
}
