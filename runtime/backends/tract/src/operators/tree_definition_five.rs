//! From the attributes of `TreeEnsemble` (`ai.onnx.ml` 5) to a definition.
//!
//! Nodes and leaves are lists of their own there; here every reference to a leaf becomes a node, so that the rest is
//! as in the older form. Comparisons with a set of values (`BRANCH_MEMBER`) are refused.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Tensor, TractResult, anyhow, bail};

use super::attributes::{integer, integers, tensor};
use crate::tree_ensemble::{
    AggregateFunction, EnsembleDefinition, InvalidEnsemble, LeafWeight, NodeDefinition, NodeMode, PostTransform,
};

/// What `TreeEnsemble` says of itself.
pub(super) struct TreeEnsembleAttributes<'a> {
    node: &'a NodeProto,
    modes: Vec<u8>,
    splits: Tensor,
    weights: Tensor,
    targets: usize,
    pub(super) aggregate: AggregateFunction,
    pub(super) post_transform: PostTransform,
}

impl<'a> TreeEnsembleAttributes<'a> {
    /// Reads the attributes.
    pub(super) fn read(context: &ParsingContext<'_>, node: &'a NodeProto) -> TractResult<Self> {
        let needed = |name: &str| -> TractResult<Tensor> {
            tensor(context, node, name)?.ok_or_else(|| anyhow!("attribute `{name}` is missing"))
        };
        let aggregate = match integer(node, "aggregate_function", 1) {
            0 => AggregateFunction::Average,
            1 => AggregateFunction::Sum,
            2 => AggregateFunction::Min,
            3 => AggregateFunction::Max,
            other => bail!("aggregate function `{other}` is not known"),
        };
        // ONNX numbers SOFTMAX 1 and LOGISTIC 2; ONNX Runtime (1.31) takes them the other way round, and models in use
        // were exported and tested against it.
        let post_transform = match integer(node, "post_transform", 0) {
            0 => PostTransform::None,
            1 => PostTransform::Logistic,
            2 => PostTransform::Softmax,
            3 => PostTransform::SoftmaxZero,
            4 => PostTransform::Probit,
            other => bail!("post transform `{other}` is not known"),
        };
        Ok(Self {
            node,
            modes: needed("nodes_modes")?.try_as_plain_ram()?.as_slice::<u8>()?.to_vec(),
            splits: needed("nodes_splits")?,
            weights: needed("leaf_weights")?,
            targets: usize::try_from(integer(node, "n_targets", 1)).map_err(|_| anyhow!("negative `n_targets`"))?,
            aggregate,
            post_transform,
        })
    }

    /// The ensemble, in the precision that holds every number.
    pub(super) fn definition(&self) -> TractResult<EnsembleDefinition> {
        let splits = self.splits.cast_to::<f64>()?;
        let weights = self.weights.cast_to::<f64>()?;
        self.walk(splits.try_as_plain_ram()?.as_slice::<f64>()?, weights.try_as_plain_ram()?.as_slice::<f64>()?)
    }

    fn walk(&self, splits: &[f64], weights: &[f64]) -> TractResult<EnsembleDefinition> {
        let mut walk = Walk {
            modes: &self.modes,
            splits,
            weights,
            features: self.list("nodes_featureids", splits.len())?,
            true_nodes: self.list("nodes_truenodeids", splits.len())?,
            false_nodes: self.list("nodes_falsenodeids", splits.len())?,
            true_leaves: self.list("nodes_trueleafs", splits.len())?,
            false_leaves: self.list("nodes_falseleafs", splits.len())?,
            missing: integers(self.node, "nodes_missing_value_tracks_true"),
            leaf_targets: self.list("leaf_targetids", weights.len())?,
            made: EnsembleDefinition { nodes: Vec::new(), weights: Vec::new(), targets: self.targets },
            next_id: 0,
        };
        for (tree, &root) in (0..).zip(integers(self.node, "tree_roots")) {
            walk.tree(tree, root)?;
        }
        Ok(walk.made)
    }

    fn list(&self, attribute: &'static str, expected: usize) -> Result<&'a [i64], InvalidEnsemble> {
        let values = integers(self.node, attribute);
        let actual = values.len();
        if actual == expected { Ok(values) } else { Err(InvalidEnsemble::Length { attribute, expected, actual }) }
    }
}

/// One pass over all trees.
struct Walk<'a> {
    modes: &'a [u8],
    splits: &'a [f64],
    weights: &'a [f64],
    features: &'a [i64],
    true_nodes: &'a [i64],
    false_nodes: &'a [i64],
    true_leaves: &'a [i64],
    false_leaves: &'a [i64],
    missing: &'a [i64],
    leaf_targets: &'a [i64],
    made: EnsembleDefinition,
    next_id: i64,
}

impl Walk<'_> {
    fn tree(&mut self, tree: i64, root: i64) -> TractResult<()> {
        let limit = 2 * (self.splits.len() + self.weights.len()) + 2;
        let mut open = vec![(self.take_id(), root)];
        while let Some((id, node)) = open.pop() {
            let index = usize::try_from(node).ok().filter(|&index| index < self.splits.len().min(self.modes.len()));
            let index = index.ok_or(InvalidEnsemble::UnknownNode { tree, node })?;
            let (true_child, false_child) = (self.take_id(), self.take_id());
            self.made.nodes.push(NodeDefinition {
                tree,
                node: id,
                mode: node_mode(self.modes[index])?,
                feature: self.features[index],
                threshold: self.splits[index],
                true_child,
                false_child,
                missing_tracks_true: self.missing.get(index).is_some_and(|&tracks| tracks == 1),
            });
            let sides = [
                (true_child, self.true_leaves[index], self.true_nodes[index]),
                (false_child, self.false_leaves[index], self.false_nodes[index]),
            ];
            for (id, is_leaf, reference) in sides {
                if is_leaf == 1 {
                    self.leaf(tree, id, reference)?;
                } else {
                    open.push((id, reference));
                }
            }
            if open.len() > limit || self.made.nodes.len() > 2 * limit {
                return Err(InvalidEnsemble::NotATree { tree }.into());
            }
        }
        Ok(())
    }

    fn leaf(&mut self, tree: i64, node: i64, leaf: i64) -> Result<(), InvalidEnsemble> {
        let index = usize::try_from(leaf).ok().filter(|&index| index < self.weights.len());
        let index = index.ok_or(InvalidEnsemble::UnknownNode { tree, node: leaf })?;
        self.made.nodes.push(NodeDefinition {
            tree,
            node,
            mode: NodeMode::Leaf,
            feature: 0,
            threshold: 0.0,
            true_child: 0,
            false_child: 0,
            missing_tracks_true: false,
        });
        let (target, weight) = (self.leaf_targets[index], self.weights[index]);
        self.made.weights.push(LeafWeight { tree, node, target, weight });
        Ok(())
    }

    fn take_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }
}

fn node_mode(mode: u8) -> Result<NodeMode, InvalidEnsemble> {
    Ok(match mode {
        0 => NodeMode::LessOrEqual,
        1 => NodeMode::Less,
        2 => NodeMode::GreaterOrEqual,
        3 => NodeMode::Greater,
        4 => NodeMode::Equal,
        5 => NodeMode::NotEqual,
        6 => return Err(InvalidEnsemble::UnknownMode("BRANCH_MEMBER".to_owned())),
        other => return Err(InvalidEnsemble::UnknownMode(other.to_string())),
    })
}
