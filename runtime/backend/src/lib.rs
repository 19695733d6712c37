//! The contract between the runtime and whatever computes: backends, models, instances, batches.
//!
//! A backend sees tensors and a model's configuration. It sees no protocol, no other model and no queue.
//! The invariant kept here: every request of a batch is answered exactly once with a final response,
//! whatever the backend does ([`Batch::finish`] answers those that it forgot).

mod batch;
mod contract;
mod error;
mod file_pages;
mod free_memory;
mod region;
mod request;
mod reshape;
mod response;

pub mod conformance;

pub use batch::{Batch, BatchInput, InputPart, Member, ResponseSink};
pub use contract::{Backend, InstancePlacement, Model, ModelInstance, ModelSource, PipelinedInstance, Placement};
pub use error::{ErrorCode, ServingError};
pub use file_pages::release_file_pages;
pub use free_memory::give_back_free_memory;
pub use region::{DevicePlace, RegionMemory, RegionOutput, RegionSlice, RequestRegions};
pub use request::{
    InferenceRequest, InputTensor, OutputSelection, ParameterValue, Parameters, SequenceControl, SequenceId,
};
pub use reshape::{client_output_shape, model_input_shape};
pub use response::{DeviceTimes, InferenceResponse, OutputTensor, RequestTiming};
