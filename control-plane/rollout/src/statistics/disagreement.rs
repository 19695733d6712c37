//! Shadow disagreement against a stated allowance.
//!
//! The same e-process as for bad events: with the allowance in place of the share, a disagreement in place of an event
//! of the candidate and an agreement in place of one of the baseline, `q(d)` is the probability of a disagreement when
//! the *odds* are `d` times those of the allowance. So "odds at most those allowed" is "relative risk at most 1".

use serde::{Deserialize, Serialize};

use super::{Hypothesis, RelativeRiskTest};

/// A test of the rate of disagreement between two models on the same requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisagreementTest {
    allowance: f64,
    test: RelativeRiskTest,
}

impl DisagreementTest {
    /// Tests whether the odds of disagreement are `odds` times those of `allowance`, a rate in `(0, 1)`.
    #[must_use]
    pub fn new(allowance: f64, odds: Hypothesis) -> Self {
        Self { allowance, test: RelativeRiskTest::new(odds) }
    }

    /// Takes `repeats` comparisons with the same result.
    pub fn record(&mut self, disagrees: bool, repeats: u64) {
        self.test.record(disagrees, self.allowance, repeats);
    }

    /// The e-process.
    #[must_use]
    pub fn test(&self) -> &RelativeRiskTest {
        &self.test
    }
}

#[cfg(test)]
mod tests {
    use super::DisagreementTest;
    use crate::statistics::Hypothesis;

    #[test]
    fn finds_a_rate_above_the_allowance_and_lets_pass_one_below() {
        let mut above = DisagreementTest::new(0.01, Hypothesis::AtMost(1.0));
        let mut below = DisagreementTest::new(0.01, Hypothesis::AtMost(1.0));
        let mut enough = DisagreementTest::new(0.01, Hypothesis::AtLeast(2.0));
        for _ in 0..100 {
            above.record(false, 97);
            above.record(true, 3);
            below.record(false, 199);
            below.record(true, 1);
            enough.record(false, 199);
            enough.record(true, 1);
        }
        assert!(above.test().refutes(0.001) && !below.test().refutes(0.5) && enough.test().refutes(0.001));
    }
}
