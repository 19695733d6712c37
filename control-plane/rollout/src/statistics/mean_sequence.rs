//! Confidence sequence for a mean: intervals that all hold at once, so that one may look at each.
//!
//! Source: Waudby-Smith and others, Annals of Statistics 52 (2024), theorem 2.2 (asymptotic: the level holds as the first
//! look moves on, so nothing is shown before [`MeanSequence::FIRST_LOOK`] values; needs finite variance only). Chosen
//! before the empirical-Bernstein sequence (Howard and others, Annals of Statistics 49, 2021) because business metrics and
//! inverse-propensity weights have no useful bound.

use serde::{Deserialize, Serialize};

use super::mixture_sprt::{mixing_factor, mixture_radius};
use super::{Interval, RunningMoments};

/// The sequence's state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanSequence {
    moments: RunningMoments,
    planned_units: u64,
}

impl MeanSequence {
    /// Values before the first interval is shown.
    pub const FIRST_LOOK: u64 = 100;

    /// A sequence that is tightest around `planned_units` values.
    #[must_use]
    pub fn new(planned_units: u64) -> Self {
        Self { moments: RunningMoments::default(), planned_units }
    }

    /// Takes a finite value; values are independent, or each is centred given the ones before.
    pub fn record(&mut self, value: f64) {
        self.moments.record(value);
    }

    /// Count, mean and variance so far.
    #[must_use]
    pub fn moments(&self) -> &RunningMoments {
        &self.moments
    }

    /// The `1 - alpha` interval; `None` before the first look or while all values are equal.
    #[must_use]
    pub fn interval(&self, alpha: f64) -> Option<Interval> {
        let (count, variance) = (self.moments.count(), self.moments.variance());
        if count < Self::FIRST_LOOK || variance <= 0.0 {
            return None;
        }
        let mixing = mixing_factor(self.planned_units, alpha) * variance;
        Some(Interval::around(self.moments.mean(), mixture_radius(variance / count as f64, mixing, alpha)))
    }
}
