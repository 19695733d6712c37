//! Trees laid out for evaluation: 12-byte nodes, siblings side by side, levels one after another.
//!
//! Every comparison is brought to one form, `feature <= threshold` leads to the first child, by exchanging children
//! and taking the next lower threshold where needed; so one loop without a branch per mode serves all of them. Leaves
//! lead to themselves, so that several paths can be followed in step until all have ended.

use std::ops::Range;

use super::definition::{EnsembleDefinition, InvalidEnsemble, NodeDefinition, NodeMode};
use super::node_index::{NodeIndex, NodeWeights};
use super::number::Number;

/// One node: where to look, what to compare with, where to go.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Node<T> {
    /// Threshold; in a leaf of a single-target ensemble, the leaf's weight.
    pub(super) threshold: T,
    /// Feature index and the flags below.
    feature_and_flags: u32,
    /// Index of the first child, the second follows it; a leaf's own index.
    pub(super) first_child: u32,
}

const INNER: u32 = 1 << 31;
const MISSING_TO_FIRST: u32 = 1 << 30;
const EQUALITY: u32 = 1 << 29;
const FEATURE: u32 = EQUALITY - 1;

impl<T: Number> Node<T> {
    /// Index of the feature that is compared; 0 in a leaf.
    #[inline(always)]
    pub(super) fn feature(&self) -> usize {
        (self.feature_and_flags & FEATURE) as usize
    }

    /// 1 for an inner node, 0 for a leaf.
    #[inline(always)]
    pub(super) fn inner(&self) -> u32 {
        self.feature_and_flags >> 31
    }

    /// Whether a NaN goes to the first child.
    #[inline(always)]
    pub(super) fn missing_to_first(&self) -> bool {
        self.feature_and_flags & MISSING_TO_FIRST != 0
    }

    /// Whether the first child is for values equal to the threshold only.
    #[inline(always)]
    pub(super) fn equality(&self) -> bool {
        self.feature_and_flags & EQUALITY != 0
    }
}

/// What leaves add.
#[derive(Debug)]
pub(super) enum Leaves<T> {
    /// One target: the weight stands in the leaf's node.
    Single,
    /// Every leaf has a weight for every target: a `[leaf, target]` matrix.
    Dense {
        /// Index of the leaf, by node.
        ordinals: Vec<u32>,
        /// The matrix.
        weights: Vec<T>,
    },
    /// Leaves have weights for some targets.
    Sparse {
        /// Index of the leaf, by node.
        ordinals: Vec<u32>,
        /// Where a leaf's weights are, by leaf.
        ranges: Vec<Range<u32>>,
        /// Target and weight.
        weights: Vec<(u32, T)>,
    },
}

/// A forest, ready for evaluation.
#[derive(Debug)]
pub(super) struct Layout<T> {
    pub(super) nodes: Vec<Node<T>>,
    /// Index of each tree's root.
    pub(super) roots: Vec<u32>,
    pub(super) leaves: Leaves<T>,
    /// Width of a row of scores: 1 for [`Leaves::Single`], else the number of targets.
    pub(super) width: usize,
    /// Columns that a row of features must have.
    pub(super) columns: usize,
    /// Whether a NaN goes to the first child anywhere.
    pub(super) has_missing: bool,
    /// Whether there is a comparison for equality anywhere.
    pub(super) has_equality: bool,
}

/// A node brought to the form "at most the threshold leads to the first child".
struct Canonical<T> {
    threshold: T,
    flags: u32,
    first: i64,
    second: i64,
}

fn canonical<T: Number>(node: &NodeDefinition) -> Canonical<T> {
    let threshold = T::from_double(node.threshold);
    let tracks_true = node.missing_tracks_true;
    let (forward, backward) = ((node.true_child, node.false_child), (node.false_child, node.true_child));
    // A comparison with NaN is false, whatever it is, except for "not equal".
    let threshold_is_nan = threshold.partial_cmp(&threshold).is_none();
    let lower = if threshold > T::NEGATIVE_INFINITY { threshold.next_lower() } else { T::NAN };
    let (threshold, (first, second), missing_to_first, equality) = match node.mode {
        NodeMode::LessOrEqual => (threshold, forward, tracks_true, false),
        NodeMode::Less => (lower, forward, tracks_true, false),
        NodeMode::GreaterOrEqual | NodeMode::Greater if threshold_is_nan => (T::NAN, forward, tracks_true, false),
        NodeMode::GreaterOrEqual => (lower, backward, !tracks_true, false),
        NodeMode::Greater => (threshold, backward, !tracks_true, false),
        NodeMode::Equal => (threshold, forward, tracks_true, true),
        NodeMode::NotEqual => (threshold, backward, false, true),
        NodeMode::Leaf => (T::ZERO, forward, false, false),
    };
    let flags = (u32::from(missing_to_first) * MISSING_TO_FIRST) | (u32::from(equality) * EQUALITY);
    Canonical { threshold, flags, first, second }
}

