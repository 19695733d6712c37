//! Backend, platform and model file, each from the others or from what lies in the version folder.

use super::{CompletionFacts, FilledField};
use crate::wire;

const ONNX_RUNTIME: &str = "onnxruntime";
const ONNX_PLATFORM: &str = "onnxruntime_onnx";
const ONNX_FILE: &str = "model.onnx";

/// Backends that execute ONNX files; only the first has a platform string of Triton's.
const ONNX_ENGINES: [&str; 2] = [ONNX_RUNTIME, "tract"];

pub(super) fn complete(config: &mut wire::ModelConfig, facts: &CompletionFacts, filled: &mut Vec<FilledField>) {
    if config.backend.is_empty()
        && let Some(reason) = onnx_reason(config, facts)
    {
        ONNX_RUNTIME.clone_into(&mut config.backend);
        filled.push(FilledField::new("backend", ONNX_RUNTIME, reason));
    }
    if !ONNX_ENGINES.contains(&config.backend.as_str()) {
        return;
    }
    if config.platform.is_empty() && config.backend == ONNX_RUNTIME {
        ONNX_PLATFORM.clone_into(&mut config.platform);
        filled.push(FilledField::new("platform", ONNX_PLATFORM, "platform of backend `onnxruntime`"));
    }
    if config.default_model_filename.is_empty() {
        ONNX_FILE.clone_into(&mut config.default_model_filename);
        filled.push(FilledField::new("default_model_filename", ONNX_FILE, "file name of ONNX models"));
    }
}

/// Why the model is an ONNX model, if it is.
fn onnx_reason(config: &wire::ModelConfig, facts: &CompletionFacts) -> Option<String> {
    if config.platform == ONNX_PLATFORM {
        return Some(format!("backend of platform `{ONNX_PLATFORM}`"));
    }
    if !config.platform.is_empty() {
        return None;
    }
    if config.default_model_filename.ends_with(".onnx") {
        return Some(format!("`default_model_filename` is `{}`", config.default_model_filename));
    }
    let found = config.default_model_filename.is_empty() && facts.model_files.iter().any(|file| file == ONNX_FILE);
    found.then(|| format!("`{ONNX_FILE}` is in the version folder"))
}
