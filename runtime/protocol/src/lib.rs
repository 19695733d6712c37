//! Triton's wire protocols as values: bytes in, values out, and back.
//!
//! A request of either protocol becomes an [`InferMessage`]; [`prepare`] checks it against the model's
//! configuration and makes the request that the scheduler queues, together with the [`OutputPlan`] that the reply
//! follows. A response and its plan become [`ReplyOutput`]s, which either protocol writes.
//!
//! Nothing here performs I/O, keeps state or reads a clock. The invariants: no input can panic, cost a thread's
//! stack or allocate beyond the limits given; a binary tensor is a slice of its message, never a copy; what is
//! written is always valid JSON or protobuf. W-numbers in comments are the project's list of wire rules.

pub mod classification;
mod description;
mod message;
mod output_plan;
mod parameters;
mod region_lookup;
mod reply;
mod request_validation;
mod status;
mod trace_settings;
pub mod v2_grpc;
pub mod v2_http;

#[cfg(test)]
mod sample_models;

pub use description::{
    ModelMetadata, ModelState, ModelVersionStatistics, RepositoryEntry, ServerMetadata, TRITON_EXTENSIONS,
    TensorMetadata,
};
pub use message::{InferMessage, MessageInput, RequestedOutput, ReservedParameters, SharedMemoryRange, TensorSource};
pub use output_plan::{OutputPlan, PlannedOutput};
pub use parameters::{RESERVED_PREFIX, is_reserved_parameter};
pub use region_lookup::{NoRegions, RegionLookup};
pub use reply::{InferReply, OutputLabels, ReplyOutput, reply_outputs};
pub use request_validation::{UnaryEndpoint, prepare, prepare_with_regions, refuse_decoupled};
pub use status::{StatusProfile, grpc_code, http_status};
pub use trace_settings::{TraceView, trace_changes_of_body, trace_changes_of_message};