impl<T: Number> Layout<T> {
    /// Lays out a definition. `single` says that all weights belong to one target.
    ///
    /// # Errors
    /// [`InvalidEnsemble`] when the definition is not a forest.
    pub(super) fn compile(definition: &EnsembleDefinition, single: bool) -> Result<Self, InvalidEnsemble> {
        if u32::try_from(definition.nodes.len()).is_err() || u32::try_from(definition.weights.len()).is_err() {
            return Err(InvalidEnsemble::TooLarge);
        }
        let index = NodeIndex::new(&definition.nodes)?;
        let weights = NodeWeights::new(definition, &index)?;
        let mut builder = Builder {
            definition,
            index: &index,
            weights: &weights,
            nodes: Vec::with_capacity(definition.nodes.len()),
            origins: Vec::with_capacity(definition.nodes.len()),
            columns: 1,
        };
        let roots = index.roots().map(|root| builder.place_tree(root, single)).collect::<Result<Vec<_>, _>>()?;
        if roots.is_empty() {
            return Err(InvalidEnsemble::Empty);
        }
        let Builder { nodes, origins, columns, .. } = builder;
        let width = if single { 1 } else { definition.targets };
        let leaves = if single { Leaves::Single } else { leaves(definition, &nodes, &origins, &weights) };
        let has = |flag: u32| nodes.iter().any(|node| node.feature_and_flags & flag != 0);
        Ok(Self {
            has_missing: has(MISSING_TO_FIRST),
            has_equality: has(EQUALITY),
            nodes,
            roots,
            leaves,
            width,
            columns,
        })
    }

    /// Bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        let leaves = match &self.leaves {
            Leaves::Single => 0,
            Leaves::Dense { ordinals, weights } => size_of_val(&ordinals[..]) + size_of_val(&weights[..]),
            Leaves::Sparse { ordinals, ranges, weights } => {
                size_of_val(&ordinals[..]) + size_of_val(&ranges[..]) + size_of_val(&weights[..])
            }
        };
        size_of_val(&self.nodes[..]) + size_of_val(&self.roots[..]) + leaves
    }
}

struct Builder<'a, T> {
    definition: &'a EnsembleDefinition,
    index: &'a NodeIndex,
    weights: &'a NodeWeights,
    nodes: Vec<Node<T>>,
    /// Position in the definition, by placed node.
    origins: Vec<u32>,
    columns: usize,
}

#[allow(clippy::cast_possible_truncation, reason = "node counts were checked to fit 32 bits before placing")]
impl<T: Number> Builder<'_, T> {
    /// Places a tree level by level and returns the index of its root.
    fn place_tree(&mut self, root: u32, single: bool) -> Result<u32, InvalidEnsemble> {
        let start = self.nodes.len();
        self.reserve(root);
        let mut next = start;
        while next < self.nodes.len() {
            let origin = self.origins[next];
            let node = &self.definition.nodes[origin as usize];
            if node.mode == NodeMode::Leaf {
                let sum = |sum: T, &(_, weight): &(u32, f64)| sum + T::from_double(weight);
                let threshold = if single { self.weights.of(origin).iter().fold(T::ZERO, sum) } else { T::ZERO };
                self.nodes[next] = Node { threshold, feature_and_flags: 0, first_child: next as u32 };
            } else {
                self.place_inner(next, node)?;
            }
            if self.nodes.len() > self.definition.nodes.len() {
                return Err(InvalidEnsemble::NotATree { tree: node.tree });
            }
            next += 1;
        }
        Ok(start as u32)
    }

    fn place_inner(&mut self, position: usize, node: &NodeDefinition) -> Result<(), InvalidEnsemble> {
        let out_of_range = InvalidEnsemble::FeatureOutOfRange { maximum: FEATURE, feature: node.feature };
        let feature = u32::try_from(node.feature).ok().filter(|&feature| feature <= FEATURE).ok_or(out_of_range)?;
        self.columns = self.columns.max(feature as usize + 1);
        let canonical = canonical(node);
        let first_child = self.nodes.len() as u32;
        for child in [canonical.first, canonical.second] {
            let unknown = InvalidEnsemble::UnknownNode { tree: node.tree, node: child };
            self.reserve(self.index.find(node.tree, child).ok_or(unknown)?);
        }
        let feature_and_flags = INNER | canonical.flags | feature;
        self.nodes[position] = Node { threshold: canonical.threshold, feature_and_flags, first_child };
        Ok(())
    }

    fn reserve(&mut self, origin: u32) {
        self.nodes.push(Node { threshold: T::ZERO, feature_and_flags: 0, first_child: 0 });
        self.origins.push(origin);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "weight and node counts were checked to fit 32 bits")]
fn leaves<T: Number>(
    definition: &EnsembleDefinition,
    nodes: &[Node<T>],
    origins: &[u32],
    weights: &NodeWeights,
) -> Leaves<T> {
    let targets = definition.targets;
    let mut ordinals = vec![0; nodes.len()];
    let mut ranges = Vec::new();
    let mut sparse: Vec<(u32, T)> = Vec::with_capacity(definition.weights.len());
    let mut dense = true;
    for (position, &origin) in origins.iter().enumerate().filter(|&(position, _)| nodes[position].inner() == 0) {
        ordinals[position] = ranges.len() as u32;
        let start = sparse.len() as u32;
        let own = weights.of(origin);
        sparse.extend(own.iter().map(|&(target, weight)| (target, T::from_double(weight))));
        ranges.push(start..sparse.len() as u32);
        dense &= own.len() == targets && (0..targets).all(|target| own.iter().any(|&(own, _)| own as usize == target));
    }
    if !dense {
        return Leaves::Sparse { ordinals, ranges, weights: sparse };
    }
    let mut matrix = vec![T::ZERO; ranges.len() * targets];
    for (row, range) in matrix.chunks_exact_mut(targets).zip(&ranges) {
        for &(target, weight) in &sparse[range.start as usize..range.end as usize] {
            row[target as usize] = weight;
        }
    }
    Leaves::Dense { ordinals, weights: matrix }
}
