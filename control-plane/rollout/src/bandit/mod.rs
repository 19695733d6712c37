//! Bandits: traffic that moves towards the better arm while it learns, never below a floor, replayable from its seed.
//!
//! Changes no traffic: gives the weights that the caller puts into the table. What a bandit's weights do to plain
//! averages is undone by [`PropensityEstimate`], from the probability logged with each assignment.

mod plan;
mod propensity;
mod state;

pub use plan::{BanditPlan, Reward, ValidatedBandit};
pub use propensity::PropensityEstimate;
pub use state::{ArmTally, BanditObservation, BanditState, DRAWS};
