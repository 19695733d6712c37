//! What a runtime knows of its shadows, for people: counts, and the newest requests on which a candidate disagreed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Examples of one answer at most.
pub const MOST_EXAMPLES: usize = 100;
/// Elements of a tensor that an example shows at most.
pub const SHOWN_ELEMENTS: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowQuery {
    /// Only shadows of this public model name; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Most examples of each shadow, 0 to [`MOST_EXAMPLES`].
    pub examples: usize,
}

/// One shadow of a runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowView {
    /// Name that clients ask for.
    pub public_model: String,
    /// Model that gets the copies.
    pub candidate_model: String,
    /// Version that gets them: a number, or `latest`.
    pub candidate_version: String,
    /// Name of the comparison that judges the outputs.
    pub compare: String,
    /// Copies by what became of them, and outputs by name, since the runtime started or the rules changed.
    pub counts: Value,
    /// The newest disagreements, newest first.
    pub examples: Vec<ShadowExample>,
}

/// One request on which primary and candidate disagreed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowExample {
    /// The client's id; empty when none was given.
    pub request_id: String,
    /// When it was compared, in microseconds since the epoch.
    pub at_microseconds: u64,
    /// Version of the primary.
    pub primary_version: u64,
    /// Version of the candidate.
    pub candidate_version: u64,
    /// What was found, by output.
    pub outputs: Value,
    /// What was asked.
    pub inputs: Vec<ExampleTensor>,
    /// What the client got.
    pub primary: Vec<ExampleTensor>,
    /// What the candidate said.
    pub candidate: Vec<ExampleTensor>,
}

/// A tensor of an example, as the v2 protocol writes tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExampleTensor {
    /// Name.
    pub name: String,
    /// Data type, as `FP32`.
    pub datatype: String,
    /// Dimensions of the whole tensor.
    pub shape: Vec<i64>,
    /// Its first elements, at most [`SHOWN_ELEMENTS`], flat. Numbers that JSON lacks are null; bytes that are no text are
    /// shown with replacement characters.
    pub data: Vec<Value>,
}
