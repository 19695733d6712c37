//! The control plane as its users meet it: over its admin port, with real routers, a real store and real verdicts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod admin_port;
mod applying;
mod bench;
mod declared;
mod fleet;
mod http_client;
mod inside;
mod judging;
mod killing;
mod planning;
mod registry;
mod router_runtime;
mod webhooks;
