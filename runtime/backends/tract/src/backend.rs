//! The backend: a name, and how models are loaded.

use std::sync::Arc;
use std::time::Instant;

use hanok_backend::{Backend, Model, ModelSource, ServingError};

use crate::model::TractModel;

/// Computes ONNX models with tract, inside this process, on the processor.
///
/// Loading reads `model.onnx` (or the configured file) of the version's folder. Every instance computes on the thread
/// that calls it and on no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct TractBackend;

impl TractBackend {
    /// The backend; costs nothing until a model is loaded.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Backend for TractBackend {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError> {
        let started = Instant::now();
        let model = TractModel::load(source)?;
        hanok_backend::give_back_free_memory();
        tracing::debug!(
            model = source.config.name,
            version = source.version,
            milliseconds = started.elapsed().as_secs_f64() * 1e3,
            weight_bytes = model.memory_bytes(),
            "model loaded by tract"
        );
        Ok(Arc::new(model))
    }

    fn release_loading_memory(&self) {
        // The engine is part of this program, and most of what it holds is for reading and optimising graphs.
        let Ok(program) = std::env::current_exe() else { return };
        let bytes = hanok_backend::release_file_pages(&program);
        tracing::debug!(bytes, "pages of this program released");
    }
}
