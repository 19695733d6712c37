//! Whether a version can be served, by its flavours; if not, what it holds and how to get ONNX from it. Pure.

use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

/// How a flavour becomes ONNX: its name in `MLmodel`, and what to call.
const EXPORTS: [(&str, &str); 14] = [
    ("sklearn", "skl2onnx.to_onnx(model, sample)"),
    ("xgboost", "onnxmltools.convert_xgboost(model, initial_types=…)"),
    ("lightgbm", "onnxmltools.convert_lightgbm(model, initial_types=…)"),
    ("catboost", "model.save_model(path, format=\"onnx\")"),
    ("pytorch", "torch.onnx.export(model, sample, path, dynamic_axes=…)"),
    ("tensorflow", "tf2onnx.convert.from_keras(model) or from_function(…)"),
    ("keras", "model.export(path, format=\"onnx\")"),
    ("transformers", "optimum-cli export onnx --model MODEL FOLDER"),
    ("sentence_transformers", "optimum-cli export onnx --model MODEL FOLDER"),
    ("spark", "onnxmltools.convert_sparkml(model, name, initial_types=…)"),
    ("paddle", "paddle2onnx --model_dir FOLDER --save_file model.onnx"),
    ("h2o", "train with a library that exports ONNX: H2O does not"),
    ("statsmodels", "rebuild the fitted model with skl2onnx or onnx.helper"),
    ("prophet", "serve its predictions as data: Prophet has no ONNX form"),
];

/// The refusal of a version that holds `flavours` (names with their own versions where known), none of them ONNX.
pub(super) fn refusal(name: &str, version: u64, flavours: &[(String, Option<String>)]) -> SourceError {
    let held: Vec<String> = flavours
        .iter()
        .map(|(flavour, release)| match release {
            Some(release) => format!("`{}` {}", shown(flavour), shown(release)),
            None => format!("`{}`", shown(flavour)),
        })
        .collect();
    let held = if held.is_empty() { "no flavour at all".to_owned() } else { held.join(", ") };
    let export = EXPORTS
        .iter()
        .find(|(known, _)| flavours.iter().any(|(flavour, _)| flavour == known))
        .map(|(_, export)| *export);
    let action = match export {
        Some(export) => format!(
            "export it to ONNX: {export}, then mlflow.onnx.log_model(onnx_model, name=…, registered_model_name=…)"
        ),
        None => "export the model to ONNX and log that with mlflow.onnx.log_model(…): Python code is not run here"
            .to_owned(),
    };
    SourceError::new(
        SourceErrorCode::Unsupported,
        format!("version `{version}` of model `{}` holds {held}, and only `onnx` is served", shown(name)),
        action,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn refusals_name_what_is_held_and_what_to_do() {
        let held = [("python_function".to_owned(), None), ("sklearn".to_owned(), Some("1.9.1".to_owned()))];
        let error = refusal("credit", 7, &held);
        assert_eq!(error.code(), SourceErrorCode::Unsupported);
        assert_eq!(
            error.message(),
            "version `7` of model `credit` holds `python_function`, `sklearn` 1.9.1, and only `onnx` is served"
        );
        assert!(error.action().contains("skl2onnx"), "{error}");
        assert!(refusal("x", 1, &[("python_function".to_owned(), None)]).action().contains("log_model"));
        assert!(refusal("x", 1, &[]).message().contains("no flavour"));
    }
}
