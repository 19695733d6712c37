//! Compiles the .proto files into Rust messages, services and an encoded descriptor set, without protoc.
//!
//! The messages of `model_config.proto` belong to the crate of model configuration and are referred to there.

use std::error::Error;
use std::path::Path;

use prost::Message;

const MODEL_CONFIG: &str = "model_config.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=../model-config/proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let mut files =
        protox::compile(["proto/grpc_service.proto", "proto/health.proto"], ["proto", "../model-config/proto"])?;
    for file in &mut files.file {
        file.source_code_info = None;
    }
    std::fs::write(Path::new(&out).join("protocol.descriptor_set"), files.encode_to_vec())?;
    let mut builder = tonic_prost_build::configure().btree_map(".").bytes(".");
    for file in files.file.iter().filter(|file| file.name() == MODEL_CONFIG) {
        let messages = file.message_type.iter().map(prost_types::DescriptorProto::name);
        for name in messages.chain(file.enum_type.iter().map(prost_types::EnumDescriptorProto::name)) {
            builder = builder.extern_path(format!(".inference.{name}"), format!("::hanok_model_config::wire::{name}"));
        }
    }
    builder.compile_fds(files)?;
    Ok(())
}
