//! ONNX models computed by tract, which is pure Rust and part of the binary.
//!
//! Used where no ONNX Runtime library is found: nothing has to be installed, most models are slower. tract is not
//! meant for decision trees; those have a kernel of their own here. The invariant: what a client gets depends neither on
//! the plan that computed it nor on what was computed before; rows that pad a batch never reach an output, and recurrent
//! operators forget between runs.

mod backend;
mod capabilities;
mod contract;
mod data_type;
mod failure;
mod fixed_plans;
mod graph;
mod input_tensor;
mod instance;
mod model;
mod operators;
mod output_tensor;
mod plan;
mod runner;
mod schedule;
mod shaped_plans;
mod tree_ensemble;

pub use backend::TractBackend;
pub use capabilities::{Capabilities, capabilities};
