//! Auto-completion: fills what a configuration leaves out, from the model's folder and graph.
//!
//! Pure, and never changes what is given; every filled field is reported with its reason. Follows Triton's rules
//! ("Auto-Generated Model Configuration" in its model configuration document, and the behaviour of its ONNX Runtime
//! backend). Where we differ: one CPU instance instead of two ([`instance_groups`]), a configuration whose declared
//! tensors already contain the first dimension keeps `max_batch_size: 0`, and scalars get an empty reshape also where
//! the model does not batch.

mod backend;
mod instance_groups;
mod scheduling;
mod signature_check;
mod tensors;

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
    /// Whether this machine has a GPU that the model's backend can use.
    pub gpu_available: bool,
    /// Why there is none, with the remedy; for messages. May be empty.
    pub gpu_absence: String,
}

impl CompletionFacts {
    /// Facts of the model called `model_name`: no files seen, batch size 4, no GPU.
    #[must_use]
    pub fn new(model_name: impl Into<String>) -> Self {
        Self {
            model_name: model_name.into(),
            model_files: Vec::new(),
            default_max_batch_size: 4,
            gpu_available: false,
            gpu_absence: String::new(),
        }
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

impl FilledField {
    fn new(path: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), value: value.into(), reason: reason.into() }
    }
}

/// Fills what `config` leaves out: name, backend, platform and file name; batch size, inputs and outputs from
/// `signature`; defaults of version policy, batcher and instance groups. Declared tensors are checked against `signature`.
///
/// # Errors
/// Every contradiction between the configuration and the model's signature; `config` may then be half filled.
pub fn complete(
    config: &mut wire::ModelConfig,
    signature: Option<&ModelSignature>,
    facts: &CompletionFacts,
) -> Result<Vec<FilledField>, Vec<ConfigProblem>> {
    let mut filled = Vec::new();
    let mut problems = Vec::new();
    if config.name.is_empty() {
        config.name.clone_from(&facts.model_name);
        filled.push(FilledField::new("name", &facts.model_name, "name of the model's folder"));
    }
    backend::complete(config, facts, &mut filled);
    if let Some(signature) = signature {
        tensors::complete(config, signature, facts, &mut filled, &mut problems);
        signature_check::check(config, signature, &mut filled, &mut problems);
    }
    scheduling::complete(config, &mut filled);
    instance_groups::complete(config, facts, &mut filled);
    if problems.is_empty() { Ok(filled) } else { Err(problems) }
}

/// Names of the graph inputs that the server feeds, not the client.
fn control_names(config: &wire::ModelConfig) -> impl Iterator<Item = &str> {
    let sequence = match &config.scheduling_choice {
        Some(wire::model_config::SchedulingChoice::SequenceBatching(sequence)) => Some(sequence),
        _ => None,
    };
    sequence.into_iter().flat_map(|sequence| &sequence.control_input).map(|control| control.name.as_str())
}
