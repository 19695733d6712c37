//! Watches what a reference names: an alias that moves, a branch that gets a commit, an object that is replaced.
//!
//! Asking is the truth; a webhook only makes it happen sooner. The decision is [`WatchState`], pure; [`watch`] asks, waits
//! and hands on.

mod decision;
mod task;

pub use decision::{Seen, WatchEvent, WatchPlan, WatchState};
pub use task::watch;
