//! The front doors: HTTP, gRPC and metrics, with admission before them and a graceful end behind.
//!
//! Nothing is decided here about models, batches or bytes on the wire: doors take requests in, ask the protocol crate
//! what they mean, the repository who serves them, and write what comes back. The invariants: a refusal costs less than
//! parsing a tensor; no wait is without a limit; every task has an owner that joins it.

mod admission;
mod connection;
mod cuda_regions;
mod description;
mod grpc;
mod http;
mod inference;
mod lifecycle;
mod limits;
mod management;
mod metrics_port;
mod operations;
mod process_memory;
mod request_tracing;
mod server;
mod state;
mod system_regions;
mod trace_settings;
mod traffic;

pub use admission::{Admission, Permit};
pub use cuda_regions::CudaRegions;
pub use lifecycle::{Lifecycle, Stage};
pub use limits::Limits;
pub use management::Management;
pub use server::{BindError, Endpoints, RunningServer};
pub use state::{Behaviour, ServerIdentity, ServerState};
pub use system_regions::SystemRegions;
pub use traffic::{ArmCounts, ArmStatistics, ComparedCopy, ShadowReport, ShadowRunner, Traffic};
