//! What can serve right now: an immutable snapshot, read without a lock and swapped whole.
//!
//! Whoever holds a version may use it to the end, also after it was replaced: memory goes when the last holder is done.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hanok_backend::ServingError;
use hanok_devices::MemoryPromise;
use hanok_model_config::ModelConfig;
use hanok_scheduler::ModelScheduler;
use hanok_telemetry::ModelStatistics;

use crate::{FeatureStep, KeptVersion};

/// One version of one model, loaded and warm.
#[derive(Debug)]
pub struct ReadyVersion {
    /// Name of the model.
    pub model: Arc<str>,
    /// Version number.
    pub version: u64,
    /// The number as text, as protocols want it.
    pub version_text: Box<str>,
    /// Its configuration.
    pub config: Arc<ModelConfig>,
    /// Class labels per output; empty where the configuration names no label file.
    pub labels: Vec<Vec<String>>,
    /// Fills inputs from features before the scheduler gets a request; `None` for a model without features.
    pub features: Option<Arc<dyn FeatureStep>>,
    /// Its scheduler; requests go in here.
    pub scheduler: ModelScheduler,
    /// Its counters.
    pub statistics: Arc<ModelStatistics>,
    /// Memory held by the loaded model in bytes; 0 when unknown.
    pub memory_bytes: u64,
    /// Memory of GPUs that this version holds; given back when it is gone.
    pub device_memory: Option<MemoryPromise>,
    /// How long loading took, in seconds.
    pub load_seconds: f64,
    /// What must stay for as long as it is loaded; dropped last.
    pub(crate) _kept: Option<KeptVersion>,
}

impl ReadyVersion {
    /// The configuration that requests of clients are held against.
    #[must_use]
    pub fn client_config(&self) -> &ModelConfig {
        match &self.features {
            None => &self.config,
            Some(step) => step.client_config(),
        }
    }
}

/// The versions of one model that can serve.
#[derive(Clone, Debug)]
pub struct ReadyModel {
    versions: Vec<Arc<ReadyVersion>>,
}

impl ReadyModel {
    /// A model of these versions; sorted here.
    #[must_use]
    pub fn new(mut versions: Vec<Arc<ReadyVersion>>) -> Self {
        versions.sort_by_key(|version| version.version);
        Self { versions }
    }

    /// Versions, ascending.
    #[must_use]
    pub fn versions(&self) -> &[Arc<ReadyVersion>] {
        &self.versions
    }
}

/// All models that can serve.
#[derive(Debug, Default)]
pub struct ReadyModels {
    snapshot: ArcSwap<HashMap<String, ReadyModel>>,
}

impl ReadyModels {
    /// The version that serves a request for `model`: the one named, or the highest (W-33).
    ///
    /// # Errors
    /// `NotFound`, which Triton words as an unknown model.
    pub fn version(&self, model: &str, version: Option<u64>) -> Result<Arc<ReadyVersion>, ServingError> {
        let snapshot = self.snapshot.load();
        let found = snapshot.get(model).and_then(|ready| match version {
            None => ready.versions.last(),
            Some(number) => ready.versions.iter().find(|candidate| candidate.version == number),
        });
        found.cloned().ok_or_else(|| unknown_model(model, version))
    }

    /// All versions of `model` that serve, ascending; empty when there are none.
    #[must_use]
    pub fn versions(&self, model: &str) -> Vec<Arc<ReadyVersion>> {
        self.snapshot.load().get(model).map(|ready| ready.versions.clone()).unwrap_or_default()
    }

    /// Every version that serves, by model name and version.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ReadyVersion>> {
        let snapshot = self.snapshot.load();
        let mut all: Vec<_> = snapshot.values().flat_map(|ready| ready.versions.iter().cloned()).collect();
        all.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
        all
    }

    /// Replaces the versions of `model` (none removes it) and gives those that were there before.
    pub(crate) fn replace(&self, model: &str, versions: Vec<Arc<ReadyVersion>>) -> Vec<Arc<ReadyVersion>> {
        let replacement = (!versions.is_empty()).then(|| ReadyModel::new(versions));
        let before = self.snapshot.rcu(|snapshot| {
            let mut next = HashMap::clone(snapshot);
            match &replacement {
                Some(ready) => next.insert(model.to_owned(), ready.clone()),
                None => next.remove(model),
            };
            next
        });
        before.get(model).map(|ready| ready.versions.clone()).unwrap_or_default()
    }
}

/// Triton's text for a model or version that does not serve.
pub(crate) fn unknown_model(model: &str, version: Option<u64>) -> ServingError {
    ServingError::not_found(match version {
        None => format!("Request for unknown model: '{model}' is not found"),
        Some(number) => format!("Request for unknown model: '{model}' version {number} is not found"),
    })
}
