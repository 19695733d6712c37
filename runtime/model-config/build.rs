//! Compiles `proto/model_config.proto` into Rust messages and an encoded descriptor set, without protoc.

use std::error::Error;
use std::path::Path;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/model_config.proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let mut files = protox::compile(["proto/model_config.proto"], ["proto"])?;
    for file in &mut files.file {
        file.source_code_info = None;
    }
    std::fs::write(Path::new(&out).join("model_config.descriptor_set"), files.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.btree_map(["."]);
    config.compile_fds(files)?;
    Ok(())
}
