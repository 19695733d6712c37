//! The backend called `onnxruntime`, over the traits of the contract.

use std::path::Path;
use std::sync::Arc;

use hanok_backend::{Backend, InstancePlacement, Model, ModelInstance, ModelSource, Placement, ServingError};
use hanok_devices::{Driver, PinnedPool, PoolSizes};
use hanok_model_config::InstanceKind;

use crate::device::DeviceRuntime;
use crate::library::{self, Library};
use crate::model::OnnxRuntimeModel;
use crate::{provider, session};

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

    /// Lets models execute on the GPUs at `ordinals`, with pools of these sizes and staging out of `pinned`. The first call
    /// decides.
    pub fn use_gpus(
        &self,
        driver: &Arc<Driver>,
        ordinals: impl Iterator<Item = u32>,
        sizes: &PoolSizes,
        pinned: &Arc<PinnedPool>,
    ) {
        let devices = ordinals.map(|ordinal| Arc::new(DeviceRuntime::new(driver, ordinal, sizes, pinned))).collect();
        if self.library.devices.set(devices).is_err() {
            tracing::warn!("the GPUs of backend onnxruntime were chosen before");
        }
    }

    /// Whether the library's CUDA provider, and everything that it needs, can be opened on this machine. Opens it, which may
    /// take seconds.
    ///
    /// # Errors
    /// `Unavailable` with what is missing and how to get it.
    pub fn cuda_provider(&self) -> Result<(), ServingError> {
        session::try_cuda(self.library)
    }
}

impl Backend for OnnxRuntimeBackend {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError> {
        let gpus = source.config.instance_groups.iter().any(|group| group.kind == InstanceKind::Gpu);
        if gpus && self.library.devices.get().is_none_or(Vec::is_empty) {
            return Err(no_gpu());
        }
        Ok(Arc::new(OnnxRuntimeModel::load(self.library, source)?))
    }

    fn executes_on_gpus(&self) -> bool {
        self.library.devices.get().is_some_and(|devices| !devices.is_empty()) && provider::is_built_with_cuda()
    }

    fn release_loading_memory(&self) {
        let bytes = hanok_backend::release_file_pages(&self.library.path);
        hanok_backend::give_back_free_memory();
        tracing::debug!(bytes, "pages of ONNX Runtime released");
    }
}

fn no_gpu() -> ServingError {
    ServingError::unsupported(
        "backend `onnxruntime` has no GPU to execute on: start the server with --cuda, or use `instance_group [{ kind: \
         KIND_CPU }]`",
    )
}

impl Model for OnnxRuntimeModel {
    fn create_instance(&self, placement: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        match placement.placement {
            Placement::Gpu(ordinal) => {
                let devices = self.library.devices.get().map_or(&[][..], Vec::as_slice);
                let device = devices.iter().find(|device| device.ordinal() == ordinal).ok_or_else(no_gpu)?;
                self.gpu_instance(device)
            }
            Placement::Cpu | Placement::Model => self.cpu_instance(),
        }
    }

    fn gains_from_warmup(&self) -> bool {
        self.is_on_gpus()
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes()
    }
}
