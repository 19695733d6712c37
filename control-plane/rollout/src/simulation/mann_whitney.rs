//! Mann-Whitney on one point a minute, as metric-based canary judges do it, looked at every minute. For comparison.
//!
//! One-sided normal approximation with correction for ties and continuity (Mann and Whitney 1947; Lehmann,
//! Nonparametrics, 1975, section 1.2). Valid when judged once; each further look adds false alarms.

use super::normal_survival;
use crate::Random;

/// The one-sided p-value of "the candidate's values are no larger"; 1 when an arm is empty or all values are equal.
#[must_use]
pub fn mann_whitney_p_value(baseline: &[f64], candidate: &[f64]) -> f64 {
    let (n0, n1) = (baseline.len() as f64, candidate.len() as f64);
    let mut values: Vec<(f64, bool)> = baseline.iter().map(|value| (*value, false)).collect();
    values.extend(candidate.iter().map(|value| (*value, true)));
    values.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut rank_sum, mut ties, mut start) = (0.0, 0.0, 0);
    while start < values.len() {
        let mut end = start;
        while end < values.len() && values[end].0 == values[start].0 {
            end += 1;
        }
        let rank = f64::midpoint((start + 1) as f64, end as f64);
        rank_sum += rank * values[start..end].iter().filter(|(_, candidate)| *candidate).count() as f64;
        let tied = (end - start) as f64;
        ties += tied * (tied * tied - 1.0);
        start = end;
    }
    let u = rank_sum - n1 * (n1 + 1.0) / 2.0;
    let total = n0 + n1;
    let variance = n0 * n1 / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance > 0.0 { normal_survival((u - n0 * n1 / 2.0 - 0.5) / variance.sqrt()) } else { 1.0 }
}

/// What a minute's point is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinuteMetric {
    /// The rate of bad requests, with the rates of both arms.
    ErrorRate {
        /// The baseline's.
        baseline: f64,
        /// The candidate's.
        candidate: f64,
    },
    /// The mean of lognormal latencies (sigma 0.5), the candidate's times a factor.
    MeanLatency {
        /// The factor.
        factor: f64,
    },
}

/// How the watch ended over all runs.
#[derive(Clone, Debug, PartialEq)]
pub struct MinuteOutcome {
    /// Part of the runs that alarmed at any look.
    pub alarmed: f64,
    /// Part of the runs whose last look alone would have alarmed.
    pub alarmed_at_end: f64,
    /// Requests until the alarm, of the runs that had one.
    pub requests: Vec<u64>,
}

/// Watches `minutes` of `per_minute` requests at `share`, judged every minute from minute 5 on.
#[must_use]
pub fn mann_whitney_every_minute(
    metric: MinuteMetric,
    share: f64,
    per_minute: u64,
    minutes: u64,
    alpha: f64,
    runs: u64,
    seed: u64,
) -> MinuteOutcome {
    let (mut at_end, mut requests) = (0_u64, Vec::new());
    for run in 0..runs {
        let mut random = Random::stream(seed, run);
        let (mut baseline, mut candidate) = (Vec::new(), Vec::new());
        let (mut first, mut last) = (None, 1.0);
        for minute in 1..=minutes {
            let points = one_minute(metric, share, per_minute, &mut random);
            baseline.push(points.0);
            candidate.push(points.1);
            if minute >= 5 {
                last = mann_whitney_p_value(&baseline, &candidate);
                if last <= alpha && first.is_none() {
                    first = Some(minute * per_minute);
                }
            }
        }
        at_end += u64::from(last <= alpha);
        requests.extend(first);
    }
    let part = |count: u64| count as f64 / runs as f64;
    MinuteOutcome { alarmed: part(requests.len() as u64), alarmed_at_end: part(at_end), requests }
}

fn one_minute(metric: MinuteMetric, share: f64, per_minute: u64, random: &mut Random) -> (f64, f64) {
    let (mut sums, mut counts) = ([0.0, 0.0], [0.0, 0.0]);
    for _ in 0..per_minute {
        let treated = random.chance(share);
        let value = match metric {
            MinuteMetric::ErrorRate { baseline, candidate } => {
                f64::from(u8::from(random.chance(if treated { candidate } else { baseline })))
            }
            MinuteMetric::MeanLatency { factor } => (0.5 * random.normal()).exp() * if treated { factor } else { 1.0 },
        };
        sums[usize::from(treated)] += value;
        counts[usize::from(treated)] += 1.0;
    }
    (sums[0] / f64::max(counts[0], 1.0), sums[1] / f64::max(counts[1], 1.0))
}

#[cfg(test)]
mod tests {
    use super::mann_whitney_p_value;

    #[test]
    fn golden_values_of_scipy() {
        // scipy.stats.mannwhitneyu(candidate, baseline, alternative="greater", method="asymptotic").
        let baseline = [1.0, 2.0, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0];
        let candidate = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0];
        assert!((mann_whitney_p_value(&baseline, &candidate) - GOLDEN).abs() < 1e-12);
        assert!((mann_whitney_p_value(&[1.0, 1.0], &[1.0]) - 1.0).abs() < 1e-15);
    }

    const GOLDEN: f64 = 0.121_336_407_019_801_92;
}
