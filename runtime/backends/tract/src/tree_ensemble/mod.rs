//! Decision-tree ensembles (`ai.onnx.ml` TreeEnsemble*): a kernel of our own, in plain numbers.
//!
//! It knows no tensor engine and no protocol: slices in, slices out, no allocation that grows with the model. The
//! invariant: results are those of ONNX Runtime's CPU kernel run on one thread, because trees are added in their
//! order, in the precision of the input, with the same rules for missing values and for two classes
//! (`onnxruntime/core/providers/cpu/ml/tree_ensemble_aggregator.h` states them; the ONNX text leaves them open).

mod classification;
mod definition;
mod descend;
mod layout;
mod node_index;
mod number;
mod post_transform;
mod regression;
mod scores;

#[cfg(test)]
mod naive;

pub(crate) use classification::{ClassificationEnsemble, Label};
pub(crate) use definition::{
    AggregateFunction, EnsembleDefinition, InvalidEnsemble, LeafWeight, NodeDefinition, NodeMode,
};
pub(crate) use post_transform::PostTransform;
pub(crate) use regression::RegressionEnsemble;
