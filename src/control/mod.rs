//! The control plane in this process: the runtime as it sees it, and its start beside the server.

mod loaded_holds;
mod local_runtime;
mod observation_pump;
mod shadow_views;
mod start;
mod watch;

pub(crate) use loaded_holds::{LoadedHolds, open_registry};
use local_runtime::LocalRuntime;
pub(crate) use start::{check, start};
pub(crate) use watch::{WatchSettings, Watches, Webhooks};
