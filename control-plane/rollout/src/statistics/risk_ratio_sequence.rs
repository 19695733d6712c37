//! Confidence sequence and always-valid p-value for the relative risk of two arms, exact for any rate.
//!
//! The two one-sided e-processes on events (see `relative_risk`), averaged, are one two-sided mixture; the relative risks
//! whose own likelihood isn't `1 / alpha` times smaller than the mixture form the interval (method of mixtures: Robbins
//! 1970; Howard and others, Annals of Statistics 49, 2021, section 3.1). For every true relative risk the intervals of
//! all times hold at once with probability at least `1 - alpha`; nothing is asymptotic.

use serde::{Deserialize, Serialize};

use super::{Hypothesis, RelativeRiskTest, log_mean_exp};
use crate::BasisPoints;

/// Relative risks outside `1 / 10,000 .. 10,000` aren't told apart.
const LARGEST_LOG_RISK: f64 = 9.210_340_371_976_184;

/// Bounds of a relative risk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatioInterval {
    /// Lower bound, at least 0.
    pub low: f64,
    /// Upper bound; none when nothing bounds it yet.
    pub high: Option<f64>,
}

/// Events at one pair of shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsAtShares {
    treatment: BasisPoints,
    control: BasisPoints,
    events: u64,
}

/// The sequence's state: two e-processes, and one count per distinct pair of shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskRatioSequence {
    above: RelativeRiskTest,
    below: RelativeRiskTest,
    from_treatment: u64,
    at_shares: Vec<EventsAtShares>,
    log_e_max: f64,
}

impl Default for RiskRatioSequence {
    fn default() -> Self {
        Self {
            above: RelativeRiskTest::new(Hypothesis::AtMost(1.0)),
            below: RelativeRiskTest::new(Hypothesis::AtLeast(1.0)),
            from_treatment: 0,
            at_shares: Vec::new(),
            log_e_max: 0.0,
        }
    }
}

impl RiskRatioSequence {
    /// Takes one event of a unit that was treated or not, with both arms' shares when it was assigned.
    ///
    /// Ignored when one of the two had no share.
    pub fn record(&mut self, treated: bool, treatment: BasisPoints, control: BasisPoints) {
        if treatment == BasisPoints::ZERO || control == BasisPoints::ZERO {
            return;
        }
        let share = conditional_share(treatment, control);
        self.above.record(treated, share, 1);
        self.below.record(treated, share, 1);
        self.from_treatment += u64::from(treated);
        let same = |entry: &&mut EventsAtShares| entry.treatment == treatment && entry.control == control;
        match self.at_shares.iter_mut().rev().find(same) {
            Some(entry) => entry.events += 1,
            None => self.at_shares.push(EventsAtShares { treatment, control, events: 1 }),
        }
        self.log_e_max = self.log_e_max.max(self.log_e());
    }

    /// Natural logarithm of the two-sided E-value against "the risks are equal", now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mean_exp(&[self.above.log_e(), self.below.log_e()])
    }

    /// The always-valid p-value of "the risks are equal": never grows.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        (-self.log_e_max).exp()
    }

    /// Log-likelihood of a log relative risk, relative to risk 1. Concave.
    fn log_likelihood(&self, log_risk: f64) -> f64 {
        let excess = log_risk.exp_m1();
        let costs = self
            .at_shares
            .iter()
            .map(|entry| entry.events as f64 * (conditional_share(entry.treatment, entry.control) * excess).ln_1p());
        self.from_treatment as f64 * log_risk - costs.sum::<f64>()
    }

    /// The `1 - alpha` interval of the relative risk now. Everything is possible before the first event.
    #[must_use]
    pub fn interval(&self, alpha: f64) -> RatioInterval {
        let floor = self.log_e() + alpha.ln();
        let inside = |log_risk: f64| self.log_likelihood(log_risk) > floor;
        let best = self.most_likely();
        let low = if inside(-LARGEST_LOG_RISK) { 0.0 } else { boundary(best, -LARGEST_LOG_RISK, inside).exp() };
        let high = (!inside(LARGEST_LOG_RISK)).then(|| boundary(best, LARGEST_LOG_RISK, inside).exp());
        RatioInterval { low, high }
    }

    /// The log relative risk of the largest likelihood, by ternary search.
    fn most_likely(&self) -> f64 {
        let (mut low, mut high) = (-LARGEST_LOG_RISK, LARGEST_LOG_RISK);
        for _ in 0..100 {
            let third = (high - low) / 3.0;
            if self.log_likelihood(low + third) < self.log_likelihood(high - third) {
                low += third;
            } else {
                high -= third;
            }
        }
        f64::midpoint(low, high)
    }
}

/// Probability that a unit of either arm is a treated one.
fn conditional_share(treatment: BasisPoints, control: BasisPoints) -> f64 {
    let treatment = f64::from(treatment.get());
    treatment / (treatment + f64::from(control.get()))
}

/// Where `inside` ends between `inner` and `outer`, outside by less than 1e-12 of the way.
fn boundary(mut inner: f64, mut outer: f64, inside: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = f64::midpoint(inner, outer);
        if inside(middle) { inner = middle } else { outer = middle }
    }
    outer
}
