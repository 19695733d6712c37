//! The backends of this process, by the names that configurations use.
//!
//! An alias lets one engine stand in for another: `onnxruntime` is served by tract where no ONNX Runtime was found.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanok_backend::{Backend, ErrorCode, ServingError};

/// Backends and their settings.
#[derive(Debug, Default)]
pub struct BackendRegistry {
    backends: BTreeMap<String, Arc<dyn Backend>>,
    settings: BTreeMap<String, BTreeMap<String, String>>,
}

impl BackendRegistry {
    /// A registry with the settings given at start-up: `settings[backend][key]`.
    #[must_use]
    pub fn new(settings: BTreeMap<String, BTreeMap<String, String>>) -> Self {
        Self { backends: BTreeMap::new(), settings }
    }

    /// Offers `backend` under `name`, replacing what was there.
    pub fn offer(&mut self, name: impl Into<String>, backend: Arc<dyn Backend>) {
        self.backends.insert(name.into(), backend);
    }

    /// Names on offer and the backends behind them.
    pub fn offered(&self) -> impl Iterator<Item = (&str, &dyn Backend)> {
        self.backends.iter().map(|(name, backend)| (name.as_str(), backend.as_ref()))
    }

    /// The backend called `name`.
    ///
    /// # Errors
    /// `InvalidArgument` that lists what is on offer.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Backend>, ServingError> {
        self.backends.get(name).cloned().ok_or_else(|| {
            let offered: Vec<&str> = self.backends.keys().map(String::as_str).collect();
            ServingError::new(
                ErrorCode::InvalidArgument,
                format!("backend `{name}` is not offered; this server has `{}`", offered.join("`, `")),
            )
        })
    }

    /// Settings of the backend called `name`.
    #[must_use]
    pub fn settings(&self, name: &str) -> BTreeMap<String, String> {
        self.settings.get(name).cloned().unwrap_or_default()
    }
}
