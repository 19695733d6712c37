//! The same trees evaluated the plain way, node by node from the definition: what the kernel must equal.
//!
//! It shares no code with the layout: modes are compared as the operator's text says, children are looked up by id.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::HashMap;

use proptest::prelude::*;

use super::{
    AggregateFunction, ClassificationEnsemble, EnsembleDefinition, InvalidEnsemble, LeafWeight, NodeDefinition,
    NodeMode, PostTransform, RegressionEnsemble,
};

type Nodes<'a> = HashMap<(i64, i64), &'a NodeDefinition>;

fn leaf_of(nodes: &Nodes<'_>, tree: i64, node: i64, row: &[f32]) -> i64 {
    let node = nodes[&(tree, node)];
    if node.mode == NodeMode::Leaf {
        return node.node;
    }
    let value = f64::from(row[usize::try_from(node.feature).unwrap()]);
    let holds = match node.mode {
        NodeMode::LessOrEqual => value <= node.threshold,
        NodeMode::Less => value < node.threshold,
        NodeMode::GreaterOrEqual => value >= node.threshold,
        NodeMode::Greater => value > node.threshold,
        NodeMode::Equal => value == node.threshold,
        NodeMode::NotEqual => value != node.threshold,
        NodeMode::Leaf => unreachable!(),
    };
    let child = if holds || (node.missing_tracks_true && value.is_nan()) { node.true_child } else { node.false_child };
    leaf_of(nodes, tree, child, row)
}

/// Scores of one row by target, `None` for a target that no leaf speaks of.
fn naive(definition: &EnsembleDefinition, aggregate: AggregateFunction, row: &[f32]) -> Vec<Option<f32>> {
    let nodes: Nodes<'_> = definition.nodes.iter().map(|node| ((node.tree, node.node), node)).collect();
    let mut roots = Vec::new();
    for node in &definition.nodes {
        if !roots.iter().any(|&(tree, _)| tree == node.tree) {
            roots.push((node.tree, node.node));
        }
    }
    let mut scores = vec![None; definition.targets];
    for &(tree, root) in &roots {
        let leaf = leaf_of(&nodes, tree, root, row);
        for weight in definition.weights.iter().filter(|weight| (weight.tree, weight.node) == (tree, leaf)) {
            let score: &mut Option<f32> = &mut scores[usize::try_from(weight.target).unwrap()];
            #[allow(clippy::cast_possible_truncation, reason = "weights are quarters of small integers")]
            let weight = weight.weight as f32;
            *score = Some(match (*score, aggregate) {
                (None, _) => weight,
                (Some(score), AggregateFunction::Min) => score.min(weight),
                (Some(score), AggregateFunction::Max) => score.max(weight),
                (Some(score), _) => score + weight,
            });
        }
    }
    if aggregate == AggregateFunction::Average {
        #[allow(clippy::cast_precision_loss, reason = "a handful of trees")]
        scores.iter_mut().flatten().for_each(|score| *score /= roots.len() as f32);
    }
    scores
}

const MODES: [NodeMode; 6] = [
    NodeMode::LessOrEqual,
    NodeMode::Less,
    NodeMode::GreaterOrEqual,
    NodeMode::Greater,
    NodeMode::Equal,
    NodeMode::NotEqual,
];
const COLUMNS: usize = 4;

/// Numbers that meet each other, the limits, and NaN.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => (-4_i8..=4).prop_map(|half| f32::from(half) / 2.0),
        1 => Just(f32::NAN),
        1 => prop::sample::select(vec![f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE, f32::MAX]),
    ]
}

/// Seeds of one node: whether it ends here, mode, feature, threshold, missing, weights.
type Seed = (u8, usize, i64, f32, bool, Vec<Option<i8>>);

fn seed(targets: usize) -> impl Strategy<Value = Seed> {
    let weights = prop::collection::vec(prop::option::weighted(0.8, any::<i8>()), targets);
    let columns = i64::try_from(COLUMNS).unwrap();
    (any::<u8>(), 0..MODES.len(), 0..columns, value(), any::<bool>(), weights)
}

fn grow(definition: &mut EnsembleDefinition, tree: i64, level: u8, seeds: &mut impl Iterator<Item = Seed>) -> i64 {
    let (end, mode, feature, threshold, missing_tracks_true, weights) = seeds.next().unwrap();
    let node = i64::try_from(definition.nodes.len()).unwrap();
    let position = definition.nodes.len();
    let leaf = level == 6 || end < 60;
    let mode = if leaf { NodeMode::Leaf } else { MODES[mode] };
    let threshold = f64::from(threshold);
    let entry =
        NodeDefinition { tree, node, mode, feature, threshold, true_child: 0, false_child: 0, missing_tracks_true };
    definition.nodes.push(entry);
    if leaf {
        for (target, weight) in weights.into_iter().enumerate() {
            // Quarters of small integers: sums are exact, so that their order does not matter to the comparison.
            let weight = weight.map(|weight| f64::from(weight) / 4.0);
            let target = i64::try_from(target).unwrap();
            definition.weights.extend(weight.map(|weight| LeafWeight { tree, node, target, weight }));
        }
    } else {
        definition.nodes[position].true_child = grow(definition, tree, level + 1, seeds);
        definition.nodes[position].false_child = grow(definition, tree, level + 1, seeds);
    }
    node
}

