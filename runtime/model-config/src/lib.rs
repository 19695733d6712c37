//! A model's configuration: Triton's `config.pbtxt`, parsed, completed, validated.
//!
//! No file is read here and no model is loaded; the invariant is that nothing in a configuration is ignored in silence.

mod completion;
mod config;
mod element_type;
mod error;
mod json;
mod load;
mod onnx;
mod pbtxt;
mod scalar;
mod signature;
mod suggestion;
mod validation;
pub mod wire;

pub use completion::{CompletionFacts, FilledField, complete};
pub use config::*;
pub use error::{ConfigError, ConfigProblem, Notice};
pub use json::{parse_json, to_json};
pub use load::{LoadedConfig, load_config, load_wire_config};
pub use onnx::{OnnxGraphFacts, OnnxOperator, OnnxOpset, read_onnx_signature};
pub use pbtxt::parse_pbtxt;
pub use signature::{ModelSignature, SignatureTensor};
pub use wire::FILE_DESCRIPTOR_SET;
