//! A latency regression found through the frozen quantile of the baseline, threshold estimated as in service.

use super::normal_survival;
use crate::Random;
use crate::simulation::BadEvents;
use crate::statistics::{FrozenQuantile, Hypothesis, RelativeRiskTest};

/// Lognormal latencies (sigma 0.5, median 10 ms), the candidate's times a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyChange {
    /// The factor: 1.1 is 10 % slower.
    pub factor: f64,
    /// The candidate's share, a fraction.
    pub share: f64,
    /// The frozen quantile.
    pub quantile: f64,
    /// Latencies of the baseline from which it is estimated.
    pub samples: u32,
}

const SIGMA: f64 = 0.5;
const MEDIAN_MICROSECONDS: f64 = 10_000.0;

/// Requests of both arms, after the threshold is frozen, until "no slower" is refuted at `alpha`, per run; `limit` where
/// it isn't before that.
#[must_use]
pub fn detect_latency(change: &LatencyChange, alpha: f64, runs: u64, limit: u64, seed: u64) -> Vec<u64> {
    let one_run = |run| {
        let mut random = Random::stream(seed, run);
        let threshold = estimate(change, &mut random);
        // Latencies are whole microseconds rounded down, so "above the threshold" means at least the next one.
        let z = ((threshold + 1.0) / MEDIAN_MICROSECONDS).ln() / SIGMA;
        let (baseline, candidate) = (normal_survival(z), normal_survival(z - change.factor.ln() / SIGMA));
        let mut events = BadEvents::new(random, baseline, candidate, change.share);
        let mut test = RelativeRiskTest::new(Hypothesis::AtMost(1.0));
        loop {
            let event = events.next_event();
            if event.request >= limit {
                return limit;
            }
            test.record(event.from_candidate, change.share, 1);
            if test.refutes(alpha) {
                return event.request;
            }
        }
    };
    (0..runs).map(one_run).collect()
}

fn estimate(change: &LatencyChange, random: &mut Random) -> f64 {
    let mut threshold = FrozenQuantile::new(change.quantile, change.samples);
    while threshold.threshold().is_none() {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, never negative")]
        threshold.learn((MEDIAN_MICROSECONDS * (SIGMA * random.normal()).exp()) as u64);
    }
    threshold.threshold().unwrap_or_default() as f64
}
