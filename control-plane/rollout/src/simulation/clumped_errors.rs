//! Sticky users whose errors come in clumps: 5 % of the users make all errors. Counted per error, and per user.

use crate::Random;
use crate::statistics::{Hypothesis, RelativeRiskTest, SeenKeys};

const USERS: u64 = 10_000;
const REQUESTS_OF_A_USER: u64 = 20;
const UNLUCKY_USERS: f64 = 0.05;
const SHARE: f64 = 0.1;

/// False rollbacks both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClumpedOutcome {
    /// Runs.
    pub runs: u64,
    /// False rollbacks when the first error of each user counts.
    pub per_user: u64,
    /// False rollbacks when every error counts.
    pub per_error: u64,
}

/// Watches `runs` equal candidates at `alpha`, 200,000 requests of 10,000 users at a share of 10 %; every request of an
/// unlucky user fails.
#[must_use]
pub fn clumped_errors(alpha: f64, runs: u64, seed: u64) -> ClumpedOutcome {
    let mut outcome = ClumpedOutcome { runs, ..ClumpedOutcome::default() };
    for run in 0..runs {
        let mut random = Random::stream(seed, run);
        let mut errors = Vec::new();
        for _ in 0..USERS {
            let (user, from_candidate) = (random.bits(), random.chance(SHARE));
            if random.chance(UNLUCKY_USERS) {
                // Users visit independently of one another, all day long.
                errors.extend((0..REQUESTS_OF_A_USER).map(|_| (random.bits(), user, from_candidate)));
            }
        }
        errors.sort_unstable();
        let mut per_user = RelativeRiskTest::new(Hypothesis::AtMost(1.0));
        let mut per_error = per_user.clone();
        let mut seen = SeenKeys::with_log2_bits(17);
        for (_, user, from_candidate) in errors {
            per_error.record(from_candidate, SHARE, 1);
            if seen.insert(user) {
                per_user.record(from_candidate, SHARE, 1);
            }
        }
        outcome.per_user += u64::from(per_user.refutes(alpha));
        outcome.per_error += u64::from(per_error.refutes(alpha));
    }
    outcome
}
