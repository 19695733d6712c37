//! Experiments watched at every unit: false verdicts on equal arms, and intervals that must hold the truth at all times.

use crate::BasisPoints;
use crate::Random;
use crate::statistics::{DifferenceSequence, RiskRatioSequence};

/// Counts over runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExperimentOutcome {
    /// Runs.
    pub runs: u64,
    /// Runs whose p-value for a difference of means ever was at most alpha although there is none.
    pub false_means: u64,
    /// Runs whose interval of the difference of rates ever missed the true difference.
    pub missed_differences: u64,
    /// Runs whose interval of the ratio of rates missed the true ratio at any of the looks (every 100 units).
    pub missed_ratios: u64,
}

/// Watches `runs` experiments of `units` units; the treatment's share is 10 % for the first half, then 50 %.
///
/// Means are lognormal (sigma 1, skewed) in both arms; rates are 5 % and 7 %.
#[must_use]
pub fn experiment_coverage(alpha: f64, units: u64, runs: u64, seed: u64) -> ExperimentOutcome {
    let mut outcome = ExperimentOutcome { runs, ..ExperimentOutcome::default() };
    for run in 0..runs {
        let mut random = Random::stream(seed, run);
        let mut means = DifferenceSequence::new(units, alpha);
        let mut rates = DifferenceSequence::new(units, alpha);
        let mut ratio = RiskRatioSequence::default();
        let (mut missed_difference, mut missed_ratio) = (false, false);
        for unit in 0..units {
            let (treatment, control) = if unit < units / 2 { (1000, 9000) } else { (5000, 5000) };
            let probability = f64::from(treatment) / 10_000.0;
            let treated = random.chance(probability);
            means.record(treated, probability, random.normal().exp());
            let event = random.chance(if treated { 0.07 } else { 0.05 });
            rates.record(treated, probability, f64::from(u8::from(event)));
            let shares = (BasisPoints::new(treatment), BasisPoints::new(control));
            if let (true, (Some(treatment), Some(control))) = (event, shares) {
                ratio.record(treated, treatment, control);
            }
            // With fewer events than this an asymptotic interval isn't shown either.
            let enough = rates.treatment().mean() * rates.treatment().count() as f64 >= 10.0;
            missed_difference |= enough && rates.interval().is_some_and(|interval| !interval.contains(0.02));
            if unit % 100 == 99 {
                let interval = ratio.interval(alpha);
                missed_ratio |= interval.low > 1.4 || interval.high.is_some_and(|high| high < 1.4);
            }
        }
        outcome.false_means += u64::from(means.p_value() <= alpha);
        outcome.missed_differences += u64::from(missed_difference);
        outcome.missed_ratios += u64::from(missed_ratio);
    }
    outcome
}
