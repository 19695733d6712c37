//! A model whose answers are known: configuration, folders, samples.
//!
//! Nothing is computed here; expected outputs come from whoever builds the fixture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hanok_model_config::{CompletionFacts, ModelConfig, load_config, read_onnx_signature};
use hanok_tensor::{DataType, Shape};

use super::golden;
use crate::{InferenceRequest, InputTensor, ModelSource, OutputSelection, OutputTensor};

/// How far a computed floating-point value may be from the expected one; everything else must be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Largest absolute difference, added to the relative part.
    pub absolute: f64,
    /// Largest difference as a fraction of the expected value.
    pub relative: f64,
}

impl Tolerance {
    /// Every bit must be equal.
    pub const EXACT: Self = Self { absolute: 0.0, relative: 0.0 };
}

/// One request and its expected answer.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Rows in the batch dimension; 1 for a model that does not batch.
    pub rows: u32,
    /// One entry per configured input, `None` for an optional one that is left out.
    pub inputs: Vec<Option<InputTensor>>,
    /// One entry per configured output.
    pub expected: Vec<OutputTensor>,
    /// How near the outputs must be.
    pub tolerance: Tolerance,
}

impl Sample {
    /// A sample of `rows` rows without inputs and outputs, exact.
    #[must_use]
    pub const fn new(rows: u32) -> Self {
        Self { rows, inputs: Vec::new(), expected: Vec::new(), tolerance: Tolerance::EXACT }
    }

    /// Adds the next input, `shape` with the batch dimension where the model batches.
    #[must_use]
    pub fn input(mut self, shape: &[i64], data: impl Into<Bytes>) -> Self {
        self.inputs.push(Some(InputTensor { shape: Shape::new(shape), data: data.into() }));
        self
    }

    /// Leaves the next, optional, input out.
    #[must_use]
    pub fn absent_input(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    /// Adds the next expected output.
    #[must_use]
    pub fn output(mut self, data_type: DataType, shape: &[i64], data: impl Into<Bytes>) -> Self {
        self.expected.push(OutputTensor { data_type, shape: Shape::new(shape), data: data.into() });
        self
    }

    /// Allows differences.
    #[must_use]
    pub const fn within(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The sample as a request for `outputs`.
    #[must_use]
    pub fn request(&self, outputs: OutputSelection) -> InferenceRequest {
        InferenceRequest {
            id: "".into(),
            regions: None,
            inputs: self.inputs.iter().cloned().collect(),
            rows: self.rows,
            outputs,
            parameters: Vec::new(),
            sequence: None,
            priority: 0,
            timeout_microseconds: 0,
            received: Instant::now(),
            deadline: None,
            trace: None,
        }
    }
}

/// A model with known answers.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Configuration.
    pub config: Arc<ModelConfig>,
    /// Version to load.
    pub version: u64,
    /// Folder of the model; one that need not exist for a backend without files.
    pub model_directory: PathBuf,
    /// Name of the model file in the version's folder; `None` for a backend without files.
    pub model_file: Option<String>,
    /// Settings of the backend.
    pub settings: BTreeMap<String, String>,
    /// Requests with known answers; at least one.
    pub samples: Vec<Sample>,
}

impl Fixture {
    /// A fixture without files, from the text of a `config.pbtxt`.
    ///
    /// # Errors
    /// What is wrong with the configuration, in words.
    pub fn from_config_text(name: &str, text: &str) -> Result<Self, String> {
        let loaded = load_config(text, &CompletionFacts::new(name), None).map_err(|error| error.to_string())?;
        Ok(Self {
            config: Arc::new(loaded.config),
            version: 1,
            model_directory: PathBuf::from(name),
            model_file: None,
            settings: BTreeMap::new(),
            samples: Vec::new(),
        })
    }

    /// A fixture from a model's folder: `config.pbtxt` and `model.onnx` (one of them may be absent), and the samples
    /// of `golden*.json` that are for `version`. With `backend`, the configured backend is replaced by it.
    ///
    /// A golden file is a list of `{"version", "request": {"inputs"}, "response": {"outputs"}, "tolerance": {"absolute",
    /// "relative"}}`, tensors in the protocol's JSON form; a bare `NaN` stands for itself.
    ///
    /// # Errors
    /// What could not be read, in words.
    pub fn from_model_directory(directory: &Path, version: u64, backend: Option<&str>) -> Result<Self, String> {
        let name = directory.file_name().and_then(|name| name.to_str()).ok_or("the folder has no name")?;
        let text = match std::fs::read_to_string(directory.join("config.pbtxt")) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("config.pbtxt of {name}: {error}")),
        };
        let file = directory.join(version.to_string()).join("model.onnx");
        let mut facts = CompletionFacts::new(name);
        let mut signature = None;
        if file.exists() {
            let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            signature = Some(read_onnx_signature(&bytes).map_err(|error| format!("{name}: {error}"))?.signature);
            facts.model_files.push("model.onnx".to_owned());
        }
        let loaded = load_config(&text, &facts, signature.as_ref()).map_err(|error| format!("{name}: {error}"))?;
        let mut config = loaded.config;
        if let Some(backend) = backend {
            backend.clone_into(&mut config.backend);
        }
        let samples = golden::read_samples(directory, version, &config)?;
        Ok(Self {
            config: Arc::new(config),
            version,
            model_directory: directory.to_owned(),
            model_file: signature.map(|_| "model.onnx".to_owned()),
            settings: BTreeMap::new(),
            samples,
        })
    }

    /// Adds a sample.
    #[must_use]
    pub fn sample(mut self, sample: Sample) -> Self {
        self.samples.push(sample);
        self
    }

    /// What a backend is given to load.
    #[must_use]
    pub fn source(&self) -> ModelSource {
        self.source_in(&self.model_directory)
    }

    pub(super) fn source_in(&self, model_directory: &Path) -> ModelSource {
        ModelSource {
            config: Arc::clone(&self.config),
            version: self.version,
            model_directory: model_directory.to_owned(),
            version_directory: model_directory.join(self.version.to_string()),
            settings: self.settings.clone(),
        }
    }
}
