//! Models in plain Rust: the test backends of Triton, for suites and for measuring the server without a model.
//!
//! Not an engine: nothing is read from the model's folder. A configuration chooses the model with the parameter
//! `model`; see [`ModelKind`]. The invariant: what a model gives depends on its inputs and configuration alone.

mod add_sub;
mod arithmetic;
mod backend;
mod decimal_strings;
mod delay;
mod faults;
mod identity;
mod model_kind;
mod repeat;
mod sequence_accumulator;
mod square;

pub use backend::BuiltinBackend;
pub use model_kind::ModelKind;
