//! The points of a request's way that a trace tells, under the names of Triton's trace files.

/// A point of a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// The request's head is there.
    HttpReceiveStart,
    /// Its body is there.
    HttpReceiveEnd,
    /// The call's head is there; of a stream: the server began to wait for the message.
    GrpcWaitReadStart,
    /// The message is there, decoded.
    GrpcWaitReadEnd,
    /// The request was understood and is handed to its model.
    RequestStart,
    /// It was offered to the scheduler.
    QueueStart,
    /// Its batch left the queue.
    ComputeStart,
    /// The first copy of its batch to a GPU may begin.
    GpuCopyInStart,
    /// The inputs of its batch are on the GPU.
    GpuCopyInEnd,
    /// The inputs of its batch are where the model reads them.
    ComputeInputEnd,
    /// The GPU begins to compute.
    GpuExecuteStart,
    /// The GPU has computed.
    GpuExecuteEnd,
    /// The model has computed.
    ComputeOutputStart,
    /// The outputs may be copied from the GPU.
    GpuCopyOutStart,
    /// The outputs are on the host, or in their regions.
    GpuCopyOutEnd,
    /// The request's answer is cut out of the batch.
    ComputeEnd,
    /// The answer has come to whoever asked for it.
    ResponseComplete,
    /// Nothing more is done for the request but sending its reply.
    RequestEnd,
    /// The reply is written.
    HttpSendStart,
    /// Its last byte was handed to the connection.
    HttpSendEnd,
    /// The reply is made, of a stream the first.
    GrpcSendStart,
    /// It was handed to the connection, of a stream the last.
    GrpcSendEnd,
}

impl Activity {
    /// Every activity, in the order in which they are met.
    pub const ALL: [Self; 22] = [
        Self::HttpReceiveStart,
        Self::HttpReceiveEnd,
        Self::GrpcWaitReadStart,
        Self::GrpcWaitReadEnd,
        Self::RequestStart,
        Self::QueueStart,
        Self::ComputeStart,
        Self::GpuCopyInStart,
        Self::GpuCopyInEnd,
        Self::ComputeInputEnd,
        Self::GpuExecuteStart,
        Self::GpuExecuteEnd,
        Self::ComputeOutputStart,
        Self::GpuCopyOutStart,
        Self::GpuCopyOutEnd,
        Self::ComputeEnd,
        Self::ResponseComplete,
        Self::RequestEnd,
        Self::HttpSendStart,
        Self::HttpSendEnd,
        Self::GrpcSendStart,
        Self::GrpcSendEnd,
    ];

    /// Its name in the file: Triton's, and of the same make where Triton has none (`GPU_`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpReceiveStart => "HTTP_RECV_START",
            Self::HttpReceiveEnd => "HTTP_RECV_END",
            Self::GrpcWaitReadStart => "GRPC_WAITREAD_START",
            Self::GrpcWaitReadEnd => "GRPC_WAITREAD_END",
            Self::RequestStart => "REQUEST_START",
            Self::QueueStart => "QUEUE_START",
            Self::ComputeStart => "COMPUTE_START",
            Self::GpuCopyInStart => "GPU_COPY_IN_START",
            Self::GpuCopyInEnd => "GPU_COPY_IN_END",
            Self::ComputeInputEnd => "COMPUTE_INPUT_END",
            Self::GpuExecuteStart => "GPU_EXECUTE_START",
            Self::GpuExecuteEnd => "GPU_EXECUTE_END",
            Self::ComputeOutputStart => "COMPUTE_OUTPUT_START",
            Self::GpuCopyOutStart => "GPU_COPY_OUT_START",
            Self::GpuCopyOutEnd => "GPU_COPY_OUT_END",
            Self::ComputeEnd => "COMPUTE_END",
            Self::ResponseComplete => "INFER_RESPONSE_COMPLETE",
            Self::RequestEnd => "REQUEST_END",
            Self::HttpSendStart => "HTTP_SEND_START",
            Self::HttpSendEnd => "HTTP_SEND_END",
            Self::GrpcSendStart => "GRPC_SEND_START",
            Self::GrpcSendEnd => "GRPC_SEND_END",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_the_order_of_their_numbers() {
        for (index, activity) in Activity::ALL.into_iter().enumerate() {
            assert_eq!(activity as usize, index, "{}", activity.name());
        }
    }
}
