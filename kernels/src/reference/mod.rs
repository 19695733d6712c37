//! What every operation computes, in plain Rust on host memory: the meaning that kernels are compared with.
//!
//! Sums in `f64`, one loop a definition, nothing fast. A reference takes its operands in its launcher's order, as slices
//! where the launcher takes addresses.
//!
//! # Panics
//! Every reference panics when an operand is shorter than the operation's dimensions say.

mod batching;
mod image;
mod rows;
mod sketch;
mod suppression;
