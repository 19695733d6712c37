//! Always-valid p-value and interval for the difference of two arms' means (a rate is the mean of zeros and ones).
//!
//! Each unit adds `mean_1 - mean_0 + A (y - mean_1) / p - (1 - A) (y - mean_0) / (1 - p)`, where `A` says whether it was
//! treated, `p` is the probability of that when it was assigned and the means are those of the units before it. These
//! have the true difference as their expectation whatever the past, so shares may move on the way, and their variance is
//! that of the plain difference of means; their mean goes through the asymptotic confidence sequence and its p-value.
//!
//! Source: Waudby-Smith and others, Annals of Statistics 52 (2024), section 3 (sequential experiments by augmented
//! inverse propensity weights). Asymptotic: nothing is said before both arms have [`DifferenceSequence::FIRST_LOOK`] units.

use serde::{Deserialize, Serialize};

use super::mixture_sprt::{log_mixture_ratio, mixing_factor, mixture_radius};
use super::{Interval, RunningMoments};

/// The sequence's state: three sets of moments and the smallest p-value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DifferenceSequence {
    control: RunningMoments,
    treatment: RunningMoments,
    scores: RunningMoments,
    planned_units: u64,
    /// Level for which the mixture is tuned.
    alpha: f64,
    log_ratio_max: f64,
}

impl DifferenceSequence {
    /// Units of each arm before the first verdict.
    pub const FIRST_LOOK: u64 = 100;
    /// Units of each arm that only teach the means, so that the first scores aren't wild.
    const LEARNING: u64 = 20;

    /// A sequence that is tightest around `planned_units` units of both arms together, at level `alpha`.
    #[must_use]
    pub fn new(planned_units: u64, alpha: f64) -> Self {
        let empty = RunningMoments::default();
        Self { control: empty, treatment: empty, scores: empty, planned_units, alpha, log_ratio_max: 0.0 }
    }

    /// Takes a unit with finite `value` whose probability of being treated was `probability`, in `(0, 1)`; ignored outside.
    pub fn record(&mut self, treated: bool, probability: f64, value: f64) {
        if !(probability > 0.0 && probability < 1.0) {
            return;
        }
        if self.control.count().min(self.treatment.count()) >= Self::LEARNING {
            let (zero, one) = (self.control.mean(), self.treatment.mean());
            let correction = if treated { (value - one) / probability } else { (zero - value) / (1.0 - probability) };
            self.scores.record(one - zero + correction);
        }
        if treated {
            self.treatment.record(value)
        } else {
            self.control.record(value)
        }
        if let Some((variance, mixing)) = self.variances() {
            self.log_ratio_max = self.log_ratio_max.max(log_mixture_ratio(self.scores.mean(), variance, mixing));
        }
    }

    /// Variance of the estimate and of the mixture, once a verdict may be given.
    fn variances(&self) -> Option<(f64, f64)> {
        let variance = self.scores.variance();
        if self.control.count().min(self.treatment.count()) < Self::FIRST_LOOK || variance <= 0.0 {
            return None;
        }
        let mixing = mixing_factor(self.planned_units, self.alpha) * variance;
        Some((variance / self.scores.count() as f64, mixing))
    }

    /// The estimated difference, treatment less control; `None` before the first look.
    #[must_use]
    pub fn difference(&self) -> Option<f64> {
        self.variances().map(|_| self.scores.mean())
    }

    /// The always-valid interval of level `1 - alpha`, alpha as given at the start.
    #[must_use]
    pub fn interval(&self) -> Option<Interval> {
        let (variance, mixing) = self.variances()?;
        Some(Interval::around(self.scores.mean(), mixture_radius(variance, mixing, self.alpha)))
    }

    /// The always-valid p-value of "no difference": never grows, 1 before the first look.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        (-self.log_ratio_max).exp()
    }

    /// Moments of the control arm's values.
    #[must_use]
    pub fn control(&self) -> &RunningMoments {
        &self.control
    }

    /// Moments of the treated arm's values.
    #[must_use]
    pub fn treatment(&self) -> &RunningMoments {
        &self.treatment
    }
}
