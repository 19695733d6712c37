//! The one place that acts: reads what runtimes tell, lets judges judge, makes it durable, and only then moves traffic.
//!
//! Contains no policy: verdicts are `hanok-rollout`'s, tables are derived by `plan`. One task on one thread owns everything
//! here, so calls and ticks never race. Whatever fails in the store ends in a reload: memory never stays ahead of it.

mod apply;
mod commit;
mod error;
mod events;
mod feed;
mod housekeeping;
mod judge;
mod kill_switch;
mod leadership;
mod link;
mod load;
mod orders;
mod reconciling;
mod state;
mod thread;
mod tick;
mod unit_segment;
mod verdicts;
mod views;

pub(crate) use apply::{ApplyRequest, ApplySource, MOST_CHANGES, Reconciliation};
pub(crate) use error::ControlError;
pub(crate) use reconciling::Compared;
pub(crate) use state::Controller;
pub(crate) use thread::{ControlHandle, ControlThread};
pub(crate) use views::View;
