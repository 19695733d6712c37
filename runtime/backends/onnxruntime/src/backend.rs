//! The backend called `onnxruntime`, over the traits of the contract.

use std::path::Path;
use std::sync::Arc;

use hanok_backend::{Backend, InstancePlacement, Model, ModelInstance, ModelSource, Placement, ServingError};
use hanok_model_config::{InstanceKind, ModelConfig};

use crate::failure::Failure;
use crate::instance::OnnxRuntimeInstance;
use crate::library::{self, Library};
use crate::output_shapes::OutputShapes;
use crate::session::{self, Loaded};

/// ONNX Runtime, opened.
#[derive(Clone, Copy, Debug)]
pub struct OnnxRuntimeBackend {
    library: &'static Library,
}

impl OnnxRuntimeBackend {
    /// The backend's name in configurations.
    pub const NAME: &str = "onnxruntime";

    /// Opens the shared library at `path`, an absolute path such as [`crate::locate`] gives. A second call with the
    /// same path gives the same library.
    ///
    /// # Errors
    /// `Unavailable` when there is no such library, it is something else, it is too old, or another one is open
    /// already; `Internal` when [`crate::TELEMETRY_SWITCH`] is not set.
    pub fn open(path: &Path) -> Result<Self, ServingError> {
        library::open(path).map(|library| Self { library })
    }

    /// Version of the library, such as `1.31.1`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        &self.library.version
    }

    /// The file that was opened.
    #[must_use]
    pub fn path(&self) -> &'static Path {
        &self.library.path
    }
}

impl Backend for OnnxRuntimeBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError> {
        if source.config.instance_groups.iter().any(|group| group.kind == InstanceKind::Gpu) {
            return Err(no_gpu());
        }
        let loaded = session::create(self.library, source)?;
        Ok(Arc::new(OnnxRuntimeModel {
            library: self.library,
            config: Arc::clone(&source.config),
            loaded: Arc::new(loaded),
        }))
    }

    fn release_loading_memory(&self) {
        let bytes = hanok_backend::release_code_pages(&self.library.path);
        tracing::debug!(bytes, "code pages of ONNX Runtime released");
    }
}

fn no_gpu() -> ServingError {
    ServingError::unsupported(
        "backend `onnxruntime` does not execute on GPUs yet: use `instance_group [{ kind: KIND_CPU }]`",
    )
}

#[derive(Debug)]
struct OnnxRuntimeModel {
    library: &'static Library,
    config: Arc<ModelConfig>,
    loaded: Arc<Loaded>,
}

impl Model for OnnxRuntimeModel {
    fn create_instance(&self, placement: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        if let Placement::Gpu(_) = placement.placement {
            return Err(no_gpu());
        }
        let dims = self.config.outputs.iter().map(hanok_model_config::OutputSpec::model_dims);
        Ok(Box::new(OnnxRuntimeInstance {
            library: self.library,
            loaded: Arc::clone(&self.loaded),
            options: self.loaded.run_options().map_err(Failure::into_run_error)?,
            shapes: OutputShapes::new(dims, self.config.batches()),
        }))
    }

    fn memory_bytes(&self) -> u64 {
        self.loaded.bytes
    }
}
