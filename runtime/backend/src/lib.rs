//! The contract between the runtime and whatever computes: backends, models, instances, batches.
//!
//! A backend sees tensors and a model's configuration. It sees no protocol, no other model and no queue.
//! The invariant kept here: every request of a batch is answered exactly once with a final response,
//! whatever the backend does ([`Batch::finish`] answers those that it forgot).

mod batch;
mod code_pages;
mod contract;
mod error;
mod request;
mod reshape;
mod response;

pub mod conformance;

pub use batch::{Batch, BatchInput, Member, ResponseSink};
pub use code_pages::release_code_pages;
pub use contract::{Backend, InstancePlacement, Model, ModelInstance, ModelSource, Placement};
pub use error::{ErrorCode, ServingError};
pub use request::{
    InferenceRequest, InputTensor, OutputSelection, ParameterValue, Parameters, SequenceControl, SequenceId,
};
pub use reshape::{client_output_shape, model_input_shape};
pub use response::{InferenceResponse, OutputTensor, RequestTiming};
