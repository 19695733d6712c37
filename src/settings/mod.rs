//! What the operator says: flags and environment, parsed and checked, nothing acted upon.
//!
//! The only place that reads the environment. Flag spellings are Triton's, so that its start lines work unchanged;
//! flags that this server takes and does not act upon are named in the log ([`inert`]).

mod admin;
pub(crate) mod inert;
mod registry;
mod serve;
mod surroundings;
mod value;

pub(crate) use admin::{AdminFlags, ControlFlags, DEFAULT_STATE, DriftName};
pub(crate) use registry::{ActorFlag, OutputFormat, QuotaFlag, RegistryFlags};
pub(crate) use serve::{LogFormatName, ProfileName, ServeArguments};
pub(crate) use surroundings::Surroundings;
pub(crate) use value::{BackendSetting, backend_setting, by_backend};
