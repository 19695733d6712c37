//! The sample-ratio check: false alarms, and units until a mismatch is found.

use crate::Random;
use crate::statistics::SampleRatioTest;

/// Runs of `units` units at the promised shares (50/50) in which the check alarmed at `alpha`.
#[must_use]
pub fn sample_ratio_false_alarms(alpha: f64, units: u64, runs: u64, seed: u64) -> u64 {
    let found = sample_ratio_units_to_detect(0.5, alpha, units, runs, seed);
    found.iter().flatten().count() as u64
}

/// Units until the check, promised 50/50 and given `actual` of the first arm, alarms at `alpha`; none within `limit`.
#[must_use]
pub fn sample_ratio_units_to_detect(actual: f64, alpha: f64, limit: u64, runs: u64, seed: u64) -> Vec<Option<u64>> {
    let one_run = |run| {
        let mut random = Random::stream(seed, run);
        let mut test = SampleRatioTest::new(2);
        for unit in 1..=limit {
            test.record(usize::from(!random.chance(actual)), &[0.5, 0.5]);
            if test.refutes(alpha) {
                return Some(unit);
            }
        }
        None
    };
    (0..runs).map(one_run).collect()
}
