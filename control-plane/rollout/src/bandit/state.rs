//! Thompson sampling over Beta-Bernoulli arms, as weights for a traffic table.
//!
//! Source: Thompson, Biometrika 25 (1933); Chapelle and Li, NeurIPS 2011. Instead of one draw per request, the weights are
//! the shares of [`DRAWS`] joint draws in which each arm was best (the same assignment probabilities, in batches), so the
//! router stays a table and every request's probability can be logged. Prior Beta(1, 1). Each arm keeps its floor; the rest
//! is given out in whole basis points by largest remainders.

use serde::{Deserialize, Serialize};

use super::plan::{Reward, ValidatedBandit};
use super::propensity::PropensityEstimate;
use crate::{BasisPoints, Random};

/// Joint draws per update: a weight's standard error is at most 1.1 percentage points.
pub const DRAWS: u16 = 2_000;

/// One finished request, or one late outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanditObservation {
    /// Index of its arm in the plan; an unknown one is ignored.
    pub arm: usize,
    /// Share of that arm in force when the request was assigned, above 0.
    pub probability: BasisPoints,
    /// Whether it succeeded.
    pub success: bool,
    /// Microseconds from arrival to its end, where known.
    pub latency_microseconds: Option<u64>,
}

/// Successes and failures of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmTally {
    /// Rewarded requests.
    pub successes: u64,
    /// The others.
    pub failures: u64,
}

/// A bandit's state; serialisable whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanditState {
    tallies: Vec<ArmTally>,
    estimates: Vec<PropensityEstimate>,
    updates: u64,
    weights: Vec<BasisPoints>,
}

impl BanditState {
    /// The state before the first observation: equal weights.
    #[must_use]
    pub fn new(plan: &ValidatedBandit) -> Self {
        let arms = plan.plan().arms.len();
        Self {
            tallies: vec![ArmTally::default(); arms],
            estimates: vec![PropensityEstimate::default(); arms],
            updates: 0,
            weights: apportion(&vec![1.0; arms], BasisPoints::ZERO),
        }
    }

    /// Takes one observation.
    pub fn absorb(&mut self, plan: &ValidatedBandit, observation: &BanditObservation) {
        let Some(tally) = self.tallies.get_mut(observation.arm) else { return };
        let rewarded = observation.success
            && match plan.plan().reward {
                Reward::Success => true,
                Reward::SuccessWithin { microseconds } => {
                    observation.latency_microseconds.is_some_and(|latency| latency <= microseconds)
                }
            };
        if rewarded {
            tally.successes += 1
        } else {
            tally.failures += 1
        }
        for (arm, estimate) in self.estimates.iter_mut().enumerate() {
            estimate.record(arm == observation.arm, observation.probability, rewarded);
        }
    }

    /// Draws the next weights, one an arm, summing to 10,000, none below the floor.
    ///
    /// Replayable: update `n` of a seed always draws from stream `n`.
    pub fn update(&mut self, plan: &ValidatedBandit) -> &[BasisPoints] {
        let mut random = Random::stream(plan.plan().seed, self.updates);
        self.updates += 1;
        let mut best = vec![0.0; self.tallies.len()];
        for _ in 0..DRAWS {
            let mut leader = (0, f64::NEG_INFINITY);
            for (arm, tally) in self.tallies.iter().enumerate() {
                let draw = random.beta(tally.successes as f64 + 1.0, tally.failures as f64 + 1.0);
                if draw > leader.1 {
                    leader = (arm, draw);
                }
            }
            best[leader.0] += 1.0;
        }
        self.weights = apportion(&best, plan.floor());
        &self.weights
    }

    /// The weights in force.
    #[must_use]
    pub fn weights(&self) -> &[BasisPoints] {
        &self.weights
    }

    /// Successes and failures by arm.
    #[must_use]
    pub fn tallies(&self) -> &[ArmTally] {
        &self.tallies
    }

    /// Unbiased rates by arm.
    #[must_use]
    pub fn estimates(&self) -> &[PropensityEstimate] {
        &self.estimates
    }
}

/// Basis points in proportion to `scores` (not negative, not all zero) above a floor for each; their sum is 10,000.
fn apportion(scores: &[f64], floor: BasisPoints) -> Vec<BasisPoints> {
    let arms = u16::try_from(scores.len()).unwrap_or(u16::MAX);
    let free = BasisPoints::WHOLE.get().saturating_sub(floor.get().saturating_mul(arms));
    let total: f64 = scores.iter().sum();
    let exact: Vec<f64> = scores.iter().map(|score| f64::from(free) * score / total).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10,000")]
    let mut points: Vec<u16> = exact.iter().map(|value| value.floor() as u16).collect();
    let missing = usize::from(free.saturating_sub(points.iter().sum()));
    let mut by_remainder: Vec<usize> = (0..scores.len()).collect();
    by_remainder.sort_by(|left, right| (exact[*right].fract()).total_cmp(&exact[*left].fract()).then(left.cmp(right)));
    for arm in by_remainder.into_iter().cycle().take(missing) {
        points[arm] += 1;
    }
    points.into_iter().filter_map(|value| BasisPoints::new(value + floor.get())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::proptest;

    use super::apportion;
    use crate::BasisPoints;

    proptest! {
        #[test]
        fn weights_sum_to_the_whole_and_keep_the_floor(
            scores in proptest::collection::vec(0.001..1000.0_f64, 2..20), floor in 0_u16..500,
        ) {
            let floor = BasisPoints::new(floor).unwrap();
            let weights = apportion(&scores, floor);
            assert_eq!(weights.iter().map(|weight| u32::from(weight.get())).sum::<u32>(), 10_000);
            assert!(weights.iter().all(|weight| *weight >= floor));
            let total: f64 = scores.iter().sum();
            let free = 10_000.0 - f64::from(floor.get()) * scores.len() as f64;
            for (weight, score) in weights.iter().zip(&scores) {
                let exact = f64::from(floor.get()) + free * score / total;
                assert!((f64::from(weight.get()) - exact).abs() <= 1.0 + 1e-6);
            }
        }
    }
}
