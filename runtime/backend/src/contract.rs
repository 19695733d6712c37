//! The three traits that a backend implements.
//!
//! Life: [`Backend::load`] once per model version (on a loading thread, may take long), then
//! [`Model::create_instance`] once per configured instance (same thread), then [`ModelInstance::execute`] on one
//! thread at a time, not always the same one. Dropping an instance or a model gives its memory back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hanok_model_config::ModelConfig;

use crate::{Batch, ServingError};

/// Everything a backend may know about the model version it loads.
#[derive(Clone, Debug)]
pub struct ModelSource {
    /// Validated and completed configuration.
    pub config: Arc<ModelConfig>,
    /// Version number, above 0.
    pub version: u64,
    /// Folder of the model.
    pub model_directory: PathBuf,
    /// Folder of this version: holds the model file.
    pub version_directory: PathBuf,
    /// Settings of this backend given at start-up (`--backend-config=NAME,key=value`).
    pub settings: BTreeMap<String, String>,
}

impl ModelSource {
    /// Path of the model file: the configured file name, or `default_name`, in the version's folder.
    #[must_use]
    pub fn model_file(&self, default_name: &str) -> PathBuf {
        let name = self.config.default_model_filename.as_str();
        self.version_directory.join(if name.is_empty() { default_name } else { name })
    }
}

/// What an instance runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The host's processors.
    Cpu,
    /// The GPU with this ordinal.
    Gpu(u32),
    /// Wherever the model itself decides.
    Model,
}

/// One instance to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstancePlacement {
    /// Name for threads and logs: `MODEL_GROUP_INDEX`.
    pub name: String,
    /// What it runs on.
    pub placement: Placement,
}

/// A way of computing models, such as ONNX Runtime.
pub trait Backend: Send + Sync + fmt::Debug {
    /// The name that configurations use.
    fn name(&self) -> &'static str;

    /// Loads one version of a model. Called on a thread that may block and take long.
    ///
    /// # Errors
    /// `InvalidArgument` when the model or its configuration is wrong, `Unsupported` when this backend lacks
    /// something (the message names the operator and the remedy), `Unavailable` when a library or device is missing.
    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError>;

    /// Whether models of this backend can execute on GPUs of this machine, now.
    fn executes_on_gpus(&self) -> bool {
        false
    }

    /// Gives back memory that only loading used. Called when start-up has loaded its models, and perhaps again after
    /// later loads; never needed for anything to work.
    fn release_loading_memory(&self) {}
}

/// A loaded version of a model; shared by its instances.
pub trait Model: Send + Sync + fmt::Debug {
    /// Creates one instance. Called on a loading thread, or on the thread that replaces a broken instance.
    ///
    /// # Errors
    /// `ResourceExhausted` when memory is short, `Unsupported` for a placement that this backend lacks.
    fn create_instance(&self, placement: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError>;

    /// Whether one execution on zeroes before the model is ready pays (first-run allocations, lazy compilation).
    ///
    /// Only asked when the configuration has no warm-up of its own and every dimension is known.
    fn gains_from_warmup(&self) -> bool {
        false
    }

    /// Memory held by the loaded model in bytes, as well as the backend can tell; 0 when it cannot.
    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// Executes batches, one at a time.
pub trait ModelInstance: Send + fmt::Debug {
    /// Computes one batch: reads [`Batch::input`], gives [`Batch::set_output`] for the whole batch, or answers its
    /// members one by one ([`Batch::members_mut`]).
    ///
    /// Blocking is expected. Inputs are valid until the call returns and not longer. Outputs are handed over as
    /// [`bytes::Bytes`] that this instance never writes again.
    ///
    /// # Errors
    /// Fails every member that is not answered yet. When the batch had several members, none answered, the scheduler
    /// executes each alone, so that one bad member cannot fail its neighbours.
    ///
    /// # Panics
    /// A panic fails the batch as `Internal`; the instance is dropped and replaced, as one that [`Self::is_lost`].
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError>;

    /// The GPU whose memory the instance reads and writes by itself; `None` for one that computes on the host's memory.
    ///
    /// Such an instance gathers by itself: it gets [`Batch::parts`], tensors of numbers in regions on that GPU among them,
    /// and [`Batch::input`] with a shape but no bytes. It may write outputs to regions there ([`crate::Member::note_placed`]).
    fn device(&self) -> Option<u32> {
        None
    }

    /// The instance as one that overlaps batches; `None` when it executes one after another.
    fn pipelined(&mut self) -> Option<&mut dyn PipelinedInstance> {
        None
    }

    /// Whether the instance is lost, such as with its device's context: it is then dropped and replaced. Asked after an
    /// execution has failed and, of one that has a [`Self::device`], whenever its thread looks for work.
    fn is_lost(&self) -> bool {
        false
    }

    /// Gives the instance what it calls, from any thread and holding no lock, when it is lost without an execution of its own
    /// having failed: its thread then looks at once. It is not called for one that is lost already, which is looked at next.
    fn watch_loss(&mut self, look: Arc<dyn Fn() + Send + Sync>) {
        drop(look);
    }
}

/// An instance that takes the next batch while it computes one: inputs go to the device meanwhile.
pub trait PipelinedInstance {
    /// Starts `batch` and returns before it is computed. At most two are started and not ended. What the batch lends is
    /// not used after the call, but for regions, which the instance holds.
    ///
    /// # Errors
    /// As [`ModelInstance::execute`]. Nothing of this batch is under way then; one that was started before still is.
    fn begin(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError>;

    /// Waits for the batch that was started first and gives its outputs, as [`ModelInstance::execute`] does. `batch` is made
    /// anew of the same members, without inputs.
    ///
    /// # Errors
    /// As [`ModelInstance::execute`]. The batch counts as ended.
    fn end(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError>;
}
