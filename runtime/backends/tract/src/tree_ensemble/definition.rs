//! An ensemble as the ONNX attributes describe it, before it is laid out for evaluation.
//!
//! Numbers are in double precision, which holds those of both forms; laying out rounds them to the precision that is
//! computed in. Nothing is checked here; [`super::layout::Layout::compile`] refuses what is not a forest.

use thiserror::Error;

/// How a node compares a feature with its threshold; the comparison being true leads to the true child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeMode {
    /// At most the threshold.
    LessOrEqual,
    /// Below the threshold.
    Less,
    /// At least the threshold.
    GreaterOrEqual,
    /// Above the threshold.
    Greater,
    /// Equal to the threshold.
    Equal,
    /// Not equal to the threshold.
    NotEqual,
    /// No comparison: the end of a path.
    Leaf,
}

/// How the weights of several trees become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateFunction {
    /// Their sum.
    Sum,
    /// Their sum divided by the number of trees.
    Average,
    /// The lowest.
    Min,
    /// The highest.
    Max,
}

/// One node of one tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NodeDefinition {
    /// Tree that the node belongs to; trees are evaluated in the order of their first nodes.
    pub(crate) tree: i64,
    /// Id within the tree. The first node listed for a tree is its root.
    pub(crate) node: i64,
    /// Comparison.
    pub(crate) mode: NodeMode,
    /// Index of the feature that is compared.
    pub(crate) feature: i64,
    /// What it is compared with.
    pub(crate) threshold: f64,
    /// Id of the node to go to when the comparison holds.
    pub(crate) true_child: i64,
    /// Id of the node to go to otherwise.
    pub(crate) false_child: i64,
    /// Whether a NaN goes to the true child, whatever the comparison says.
    pub(crate) missing_tracks_true: bool,
}

/// What a leaf adds to one target or class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LeafWeight {
    /// Tree of the leaf.
    pub(crate) tree: i64,
    /// Id of the leaf within the tree.
    pub(crate) node: i64,
    /// Target or class, below [`EnsembleDefinition::targets`].
    pub(crate) target: i64,
    /// What is added.
    pub(crate) weight: f64,
}

/// All trees and what their leaves add.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EnsembleDefinition {
    /// Nodes of all trees.
    pub(crate) nodes: Vec<NodeDefinition>,
    /// Weights of all leaves.
    pub(crate) weights: Vec<LeafWeight>,
    /// Number of targets or classes; above zero.
    pub(crate) targets: usize,
}

/// Why a definition is not a forest.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum InvalidEnsemble {
    /// There is no tree.
    #[error("expected at least one node, got none")]
    Empty,
    /// An id is used twice.
    #[error("node `{node}` of tree `{tree}` is defined twice")]
    DuplicateNode {
        /// Tree.
        tree: i64,
        /// Node.
        node: i64,
    },
    /// A child or a weight names a node that does not exist.
    #[error("node `{node}` of tree `{tree}` does not exist")]
    UnknownNode {
        /// Tree.
        tree: i64,
        /// Node.
        node: i64,
    },
    /// A node is reached by two paths, or by its own.
    #[error("tree `{tree}` is not a tree: a node is reached more than once")]
    NotATree {
        /// Tree.
        tree: i64,
    },
    /// A target or class beyond the declared number.
    #[error("expected a target below `{targets}`, got `{target}`")]
    TargetOutOfRange {
        /// Number of targets.
        targets: usize,
        /// What was given.
        target: i64,
    },
    /// A feature index that is negative or too large to be stored.
    #[error("expected a feature index of at most `{maximum}`, got `{feature}`")]
    FeatureOutOfRange {
        /// Largest feature index.
        maximum: u32,
        /// What was given.
        feature: i64,
    },
    /// More nodes than 32 bits count.
    #[error("the ensemble has more nodes than can be counted in 32 bits")]
    TooLarge,
    /// Attribute lists whose lengths differ.
    #[error("attribute `{attribute}` has `{actual}` values, expected `{expected}`")]
    Length {
        /// Attribute.
        attribute: &'static str,
        /// Expected length.
        expected: usize,
        /// Actual length.
        actual: usize,
    },
    /// A comparison that is not known.
    #[error("node mode `{0}` is not supported")]
    UnknownMode(String),
}

impl EnsembleDefinition {
    /// The only target that any leaf adds to, when there is exactly one.
    pub(crate) fn only_target(&self) -> Option<i64> {
        let first = self.weights.first()?.target;
        self.weights.iter().all(|weight| weight.target == first).then_some(first)
    }
}
