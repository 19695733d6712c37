//! Reads from an ONNX file what a server must know before it loads it: inputs, outputs, operators, files beside it.
//!
//! Not a loader and not a checker: weights are never looked at, nodes only for their operator type. Field numbers are
//! those of `onnx.proto`. Memory is bounded by what is reported, recursion by [`MAXIMUM_DEPTH`].

mod graph;
mod tensor_type;
mod wire_format;

use std::collections::BTreeSet;

use graph::GraphReader;
use wire_format::{damaged, fields};

use crate::{ConfigError, ModelSignature};

/// Deepest nesting of graphs within graphs (bodies of `If`, `Loop`, `Scan`) that is read.
const MAXIMUM_DEPTH: usize = 32;

/// Most inputs, and most outputs, that a graph may have.
const MAXIMUM_TENSORS: usize = 4096;

/// What an ONNX file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnnxGraphFacts {
    /// Inputs and outputs of the main graph.
    pub signature: ModelSignature,
    /// Operator types used anywhere in the model (bodies of control flow and functions included), sorted, each once.
    pub operators: Vec<OnnxOperator>,
    /// Imported operator sets, sorted.
    pub opsets: Vec<OnnxOpset>,
    /// Locations of tensors stored outside the file, sorted, each once, as written in the file: not to be trusted.
    pub external_data: Vec<String>,
}

/// An operator type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnnxOperator {
    /// Domain; empty for the standard operators, also where the file spells it `ai.onnx`.
    pub domain: String,
    /// Name of the operator, such as `Conv`.
    pub op_type: String,
}

/// An imported operator set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnnxOpset {
    /// Domain; empty for the standard operators, also where the file spells it `ai.onnx`.
    pub domain: String,
    /// Version.
    pub version: i64,
}

/// Reads `bytes`, the content of an ONNX file (best a mapping of it: weights are skipped, not read).
///
/// # Errors
/// [`ConfigError::Onnx`] when the bytes are truncated, not an ONNX model, or beyond the reader's bounds (nesting 32, 4096
/// inputs or outputs, 64 dimensions).
pub fn read_onnx_signature(bytes: &[u8]) -> Result<OnnxGraphFacts, ConfigError> {
    let mut reader = GraphReader::default();
    let mut opsets = BTreeSet::new();
    let mut signature = None;
    for field in fields(bytes) {
        let field = field?;
        match field.number {
            7 => signature = Some(reader.main_graph(field.value.bytes()?)?),
            8 => {
                opsets.insert(opset(field.value.bytes()?)?);
            }
            20 => reader.training_info(field.value.bytes()?)?,
            25 => reader.function(field.value.bytes()?)?,
            _ => {}
        }
    }
    let signature = signature.ok_or_else(|| damaged("it holds no graph"))?;
    let operators = reader.operators.into_iter();
    Ok(OnnxGraphFacts {
        signature,
        operators: operators
            .map(|(domain, op_type)| OnnxOperator { domain: domain.to_owned(), op_type: op_type.to_owned() })
            .collect(),
        opsets: opsets.into_iter().collect(),
        external_data: reader.external_data.into_iter().map(str::to_owned).collect(),
    })
}

/// Reads an `OperatorSetIdProto`.
fn opset(bytes: &[u8]) -> Result<OnnxOpset, ConfigError> {
    let mut opset = OnnxOpset { domain: String::new(), version: 0 };
    for field in fields(bytes) {
        let field = field?;
        match field.number {
            1 => standard_domain(field.value.text()?).clone_into(&mut opset.domain),
            2 => opset.version = field.value.number()?,
            _ => {}
        }
    }
    Ok(opset)
}

/// The standard domain has two spellings; the empty one is used here.
fn standard_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
