//! Judges canaries, experiments and bandits: pure statistics and pure state machines, nothing that acts.
//!
//! Deliberately absent: files, sockets, clocks, threads, a runtime. The time is an argument, randomness comes from a
//! seed, and whatever a verdict needs is in a state that serde can store and restore to the last bit. Who calls this
//! crate saves the new state and the [`Decision`] in one transaction and only then changes the traffic table.
//!
//! Invariant: every probability that a document of this crate promises holds *however often one looks* (anytime-valid;
//! Ville's inequality). Where a promise is only asymptotic, the item says so.
//!
//! - [`rollout`]: plan, state, `step`, operator commands, explanation in words.
//! - [`experiment`]: A/B/n comparisons with always-valid p-values and intervals.
//! - [`bandit`]: Thompson sampling with a floor, and unbiased rates from what it logged.
//! - [`statistics`]: one file per method, each with its source.
//! - [`simulation`]: seeded simulations that measure what the documents promise, beside the usual tests.

pub mod bandit;
pub mod experiment;
pub mod rollout;
pub mod simulation;
pub mod statistics;

mod basis_points;
mod problem;
mod random;
mod unix_millis;

pub use basis_points::BasisPoints;
pub use problem::Problem;
pub use random::Random;
pub use rollout::{Decision, Observation, RolloutPlan, RolloutState, ValidatedPlan, step};
pub use unix_millis::UnixMillis;
