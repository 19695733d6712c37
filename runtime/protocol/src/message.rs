//! An inference request as a client wrote it, before it meets a model's configuration.
//!
//! The neutral form of both protocols. Names borrow from the message; tensors are slices of it. Nothing is checked
//! here against a model.

use std::borrow::Cow;

use bytes::Bytes;
use hanok_backend::{Parameters, SequenceControl};
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

/// An inference request, parsed and not yet validated.
#[derive(Clone, Debug, Default)]
pub struct InferMessage<'a> {
    /// The client's id; empty when none was given.
    pub id: Box<str>,
    /// Parameters that the protocol does not reserve, in the order sent.
    pub parameters: Parameters,
    /// Parameters that it does.
    pub reserved: ReservedParameters,
    /// Inputs in the order sent.
    pub inputs: SmallVec<[MessageInput<'a>; 2]>,
    /// Outputs asked for, in the order sent; empty means all.
    pub outputs: SmallVec<[RequestedOutput<'a>; 2]>,
    /// Whether outputs that the request does not name are wanted as binary data (W-47); gRPC always replies so.
    pub unnamed_outputs_binary: bool,
}

/// Request parameters with a meaning of their own (W-23).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservedParameters {
    /// Place in a sequence; `None` when the id is absent, 0 or empty.
    pub sequence: Option<SequenceControl>,
    /// Priority level, 1 highest; 0 means the model's default.
    pub priority: u32,
    /// Queue time-out in microseconds; 0 means the policy's default.
    pub timeout_microseconds: u64,
    /// Whether a stream asks for a final response without outputs (W-88).
    pub empty_final_response: bool,
}

/// One input tensor.
#[derive(Clone, Debug)]
pub struct MessageInput<'a> {
    /// Name as sent.
    pub name: Cow<'a, str>,
    /// Element type as sent.
    pub data_type: DataType,
    /// Dimensions as sent, with the batch dimension.
    pub shape: Shape,
    /// Where the elements are.
    pub data: TensorSource<'a>,
}

/// Where a tensor's elements are.
#[derive(Clone, Debug)]
pub enum TensorSource<'a> {
    /// In the message: row-major little-endian bytes.
    Inline(Bytes),
    /// In a shared-memory region (W-63).
    SharedMemory(SharedMemoryRange<'a>),
}

/// Part of a shared-memory region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMemoryRange<'a> {
    /// Name of the region.
    pub region: Cow<'a, str>,
    /// First byte, from the start of the region.
    pub offset: u64,
    /// Number of bytes.
    pub byte_size: u64,
}

/// One output that a request names.
#[derive(Clone, Debug)]
pub struct RequestedOutput<'a> {
    /// Name as sent.
    pub name: Cow<'a, str>,
    /// Whether it is wanted as binary data.
    pub binary: bool,
    /// Number of classes wanted (W-56); 0 means the tensor itself.
    pub classification: u32,
    /// Where the client wants it written, if not in the reply.
    pub shared_memory: Option<SharedMemoryRange<'a>>,
}
