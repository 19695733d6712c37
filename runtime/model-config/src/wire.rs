//! Triton's configuration messages, generated from `proto/model_config.proto`.
//!
//! Only the messages: what they mean is decided by completion and validation. The descriptor set is the one truth for
//! field names, in text, in JSON and in gRPC reflection.

#![allow(missing_docs, reason = "generated from the .proto file, where the messages are described")]
#![allow(clippy::all, clippy::pedantic, reason = "generated code")]

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

include!(concat!(env!("OUT_DIR"), "/inference.rs"));

/// The encoded `FileDescriptorSet` of `model_config.proto`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/model_config.descriptor_set"));

/// Descriptor of [`ModelConfig`].
pub(crate) fn model_config_descriptor() -> MessageDescriptor {
    static DESCRIPTOR: LazyLock<MessageDescriptor> = LazyLock::new(|| {
        let found = DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .ok()
            .and_then(|pool| pool.get_message_by_name("inference.ModelConfig"));
        #[allow(
            clippy::expect_used,
            reason = "the bytes are compiled in by the build script; any test that parses proves it"
        )]
        found.expect("the compiled-in descriptor set holds inference.ModelConfig")
    });
    DESCRIPTOR.clone()
}
