//! An arm's reward rate from data whose assignment probabilities moved, by inverse-propensity weights.
//!
//! Source: Horvitz and Thompson, JASA 47 (1952); the interval is the asymptotic confidence sequence over the weighted
//! rewards, each of which has the arm's rate as its mean whatever came before (Waudby-Smith and others, Annals of
//! Statistics 52, 2024, section 3). Needs the logged probability of each request; the floor bounds the weights.

use serde::{Deserialize, Serialize};

use crate::BasisPoints;
use crate::statistics::{Interval, MeanSequence};

/// Units around which the interval is tightest.
const PLANNED_UNITS: u64 = 10_000;

/// One arm's estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropensityEstimate {
    weighted: MeanSequence,
}

impl Default for PropensityEstimate {
    fn default() -> Self {
        Self { weighted: MeanSequence::new(PLANNED_UNITS) }
    }
}

impl PropensityEstimate {
    /// Takes a request of any arm: `mine` says whether it was this one's, `probability` is that of the arm it went to.
    pub fn record(&mut self, mine: bool, probability: BasisPoints, rewarded: bool) {
        if probability == BasisPoints::ZERO {
            return;
        }
        self.weighted.record(if mine && rewarded { 1.0 / probability.fraction() } else { 0.0 });
    }

    /// The rate, without bias; it may lie a little above 1 by chance. None before the first request.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.weighted.moments().count() > 0).then(|| self.weighted.moments().mean())
    }

    /// The always-valid interval of level `1 - alpha`.
    #[must_use]
    pub fn interval(&self, alpha: f64) -> Option<Interval> {
        self.weighted.interval(alpha)
    }
}
