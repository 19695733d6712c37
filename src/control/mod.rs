//! The control plane in this process: the runtime as it sees it, and its start beside the server.

mod local_runtime;
mod observation_pump;
mod shadow_views;
mod start;

use local_runtime::LocalRuntime;
pub(crate) use start::start;
