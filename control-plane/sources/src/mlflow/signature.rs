//! A model's signature in MLflow's form: JSON texts of tensor specs within `MLmodel`. Pure.
//!
//! Only tensor signatures with named tensors become one of ours; column signatures (of data frames) say nothing about the
//! graph's tensors, and the graph itself is asked later.

use serde_json::Value;

use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

const MOST_TENSORS: usize = 1000;
const MOST_DIMENSIONS: usize = 32;

/// Inputs and outputs that the publisher declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSignature {
    /// Inputs, in order.
    pub inputs: Vec<SignatureTensor>,
    /// Outputs, in order.
    pub outputs: Vec<SignatureTensor>,
}

/// One tensor of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureTensor {
    /// Its name in the graph.
    pub name: String,
    /// Its type as a model configuration spells it, such as `TYPE_FP32`.
    pub data_type: &'static str,
    /// All dimensions, -1 for any.
    pub dims: Vec<i64>,
}

impl ModelSignature {
    /// Whether the first dimension of every tensor varies: the batch.
    #[must_use]
    pub fn batches(&self) -> bool {
        let mut tensors = self.inputs.iter().chain(&self.outputs);
        !self.inputs.is_empty() && tensors.all(|tensor| tensor.dims.first() == Some(&-1))
    }
}

/// Reads the texts `inputs` and `outputs`; `None` where they do not name tensors of the graph.
///
/// # Errors
/// `InvalidModel` when they cannot be read, or name a type that no request can hold.
pub(super) fn parse(inputs: &str, outputs: &str) -> Result<Option<ModelSignature>, SourceError> {
    let (Some(inputs), Some(outputs)) = (tensors(inputs)?, tensors(outputs)?) else { return Ok(None) };
    Ok(Some(ModelSignature { inputs, outputs }))
}

fn tensors(text: &str) -> Result<Option<Vec<SignatureTensor>>, SourceError> {
    let parsed: Value =
        serde_json::from_str(text).map_err(|error| invalid("is no JSON").with_operator_detail(error))?;
    let specs = parsed.as_array().ok_or_else(|| invalid("is no list"))?;
    if specs.len() > MOST_TENSORS {
        return Err(invalid("has more than 1000 tensors"));
    }
    let mut tensors = Vec::with_capacity(specs.len());
    for spec in specs {
        let (Some("tensor"), Some(name)) = (spec["type"].as_str(), spec["name"].as_str()) else { return Ok(None) };
        let spec = &spec["tensor-spec"];
        let written = spec["dtype"].as_str().unwrap_or_default();
        let data_type = data_type(written).ok_or_else(|| {
            invalid(&format!("gives `{}` the type `{}`, which is not served", shown(name), shown(written)))
        })?;
        let shape = spec["shape"].as_array().ok_or_else(|| invalid("has a tensor without a shape"))?;
        let dims: Option<Vec<i64>> = shape.iter().map(|dim| dim.as_i64().filter(|dim| *dim >= -1)).collect();
        let dims =
            dims.filter(|dims| dims.len() <= MOST_DIMENSIONS).ok_or_else(|| invalid("has a dimension that is none"))?;
        if name.is_empty() || name.len() > 1024 || name.chars().any(char::is_control) {
            return Err(invalid("has a tensor with an unusable name"));
        }
        tensors.push(SignatureTensor { name: name.to_owned(), data_type, dims });
    }
    Ok((!tensors.is_empty()).then_some(tensors))
}

/// NumPy's names of types, as MLflow writes them.
fn data_type(numpy: &str) -> Option<&'static str> {
    Some(match numpy {
        "bool" => "TYPE_BOOL",
        "uint8" => "TYPE_UINT8",
        "uint16" => "TYPE_UINT16",
        "uint32" => "TYPE_UINT32",
        "uint64" => "TYPE_UINT64",
        "int8" => "TYPE_INT8",
        "int16" => "TYPE_INT16",
        "int32" => "TYPE_INT32",
        "int64" => "TYPE_INT64",
        "float16" => "TYPE_FP16",
        "bfloat16" => "TYPE_BF16",
        "float32" => "TYPE_FP32",
        "float64" => "TYPE_FP64",
        "object" | "str" | "string" | "bytes" => "TYPE_STRING",
        _ => return None,
    })
}

fn invalid(what: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidModel,
        format!("the signature in `MLmodel` {what}"),
        "log the model again with a tensor signature (mlflow.models.ModelSignature of TensorSpec), or with none",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn tensors_are_read_and_columns_are_not() {
        let input = r#"[{"name": "INPUT0", "type": "tensor", "tensor-spec": {"dtype": "int32", "shape": [-1, 16]}}]"#;
        let output = r#"[{"name": "y", "type": "tensor", "tensor-spec": {"dtype": "object", "shape": [-1]}}]"#;
        let signature = parse(input, output).unwrap().unwrap();
        assert_eq!(
            signature.inputs,
            [SignatureTensor { name: "INPUT0".into(), data_type: "TYPE_INT32", dims: vec![-1, 16] }]
        );
        assert_eq!(signature.outputs[0].data_type, "TYPE_STRING");
        assert!(signature.batches());
        let unnamed = r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]"#;
        let columns = r#"[{"name": "age", "type": "long", "required": true}]"#;
        for other in [unnamed, columns, "[]"] {
            assert_eq!(parse(input, other).unwrap(), None);
            assert_eq!(parse(other, output).unwrap(), None);
        }
        for bad in [
            "",
            "{}",
            r#"[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "complex64", "shape": [1]}}]"#,
            r#"[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "int8", "shape": [-2]}}]"#,
            r#"[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "int8", "shape": [1.5]}}]"#,
            r#"[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "int8"}}]"#,
            r#"[{"name": "a\nb", "type": "tensor", "tensor-spec": {"dtype": "int8", "shape": []}}]"#,
        ] {
            assert_eq!(parse(input, bad).unwrap_err().code(), SourceErrorCode::InvalidModel, "{bad}");
        }
    }
}
