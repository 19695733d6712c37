//! The messages and services of the protocol, generated from `proto/`.
//!
//! Only the messages: what they mean is decided beside this file. Binary tensors are `Bytes`, slices of the received
//! message. Maps are ordered, so that encoding is repeatable.

#![allow(missing_docs, reason = "generated from the .proto files, where the messages are described")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "generated code")]
#![allow(clippy::all, clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]

/// Triton's inference service.
pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// The standard health service.
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

/// The encoded `FileDescriptorSet` of both services and of the model configuration, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/protocol.descriptor_set"));
