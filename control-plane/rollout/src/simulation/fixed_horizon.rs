//! The z-test for two rates: right when looked at once, at a size fixed beforehand; wrong when peeked at. For comparison.
//!
//! One-sided, pooled. Sizes by the usual normal formula for unequal arms (Fleiss, Statistical Methods for Rates and
//! Proportions, chapter 4).

use super::normal_survival;
use crate::Random;
use crate::simulation::DetectionSetting;

/// The pooled z statistic of two counts of bad requests; positive when the candidate is worse, 0 without any.
#[must_use]
pub fn z_statistic(baseline: (u64, u64), candidate: (u64, u64)) -> f64 {
    let ((bad_0, all_0), (bad_1, all_1)) = (baseline, candidate);
    if all_0 == 0 || all_1 == 0 {
        return 0.0;
    }
    let pooled = (bad_0 + bad_1) as f64 / (all_0 + all_1) as f64;
    let variance = pooled * (1.0 - pooled) * (1.0 / all_0 as f64 + 1.0 / all_1 as f64);
    let difference = bad_1 as f64 / all_1 as f64 - bad_0 as f64 / all_0 as f64;
    if variance > 0.0 { difference / variance.sqrt() } else { 0.0 }
}

/// Requests of both arms that the test needs for `power` at one-sided `alpha`; these as standard normal quantiles.
#[must_use]
pub fn fixed_horizon_requests(setting: &DetectionSetting, z_alpha: f64, z_power: f64) -> f64 {
    let (p0, p1, share) = (setting.baseline_rate, setting.candidate_rate, setting.share);
    let pooled = share * p1 + (1.0 - share) * p0;
    let under_equal = (pooled * (1.0 - pooled) * (1.0 / share + 1.0 / (1.0 - share))).sqrt();
    let under_worse = (p1 * (1.0 - p1) / share + p0 * (1.0 - p0) / (1.0 - share)).sqrt();
    ((z_alpha * under_equal + z_power * under_worse) / (p1 - p0)).powi(2)
}

/// Part of `runs` in which the test, looked at once after `requests`, has a p-value at most `alpha`.
#[must_use]
pub fn z_test_at(setting: &DetectionSetting, alpha: f64, requests: u64, runs: u64, seed: u64) -> f64 {
    let found = peeked_z_test(setting, alpha, requests, requests, runs, seed);
    found.iter().flatten().count() as f64 / runs as f64
}

/// The request at which the test, looked at after every `every` of `requests`, first has a p-value at most `alpha`.
#[must_use]
pub fn peeked_z_test(
    setting: &DetectionSetting,
    alpha: f64,
    every: u64,
    requests: u64,
    runs: u64,
    seed: u64,
) -> Vec<Option<u64>> {
    let one_run = |run| {
        let mut random = Random::stream(seed, run);
        let (mut baseline, mut candidate) = ((0, 0), (0, 0));
        for request in 1..=requests {
            let treated = random.chance(setting.share);
            let (rate, counts) =
                if treated { (setting.candidate_rate, &mut candidate) } else { (setting.baseline_rate, &mut baseline) };
            counts.1 += 1;
            counts.0 += u64::from(random.chance(rate));
            if request % every == 0 && normal_survival(z_statistic(baseline, candidate)) <= alpha {
                return Some(request);
            }
        }
        None
    };
    (0..runs).map(one_run).collect()
}

#[cfg(test)]
mod tests {
    use super::{fixed_horizon_requests, normal_survival, z_statistic};
    use crate::simulation::DetectionSetting;

    #[test]
    fn golden_values() {
        // The formula in numpy; the tail by scipy.stats.norm.sf.
        let z = z_statistic((35, 2000), (25, 1000));
        assert!((z - 1.383_208_337_931_220_3).abs() < 1e-9, "{z}");
        assert!((normal_survival(2.326_347_874_040_841) - 0.01).abs() < 1e-15);
        assert!((normal_survival(9.0) / 1.128_588_405_953_832_4e-19 - 1.0).abs() < 1e-12);
        let setting = DetectionSetting { baseline_rate: 0.01, candidate_rate: 0.02, share: 0.1 };
        let requests = fixed_horizon_requests(&setting, 2.326_347_874, 1.281_551_566);
        assert!((requests - 19_373.0).abs() < 1.5, "{requests}");
    }
}
