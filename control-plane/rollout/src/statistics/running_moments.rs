//! Count, mean and variance of a stream in three numbers.
//!
//! Source: Welford, Technometrics 4 (1962); stable where sums of squares are not.

use serde::{Deserialize, Serialize};

/// Moments of the values so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningMoments {
    count: u64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl RunningMoments {
    /// Takes a finite value.
    pub fn record(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Values taken.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean; 0 before the first value.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Variance with divisor `n`; 0 before the second value.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.squares / self.count as f64 }
    }
}
