//! The commands, one module each.

pub(crate) mod apply;
pub(crate) mod bench;
pub(crate) mod declared;
pub(crate) mod doctor;
pub(crate) mod error;
pub(crate) mod features;
pub(crate) mod infer;
pub(crate) mod lock;
pub(crate) mod models;
pub(crate) mod pull;
pub(crate) mod registry;
pub(crate) mod rollout;
pub(crate) mod serve;
mod text_table;
