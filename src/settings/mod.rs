//! What the operator says: flags and environment, parsed and checked, nothing acted upon.
//!
//! The only place that reads the environment. Flag spellings are Triton's, so that its start lines work unchanged;
//! flags that this server takes and does not act upon are named in the log ([`inert`]).

mod admin;
mod gpu;
pub(crate) mod inert;
mod not_repeated;
mod registry;
mod serve;
mod sources;
mod surroundings;
mod trace;
mod value;
mod watch;

pub(crate) use admin::{AdminFlags, ControlFlags, DEFAULT_STATE, DriftName};
pub(crate) use gpu::{CudaMode, GpuFlags};
pub(crate) use not_repeated::NotRepeated;
pub(crate) use registry::{ActorFlag, DEFAULT_REGISTRY, OutputFormat, QuotaFlag, RegistryFlags, size};
pub(crate) use serve::{CompressionLevelName, LogFormatName, ProfileName, ServeArguments};
pub(crate) use sources::{ReachFlags, SourceFlags};
pub(crate) use surroundings::Surroundings;
pub(crate) use trace::TraceFlags;
pub(crate) use value::{BackendSetting, backend_setting, by_backend};
pub(crate) use watch::{WatchFlags, Watched};
