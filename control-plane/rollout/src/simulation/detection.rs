//! Requests until a worse candidate is found, and until an equal one is promoted on proof.

use crate::Random;
use crate::simulation::BadEvents;
use crate::statistics::{Hypothesis, RelativeRiskTest};

/// Two arms and a share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectionSetting {
    /// The baseline's rate of bad requests.
    pub baseline_rate: f64,
    /// The candidate's.
    pub candidate_rate: f64,
    /// The candidate's share, a fraction.
    pub share: f64,
}

/// Requests of both arms until "no worse" is refuted at `alpha`, per run; `limit` where it isn't before that.
#[must_use]
pub fn detect(setting: &DetectionSetting, alpha: f64, runs: u64, limit: u64, seed: u64) -> Vec<u64> {
    requests_until(setting, Hypothesis::AtMost(1.0), alpha, runs, limit, seed)
}

/// Requests of both arms until "at least `margin` times as bad" is refuted at `alpha`, per run; `limit` where it isn't.
#[must_use]
pub fn promote(setting: &DetectionSetting, margin: f64, alpha: f64, runs: u64, limit: u64, seed: u64) -> Vec<u64> {
    requests_until(setting, Hypothesis::AtLeast(margin), alpha, runs, limit, seed)
}

fn requests_until(
    setting: &DetectionSetting,
    hypothesis: Hypothesis,
    alpha: f64,
    runs: u64,
    limit: u64,
    seed: u64,
) -> Vec<u64> {
    let one_run = |run| {
        let random = Random::stream(seed, run);
        let mut events = BadEvents::new(random, setting.baseline_rate, setting.candidate_rate, setting.share);
        let mut test = RelativeRiskTest::new(hypothesis);
        loop {
            let event = events.next_event();
            if event.request >= limit {
                return limit;
            }
            test.record(event.from_candidate, setting.share, 1);
            if test.refutes(alpha) {
                return event.request;
            }
        }
    };
    (0..runs).map(one_run).collect()
}
