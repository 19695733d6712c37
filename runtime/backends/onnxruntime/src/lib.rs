//! Models computed by ONNX Runtime, whose shared library is found and opened at run time.
//!
//! Nothing links against it: a binary with this crate builds and starts where there is no ONNX Runtime, and says so.
//! [`locate`] finds the library, [`OnnxRuntimeBackend::open`] opens it, once per process. Inputs are read where the
//! batch lies and outputs are written into memory that becomes the answer, so a tensor is not copied here.
//!
//! Models on GPUs compute with the CUDA provider, and TensorRT where they ask for it; experimental, and off until
//! [`OnnxRuntimeBackend::use_gpus`].
//!
//! Invariants: the library's telemetry never runs ([`TELEMETRY_SWITCH`]); no path of this machine is in a client's
//! message; a model reads no file outside of its own folder.

mod backend;
mod device;
mod element_type;
mod failure;
mod instance;
mod library;
mod model;
mod output_shapes;
mod provider;
mod session;
mod value;

pub use backend::OnnxRuntimeBackend;
pub use library::{Found, LibrarySearch, Place, SearchReport, TELEMETRY_SWITCH, Tried, locate};
