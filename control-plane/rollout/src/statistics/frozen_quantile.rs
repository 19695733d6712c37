//! Latency as good or bad: slower than a quantile of the baseline that is estimated once and then frozen.
//!
//! Rule, fixed beforehand: the threshold is the `ceil(quantile * samples)`-th smallest of the first `samples`
//! latencies of the baseline. Until then no latency counts as evidence. Once frozen it never moves. Whatever value
//! comes out, it is fixed before every event that counts, and under "the candidate is no slower" both arms exceed it
//! with the same probability: an unlucky threshold costs time, never the promise about alpha. The 90th percentile finds
//! regressions about three times sooner than the 99th, which is the second guard, for the tail alone.
//!
//! Memory: the largest `(1 - quantile) * samples + 1` values, so the order statistic is exact.

use serde::{Deserialize, Serialize};

/// Estimates one threshold from the first latencies and keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenQuantile {
    samples: u32,
    /// How many of the largest values must be kept.
    keep: u32,
    taken: u32,
    /// Ascending.
    largest: Vec<u64>,
    frozen: Option<u64>,
}

impl FrozenQuantile {
    /// Will freeze at `quantile` in `(0, 1)` of the first `samples` (at least 1) values.
    #[must_use]
    pub fn new(quantile: f64, samples: u32) -> Self {
        let samples = samples.max(1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `samples`")]
        let rank = (quantile.clamp(0.0, 1.0) * f64::from(samples)).ceil() as u32;
        Self { samples, keep: samples - rank.max(1) + 1, taken: 0, largest: Vec::new(), frozen: None }
    }

    /// A threshold that is known beforehand, such as a service level.
    #[must_use]
    pub fn fixed(threshold: u64) -> Self {
        Self { samples: 0, keep: 0, taken: 0, largest: Vec::new(), frozen: Some(threshold) }
    }

    /// Takes a latency of the baseline; nothing once frozen.
    pub fn learn(&mut self, value: u64) {
        if self.frozen.is_some() {
            return;
        }
        self.taken += 1;
        let full = self.largest.len() >= self.keep as usize;
        if !full || self.largest.first().is_some_and(|smallest| value > *smallest) {
            let place = self.largest.partition_point(|kept| *kept < value);
            self.largest.insert(place, value);
            if full {
                self.largest.remove(0);
            }
        }
        if self.taken >= self.samples {
            self.frozen = self.largest.first().copied();
            self.largest = Vec::new();
        }
    }

    /// The threshold; `None` while it is being estimated. A value *above* it is bad.
    #[must_use]
    pub fn threshold(&self) -> Option<u64> {
        self.frozen
    }

    /// Values still needed before the threshold is frozen.
    #[must_use]
    pub fn missing(&self) -> u32 {
        if self.frozen.is_some() { 0 } else { self.samples - self.taken }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::FrozenQuantile;

    #[test]
    fn golden_values_of_numpy_inverted_cdf() {
        // numpy.quantile(x, q, method="inverted_cdf") of x_i = (7919 i) mod 10007, i = 0..999.
        for (quantile, expected) in [(0.9, 9006), (0.99, 9901), (0.5, 5003)] {
            let mut estimate = FrozenQuantile::new(quantile, 1000);
            for index in 0..1000_u64 {
                assert_eq!(estimate.threshold(), None);
                estimate.learn(7919 * index % 10_007);
            }
            assert_eq!(estimate.threshold(), Some(expected), "{quantile}");
            estimate.learn(0);
            assert_eq!((estimate.threshold(), estimate.missing()), (Some(expected), 0));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn is_the_order_statistic(values in proptest::collection::vec(any::<u64>(), 1..200), quantile in 0.01..0.999_f64) {
            let mut estimate = FrozenQuantile::new(quantile, u32::try_from(values.len()).unwrap_or(1));
            values.iter().for_each(|value| estimate.learn(*value));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 200")]
            let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
            assert_eq!(estimate.threshold(), Some(sorted[rank - 1]));
        }
    }
}
