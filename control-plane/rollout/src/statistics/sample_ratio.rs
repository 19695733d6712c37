//! Sample-ratio check: do the arms get the units that their shares promise?
//!
//! Sequential multinomial test of Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022,
//! section 3: the Dirichlet-multinomial Bayes factor against fixed shares is a martingale under them, so it *ever*
//! reaches `1 / alpha` with probability at most `alpha`. Two additions: shares may change from unit to unit (each
//! factor is a prediction made before the unit, divided by its share, so the product stays a martingale; with constant
//! shares it equals theirs with parameter `concentration * shares`, which a test checks), and the concentration is
//! averaged over 100, 1,000 and 10,000, for large, middling and small mismatches.
//!
//! With sticky keys the caller counts each key once.

use serde::{Deserialize, Serialize};

use super::log_mean_exp;

const CONCENTRATIONS: [f64; 3] = [100.0, 1_000.0, 10_000.0];

/// The check's state. Memory: two numbers an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRatioTest {
    counts: Vec<u64>,
    expected: Vec<f64>,
    log_ratios: [f64; 3],
    log_e_max: f64,
}

impl SampleRatioTest {
    /// A check of `arms` arms with no units yet.
    #[must_use]
    pub fn new(arms: usize) -> Self {
        Self { counts: vec![0; arms], expected: vec![0.0; arms], log_ratios: [0.0; 3], log_e_max: 0.0 }
    }

    /// Takes one unit that was assigned to `arm` while `shares` (one an arm, sum 1) were in force.
    ///
    /// Ignored when `arm` had no share or all of it, or when `shares` has another length: no chance was involved.
    pub fn record(&mut self, arm: usize, shares: &[f64]) {
        let own = shares.get(arm).copied().unwrap_or_default();
        if shares.len() != self.counts.len() || !(own > 0.0 && own < 1.0) {
            return;
        }
        for (log_ratio, concentration) in self.log_ratios.iter_mut().zip(CONCENTRATIONS) {
            let tilt = |index: usize| {
                let prior = concentration * shares[index];
                if prior > 0.0 { (prior + self.counts[index] as f64) / (prior + self.expected[index]) } else { 0.0 }
            };
            let total: f64 = (0..shares.len()).map(|index| shares[index] * tilt(index)).sum();
            *log_ratio += (tilt(arm) / total).ln();
        }
        self.counts[arm] += 1;
        for (expected, share) in self.expected.iter_mut().zip(shares) {
            *expected += share;
        }
        let largest = self.log_ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest > self.log_e_max {
            self.log_e_max = self.log_e_max.max(log_mean_exp(&self.log_ratios));
        }
    }

    /// Natural logarithm of the largest E-value so far, at least 0.
    #[must_use]
    pub fn log_e_max(&self) -> f64 {
        self.log_e_max
    }

    /// Whether "the shares are as promised" is refuted at `alpha`: once true, always true.
    #[must_use]
    pub fn refutes(&self, alpha: f64) -> bool {
        self.log_e_max >= -alpha.ln()
    }

    /// Units counted, by arm.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Units that the shares promised, by arm.
    #[must_use]
    pub fn expected(&self) -> &[f64] {
        &self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::{CONCENTRATIONS, SampleRatioTest};
    use crate::random::Random;

    #[test]
    fn constant_shares_give_the_dirichlet_multinomial() {
        let shares = [0.5, 0.3, 0.2];
        let mut test = SampleRatioTest::new(3);
        let mut random = Random::new(3);
        for _ in 0..500 {
            let draw = random.uniform();
            test.record(
                if draw < 0.45 {
                    0
                } else if draw < 0.8 {
                    1
                } else {
                    2
                },
                &shares,
            );
        }
        let counts: Vec<f64> = test.counts().iter().map(|count| *count as f64).collect();
        for (concentration, found) in CONCENTRATIONS.iter().zip(test.log_ratios) {
            let closed: f64 = (0..3)
                .map(|arm| {
                    let prior = concentration * shares[arm];
                    libm::lgamma(prior + counts[arm]) - libm::lgamma(prior) - counts[arm] * shares[arm].ln()
                })
                .sum::<f64>()
                + libm::lgamma(*concentration)
                - libm::lgamma(concentration + 500.0);
            assert!((closed - found).abs() < 1e-8, "{closed} {found}");
        }
    }

    #[test]
    fn units_without_chance_say_nothing() {
        let mut test = SampleRatioTest::new(2);
        test.record(0, &[1.0, 0.0]);
        test.record(1, &[1.0, 0.0]);
        test.record(5, &[0.5, 0.5]);
        assert_eq!(test, SampleRatioTest::new(2));
    }
}
