//! Fuzz targets: one function per parser that reads what a stranger wrote, each with what it must hold for any input.
//!
//! A target returns for every input, or panics because something that must hold does not. `libfuzzer/` mutates inputs
//! under coverage; `tests/replay.rs` runs the checked-in corpora as ordinary tests. The engine is not part of this crate,
//! so that the workspace needs no C++ compiler.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

mod configuration;
mod echo;
mod infer;

pub use configuration::{config_json, config_pbtxt, onnx_signature};
pub use infer::{grpc_infer, http_infer, repository_requests};

/// A target: what an input is given to.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus folder.
pub const TARGETS: [(&str, Target); 6] = [
    ("http_infer", http_infer),
    ("grpc_infer", grpc_infer),
    ("repository_requests", repository_requests),
    ("config_pbtxt", config_pbtxt),
    ("config_json", config_json),
    ("onnx_signature", onnx_signature),
];