fn forests() -> impl Strategy<Value = EnsembleDefinition> {
    (1_usize..=4).prop_flat_map(|targets| {
        (1_i64..=12, prop::collection::vec(seed(targets), 400)).prop_map(move |(trees, seeds)| {
            let mut definition = EnsembleDefinition { nodes: Vec::new(), weights: Vec::new(), targets };
            let mut seeds = seeds.into_iter().cycle();
            for tree in 0..trees {
                grow(&mut definition, tree, 0, &mut seeds);
            }
            definition
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn regression_equals_the_plain_evaluation(
        definition in forests(),
        rows in prop::collection::vec(prop::collection::vec(value(), COLUMNS), 1..150),
        aggregate in prop::sample::select(vec![
            AggregateFunction::Sum, AggregateFunction::Average, AggregateFunction::Min, AggregateFunction::Max,
        ]),
    ) {
        // What ONNX Runtime gives for the lowest weight of a leaf without weights is not defined for one target.
        let summing = matches!(aggregate, AggregateFunction::Sum | AggregateFunction::Average);
        prop_assume!(summing || definition.targets > 1);
        let ensemble = RegressionEnsemble::<f32>::new(&definition, aggregate, PostTransform::None, &[]).unwrap();
        let mut output = vec![f32::NAN; rows.len() * definition.targets];
        ensemble.predict(&rows.concat(), COLUMNS, &mut output);
        for (row, actual) in rows.iter().zip(output.chunks_exact(definition.targets)) {
            let expected: Vec<f32> = naive(&definition, aggregate, row).iter().map(|score| score.unwrap_or(0.0)).collect();
            prop_assert_eq!(actual, &expected[..]);
        }
    }

    #[test]
    fn classes_are_those_with_the_highest_score(
        definition in forests(),
        rows in prop::collection::vec(prop::collection::vec(value(), COLUMNS), 1..20),
    ) {
        prop_assume!(definition.targets > 2);
        let ensemble = ClassificationEnsemble::<f32>::new(&definition, PostTransform::None, &[]).unwrap();
        let mut output = vec![f32::NAN; rows.len() * definition.targets];
        let mut labels = vec![super::Label::Sign(false); rows.len()];
        ensemble.predict(&rows.concat(), COLUMNS, &mut labels, &mut output);
        for (row, label) in rows.iter().zip(labels) {
            let scores = naive(&definition, AggregateFunction::Sum, row);
            let mut best = None;
            for (class, score) in scores.iter().enumerate() {
                if score.is_some() && best.is_none_or(|best: usize| *score > scores[best]) {
                    best = Some(class);
                }
            }
            prop_assert_eq!(label, super::Label::Class(best.unwrap_or(0)));
        }
    }
}

fn node(node: i64, mode: NodeMode, true_child: i64, false_child: i64) -> NodeDefinition {
    NodeDefinition {
        tree: 0,
        node,
        mode,
        feature: 0,
        threshold: 0.0,
        true_child,
        false_child,
        missing_tracks_true: false,
    }
}

fn refusal(nodes: Vec<NodeDefinition>, weights: Vec<LeafWeight>) -> InvalidEnsemble {
    let definition = EnsembleDefinition { nodes, weights, targets: 1 };
    RegressionEnsemble::<f32>::new(&definition, AggregateFunction::Sum, PostTransform::None, &[]).unwrap_err()
}

#[test]
fn what_is_not_a_forest_is_refused() {
    let leaf = |id| node(id, NodeMode::Leaf, 0, 0);
    let inner = |id, first, second| node(id, NodeMode::LessOrEqual, first, second);
    assert_eq!(refusal(vec![], vec![]), InvalidEnsemble::Empty);
    assert_eq!(refusal(vec![leaf(1), leaf(1)], vec![]), InvalidEnsemble::DuplicateNode { tree: 0, node: 1 });
    assert_eq!(refusal(vec![inner(0, 1, 2), leaf(1)], vec![]), InvalidEnsemble::UnknownNode { tree: 0, node: 2 });
    assert_eq!(refusal(vec![inner(0, 1, 0), leaf(1)], vec![]), InvalidEnsemble::NotATree { tree: 0 });
    assert_eq!(refusal(vec![inner(0, 1, 1), leaf(1)], vec![]), InvalidEnsemble::NotATree { tree: 0 });
    let weight = |node, target| LeafWeight { tree: 0, node, target, weight: 1.0 };
    assert_eq!(refusal(vec![leaf(0)], vec![weight(3, 0)]), InvalidEnsemble::UnknownNode { tree: 0, node: 3 });
    let out_of_range = InvalidEnsemble::TargetOutOfRange { targets: 1, target: -1 };
    assert_eq!(refusal(vec![leaf(0)], vec![weight(0, -1)]), out_of_range);
    let far = NodeDefinition { feature: 1 << 40, ..inner(0, 1, 2) };
    assert!(matches!(refusal(vec![far, leaf(1), leaf(2)], vec![]), InvalidEnsemble::FeatureOutOfRange { .. }));
}
