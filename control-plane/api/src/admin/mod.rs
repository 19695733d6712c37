//! The admin HTTP API: a port of its own, a closed table of routes, and one form of error.
//!
//! hyper and a table of routes, not a framework: axum would bring its extractors, a matcher and tower's utilities for some
//! thirty routes, and the table is what the OpenAPI document is checked against.
//!
//! Invariants: nothing is read of a caller who is not let in (of webhooks, which bring a signature and no token, one bounded
//! body); every body, wait and number of connections is bounded.

mod control_routes;
mod declared_routes;
mod journal_routes;
mod openapi;
mod outcome_routes;
mod problem;
mod registry_routes;
mod registry_schemas;
mod request;
mod routes;
mod runtime_routes;
mod seldom;
mod server;
mod settings;
mod shadow_routes;
mod token;
mod webhook_routes;

pub use openapi::openapi_document;
pub(crate) use routes::{ControlOffer, Offer};
pub(crate) use server::AdminServer;
pub use server::{RunningRuntimeAdmin, RuntimeAdmin};
pub use settings::AdminSettings;
pub use webhook_routes::{WebhookReceiver, WebhookRefusal};
