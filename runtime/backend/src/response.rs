//! A response as a backend gives it, before any protocol shapes it.

use bytes::Bytes;
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

use crate::Parameters;

/// One output tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTensor {
    /// Element type; normally the configured one.
    pub data_type: DataType,
    /// All dimensions; the first is the batch dimension when the model batches.
    pub shape: Shape,
    /// Row-major, little-endian bytes; usually a view of the batch's output buffer.
    pub data: Bytes,
}

/// Where a request's time went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTiming {
    /// From entering the queue to leaving it.
    pub queue_ns: u64,
    /// Gathering inputs into the batch.
    pub compute_input_ns: u64,
    /// Executing the model.
    pub compute_infer_ns: u64,
    /// Splitting outputs.
    pub compute_output_ns: u64,
}

/// What an execution took by the clock of its device, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTimes {
    /// Gathering on the host and copying to the device.
    pub input_ns: u64,
    /// Computing: the time that the device was busy with it.
    pub infer_ns: u64,
    /// Copying to the host, and to regions.
    pub output_ns: u64,
}

/// One response. A decoupled model gives none or many, others exactly one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferenceResponse {
    /// One entry per configured output; `None` for one that was not asked for.
    pub outputs: SmallVec<[Option<OutputTensor>; 2]>,
    /// Response parameters.
    pub parameters: Parameters,
    /// Filled by the scheduler.
    pub timing: RequestTiming,
}
