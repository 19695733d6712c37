//! What a model file says of its own inputs and outputs.
//!
//! Dimensions here are the graph's: a batch dimension, where there is one, is among them.

use hanok_tensor::DataType;

/// Inputs and outputs of a model, as its file declares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelSignature {
    /// Inputs in the graph's order, without those that have a stored value.
    pub inputs: Vec<SignatureTensor>,
    /// Inputs that have a stored value, which a request may replace; a configuration may name them and need not.
    pub overridable_inputs: Vec<SignatureTensor>,
    /// Outputs in the graph's order.
    pub outputs: Vec<SignatureTensor>,
}

/// One input or output of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTensor {
    /// Name.
    pub name: String,
    /// Element type; `None` when the graph does not say or it is no type of the protocol (sequences, maps).
    pub data_type: Option<DataType>,
    /// All dimensions, -1 for symbolic or unknown; `None` when the graph does not tell the rank.
    pub dims: Option<Vec<i64>>,
}

impl SignatureTensor {
    /// A tensor of known type and rank.
    #[must_use]
    pub fn new(name: impl Into<String>, data_type: DataType, dims: &[i64]) -> Self {
        Self { name: name.into(), data_type: Some(data_type), dims: Some(dims.to_vec()) }
    }
}
