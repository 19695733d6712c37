//! What a bandit earns, and what its logs say about the arms afterwards.

use crate::bandit::{BanditObservation, BanditPlan, BanditState, Reward};
use crate::{BasisPoints, Random};

const UPDATE_EVERY: u64 = 100;

/// Averages over runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BanditOutcome {
    /// Part of the traffic that went to the better (last) arm, per run, ascending.
    pub better_shares: Vec<f64>,
    /// Expected reward lost per request against always choosing the better arm.
    pub regret: f64,
    /// Mean over the runs of the inverse-propensity rate of the first arm.
    pub first_rate: f64,
    /// Mean over the runs of the plain success rate of the first arm, which is biased.
    pub first_plain_rate: f64,
    /// Runs in which the 95 % interval of the first arm held its true rate.
    pub covered: u64,
}

/// Runs two arms with success rates `rates` for `requests` requests, floor 5 %, weights drawn anew every 100.
#[must_use]
pub fn bandit_regret(rates: [f64; 2], requests: u64, runs: u64, seed: u64) -> BanditOutcome {
    let mut outcome = BanditOutcome::default();
    for run in 0..runs {
        let declared = BanditPlan {
            bandit: "simulated".to_owned(),
            arms: vec!["first".to_owned(), "second".to_owned()],
            floor_basis_points: 500,
            reward: Reward::Success,
            seed: seed.wrapping_add(run),
        };
        let Ok(plan) = declared.validate() else { continue };
        let mut random = Random::stream(seed, run);
        let mut state = BanditState::new(&plan);
        for request in 0..requests {
            if request % UPDATE_EVERY == 0 {
                state.update(&plan);
            }
            let second = state.weights().get(1).copied().unwrap_or(BasisPoints::ZERO);
            let arm = usize::from(random.chance(second.fraction()));
            let observation = BanditObservation {
                arm,
                probability: state.weights()[arm],
                success: random.chance(rates[arm]),
                latency_microseconds: None,
            };
            state.absorb(&plan, &observation);
        }
        let tally = state.tallies()[0];
        let first = (tally.successes + tally.failures) as f64;
        let part = first / requests as f64;
        outcome.better_shares.push(1.0 - part);
        outcome.regret += part * (rates[1] - rates[0]) / runs as f64;
        outcome.first_plain_rate += tally.successes as f64 / first.max(1.0) / runs as f64;
        outcome.first_rate += state.estimates()[0].rate().unwrap_or_default() / runs as f64;
        let interval = state.estimates()[0].interval(0.05);
        outcome.covered += u64::from(interval.is_some_and(|interval| interval.contains(rates[0])));
    }
    outcome.better_shares.sort_by(f64::total_cmp);
    outcome
}
