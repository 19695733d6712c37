//! The file `MLmodel`: YAML that says which flavours a version holds, and its signature. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::flavour;
use super::signature::{self, ModelSignature};
use crate::{ArtifactPath, SourceError, SourceErrorCode};

/// What is read of `MLmodel`.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    flavors: BTreeMap<String, Value>,
    #[serde(default)]
    signature: Option<Signature>,
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    mlflow_version: Option<String>,
    #[serde(default)]
    utc_time_created: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Signature {
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    outputs: Option<String>,
}

/// A version that holds ONNX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OnnxModel {
    /// The ONNX file, within the version's files.
    pub(super) file: ArtifactPath,
    pub(super) signature: Option<ModelSignature>,
    pub(super) model_id: Option<String>,
    pub(super) mlflow_version: Option<String>,
    pub(super) created: Option<String>,
}

/// Reads the `MLmodel` of `version` of the model `name`.
///
/// # Errors
/// `Unsupported` without an ONNX flavour, `InvalidModel` when it cannot be read.
pub(super) fn parse(bytes: &[u8], name: &str, version: u64) -> Result<OnnxModel, SourceError> {
    let text = std::str::from_utf8(bytes).map_err(|error| invalid("is not UTF-8").with_operator_detail(error))?;
    if text.trim_start().starts_with('<') {
        return Err(invalid("is a web page"));
    }
    let document: Document =
        serde_saphyr::from_str(text).map_err(|error| invalid("cannot be read").with_operator_detail(error))?;
    let Some(onnx) = document.flavors.get("onnx") else {
        let held: Vec<(String, Option<String>)> = document
            .flavors
            .iter()
            .map(|(flavour, value)| (flavour.clone(), value[format!("{flavour}_version")].as_str().map(str::to_owned)))
            .collect();
        return Err(flavour::refusal(name, version, &held));
    };
    let data = onnx["data"].as_str().ok_or_else(|| invalid("names no file for its ONNX flavour"))?;
    let signature = match document.signature {
        Some(Signature { inputs: Some(inputs), outputs: Some(outputs) }) => signature::parse(&inputs, &outputs)?,
        _ => None,
    };
    Ok(OnnxModel {
        file: ArtifactPath::parse(data)?,
        signature,
        model_id: document.model_id,
        mlflow_version: document.mlflow_version,
        created: document.utc_time_created,
    })
}

fn invalid(what: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidModel,
        format!("the version's `MLmodel` {what}"),
        "log the model again with mlflow.onnx.log_model(…)",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    /// As MLflow 3.17.2 wrote it.
    const WRITTEN: &str = "artifact_path: mlflow-artifacts:/0/models/m-58/artifacts
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_version: 1.23.2
    providers:
    - CUDAExecutionProvider
    - CPUExecutionProvider
  python_function:
    data: model.onnx
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.onnx
    python_version: 3.11.7
is_signature_from_type_hint: false
mlflow_version: 3.17.2
model_id: m-58ed319cc7884ad099ade694287e6f78
model_size_bytes: 209
prompts: null
signature:
  inputs: '[{\"name\": \"INPUT0\", \"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"int32\",
    \"shape\": [-1, 16]}}]'
  outputs: '[{\"name\": \"OUTPUT0\", \"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"int32\",
    \"shape\": [-1, 16]}}]'
  params: null
utc_time_created: '2026-11-22 09:39:18.807314'
";

    #[test]
    fn onnx_is_taken_and_the_rest_refused() {
        let model = parse(WRITTEN.as_bytes(), "simple", 1).unwrap();
        assert_eq!(model.file.as_str(), "model.onnx");
        assert_eq!(model.signature.unwrap().inputs[0].dims, [-1, 16]);
        assert_eq!(model.mlflow_version.as_deref(), Some("3.17.2"));
        let sklearn =
            "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n  sklearn:\n    sklearn_version: 1.9.1\n";
        let error = parse(sklearn.as_bytes(), "sk", 3).unwrap_err();
        assert_eq!(error.code(), SourceErrorCode::Unsupported);
        assert!(error.message().contains("`sklearn` 1.9.1"), "{error}");
        for (text, code) in [
            ("<html>", SourceErrorCode::InvalidModel),
            ("flavors: [", SourceErrorCode::InvalidModel),
            ("flavors: 1", SourceErrorCode::InvalidModel),
            ("flavors: {onnx: {data: ../../etc/passwd}}", SourceErrorCode::UnsafePath),
            ("flavors: {onnx: {}}", SourceErrorCode::InvalidModel),
            ("{}", SourceErrorCode::Unsupported),
        ] {
            assert_eq!(parse(text.as_bytes(), "x", 1).unwrap_err().code(), code, "{text}");
        }
    }
}
