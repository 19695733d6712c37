//! A request after validation: what the scheduler queues and a backend reads.
//!
//! Tensors are in the order of the model's configuration, not of the client's message; names are gone.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hanok_telemetry::TraceTimes;
use hanok_tensor::Shape;
use smallvec::SmallVec;

use crate::RequestRegions;

/// One input tensor; its data type is the one that the model's configuration declares.
#[derive(Clone, Debug)]
pub struct InputTensor {
    /// All dimensions; the first is the batch dimension when the model batches.
    pub shape: Shape,
    /// Row-major, little-endian bytes, as long as shape and data type say; a slice of the request's body.
    /// Its start may be unaligned. Empty for a tensor in a region that was not fetched.
    pub data: Bytes,
}

/// Value of a request or response parameter (W-22, W-93).
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer above `i64::MAX`, or one that gRPC sent as unsigned.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    String(Box<str>),
}

/// Parameters in the order sent. Empty allocates nothing.
pub type Parameters = Vec<(Box<str>, ParameterValue)>;

/// Correlation id of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SequenceId {
    /// A number other than 0.
    Number(u64),
    /// A text that is not empty.
    Text(Box<str>),
}

/// The request's place in a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceControl {
    /// Which sequence.
    pub id: SequenceId,
    /// The first request of the sequence.
    pub start: bool,
    /// The last request of the sequence.
    pub end: bool,
}

/// Which of a model's outputs a request wants, by index in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum OutputSelection {
    /// All outputs.
    #[default]
    All,
    /// Only these, in the order that the client named them.
    Only(SmallVec<[u16; 8]>),
}

impl OutputSelection {
    /// Whether the output at `index` is wanted.
    #[must_use]
    pub fn wants(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(indices) => indices.iter().any(|&wanted| usize::from(wanted) == index),
        }
    }
}

/// A validated request for one version of one model.
#[derive(Clone, Debug)]
pub struct InferenceRequest {
    /// The client's id; empty when none was given.
    pub id: Box<str>,
    /// One entry per configured input, `None` for an optional input that was not sent.
    pub inputs: SmallVec<[Option<InputTensor>; 2]>,
    /// Tensors in memory that the client lent by name; `None`, nearly always, when there are none.
    pub regions: Option<Box<RequestRegions>>,
    /// Rows in the batch dimension; 1 for a model that does not batch. At most the model's maximum.
    pub rows: u32,
    /// Outputs to return.
    pub outputs: OutputSelection,
    /// Parameters that are not reserved by the protocol.
    pub parameters: Parameters,
    /// Place in a sequence, if any.
    pub sequence: Option<Box<SequenceControl>>,
    /// Priority level, 1 highest; 0 means the model's default.
    pub priority: u32,
    /// Queue time-out asked for by the request, in microseconds; 0 means the policy's default.
    pub timeout_microseconds: u64,
    /// When the request was received.
    pub received: Instant,
    /// The instant after which an answer is of no use.
    pub deadline: Option<Instant>,
    /// Where it is noted when the request came to which point; `None`, nearly always, for one that is not traced.
    pub trace: Option<Arc<TraceTimes>>,
}
