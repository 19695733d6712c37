//! From the attributes of `TreeEnsembleClassifier` and `TreeEnsembleRegressor` (`ai.onnx.ml` 1 and 3) to a definition.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{TractResult, anyhow};

use super::attributes::{Numbers, attribute, integers, text};
use crate::tree_ensemble::{EnsembleDefinition, InvalidEnsemble, LeafWeight, NodeDefinition, NodeMode, PostTransform};

/// Everything that both operators say of their trees.
pub(super) struct TreeAttributes<'a> {
    node: &'a NodeProto,
    prefix: &'static str,
    targets: usize,
    modes: Vec<NodeMode>,
    thresholds: Numbers<'a>,
    weights: Numbers<'a>,
    base_values: Numbers<'a>,
}

impl<'a> TreeAttributes<'a> {
    /// Reads the attributes; `prefix` is `class` or `target`, the first word of the names of leaf attributes.
    pub(super) fn read(
        context: &ParsingContext<'_>,
        node: &'a NodeProto,
        prefix: &'static str,
        targets: usize,
    ) -> TractResult<Self> {
        let modes = attribute(node, "nodes_modes").map_or(&[][..], |attribute| &attribute.strings);
        let modes = modes.iter().map(|mode| node_mode(mode)).collect::<Result<_, _>>()?;
        Ok(Self {
            node,
            prefix,
            targets,
            modes,
            thresholds: Numbers::read(context, node, "nodes_values")?,
            weights: Numbers::read(context, node, &format!("{prefix}_weights"))?,
            base_values: Numbers::read(context, node, "base_values")?,
        })
    }

    /// Base values, in the precision that holds them all.
    pub(super) fn base_values(&self) -> TractResult<Vec<f64>> {
        self.base_values.doubles()
    }

    /// The ensemble, in the precision that holds every number of both forms.
    pub(super) fn definition(&self) -> TractResult<EnsembleDefinition> {
        Ok(self.assemble(&self.thresholds.doubles()?, &self.weights.doubles()?)?)
    }

    fn assemble(&self, thresholds: &[f64], weights: &[f64]) -> Result<EnsembleDefinition, InvalidEnsemble> {
        let count = self.modes.len();
        let list = |attribute| -> Result<&[i64], InvalidEnsemble> {
            let values = integers(self.node, attribute);
            expect_length(attribute, count, values.len())?;
            Ok(values)
        };
        let (trees, ids, features) = (list("nodes_treeids")?, list("nodes_nodeids")?, list("nodes_featureids")?);
        let (true_children, false_children) = (list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
        expect_length("nodes_values", count, thresholds.len())?;
        let missing = integers(self.node, "nodes_missing_value_tracks_true");
        if !missing.is_empty() {
            expect_length("nodes_missing_value_tracks_true", count, missing.len())?;
        }
        let nodes = (0..count)
            .map(|index| NodeDefinition {
                tree: trees[index],
                node: ids[index],
                mode: self.modes[index],
                feature: features[index],
                threshold: thresholds[index],
                true_child: true_children[index],
                false_child: false_children[index],
                missing_tracks_true: missing.get(index).is_some_and(|&tracks| tracks == 1),
            })
            .collect();
        Ok(EnsembleDefinition { nodes, weights: self.leaf_weights(weights)?, targets: self.targets })
    }

    fn leaf_weights(&self, weights: &[f64]) -> Result<Vec<LeafWeight>, InvalidEnsemble> {
        let name = |name: &str| format!("{}_{name}", self.prefix);
        let count = weights.len();
        let trees = integers(self.node, &name("treeids"));
        let ids = integers(self.node, &name("nodeids"));
        let targets = integers(self.node, &name("ids"));
        for (attribute, list) in [("treeids of leaves", trees), ("nodeids of leaves", ids), ("ids of leaves", targets)]
        {
            expect_length(attribute, count, list.len())?;
        }
        Ok((0..count)
            .map(|index| LeafWeight {
                tree: trees[index],
                node: ids[index],
                target: targets[index],
                weight: weights[index],
            })
            .collect())
    }
}

fn expect_length(attribute: &'static str, expected: usize, actual: usize) -> Result<(), InvalidEnsemble> {
    if expected == actual { Ok(()) } else { Err(InvalidEnsemble::Length { attribute, expected, actual }) }
}

fn node_mode(mode: &[u8]) -> Result<NodeMode, InvalidEnsemble> {
    Ok(match mode {
        b"BRANCH_LEQ" => NodeMode::LessOrEqual,
        b"BRANCH_LT" => NodeMode::Less,
        b"BRANCH_GTE" => NodeMode::GreaterOrEqual,
        b"BRANCH_GT" => NodeMode::Greater,
        b"BRANCH_EQ" => NodeMode::Equal,
        b"BRANCH_NEQ" => NodeMode::NotEqual,
        b"LEAF" => NodeMode::Leaf,
        other => return Err(InvalidEnsemble::UnknownMode(String::from_utf8_lossy(other).into_owned())),
    })
}

/// The attribute `post_transform`.
pub(super) fn post_transform(node: &NodeProto) -> TractResult<PostTransform> {
    let name = text(node, "post_transform", "NONE")?;
    PostTransform::from_name(name).ok_or_else(|| anyhow!("post transform `{name}` is not known"))
}
