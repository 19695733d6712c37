//! All figures of this crate as data: name, target, measured. Seeds are fixed, so the same code gives the same figures.

use super::{
    DetectionSetting, Figure, LatencyChange, MinuteMetric, NULL_SETTINGS, bandit_regret, binomial_bound,
    clumped_errors, detect, detect_latency, experiment_coverage, fixed_horizon_requests, mann_whitney_every_minute,
    median, null_rollouts, peeked_z_test, promote, quantile, sample_ratio_false_alarms, sample_ratio_units_to_detect,
    z_test_at,
};

/// Probability that a bound fails a promise that holds: three standard errors.
const CHANCE: f64 = 0.00135;
/// Slack on medians that were measured elsewhere, with other seeds.
const SLACK: f64 = 1.1;
const SEED: u64 = 20_260_101;

/// How many runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A fifth of the runs (a tenth of the slowest): for tests.
    Reduced,
    /// The runs that the goals name.
    Full,
}

impl Effort {
    fn runs(self, full: u64) -> u64 {
        match self {
            Self::Reduced => full / 5,
            Self::Full => full,
        }
    }
}

/// Measures everything.
#[must_use]
pub fn figures(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    false_rollbacks(effort, &mut figures);
    detections(&mut figures);
    latencies(effort, &mut figures);
    usual_tests(effort, &mut figures);
    promotions(effort, &mut figures);
    clumps(effort, &mut figures);
    sample_ratios(effort, &mut figures);
    experiments(effort, &mut figures);
    bandits(effort, &mut figures);
    figures
}

/// A count of runs as a percentage, held against a promised probability.
fn promised(name: &str, count: u64, runs: u64, probability: f64) -> Figure {
    let percent = |count: u64| 100.0 * count as f64 / runs as f64;
    let bound = percent(binomial_bound(runs, probability, CHANCE));
    let figure = Figure::at_most(format!("{name}, {runs} runs"), percent(count), bound, "%");
    Figure { target: format!("{} promised, {}", probability * 100.0, figure.target), ..figure }
}

fn false_rollbacks(effort: Effort, figures: &mut Vec<Figure>) {
    for setting in &NULL_SETTINGS {
        for alpha in [0.05, 0.01] {
            let outcome = null_rollouts(setting, alpha, effort.runs(2000), SEED);
            let name = format!("false rollbacks at alpha {} %: {}", alpha * 100.0, setting.name);
            figures.push(promised(&name, outcome.rolled_back + outcome.lost, outcome.runs, alpha));
        }
    }
}

/// Baseline rate, candidate rate, share, known median and 90th percentile of requests.
const DETECTIONS: [(f64, f64, f64, f64, f64); 9] = [
    (0.001, 0.011, 0.1, 4_129.0, 8_691.0),
    (0.0001, 0.0101, 0.05, 5_428.0, 10_416.0),
    (0.01, 0.02, 0.1, 15_781.0, 34_663.0),
    (0.01, 0.02, 0.5, 5_678.0, 12_271.0),
    (0.01, 0.015, 0.1, 62_351.0, 121_608.0),
    (0.001, 0.002, 0.1, 151_850.0, 332_809.0),
    (0.05, 0.06, 0.1, 83_417.0, 155_261.0),
    (0.01, 0.05, 0.1, 1_352.0, 2_903.0),
    (0.001, 0.05, 0.05, 1_061.0, 2_388.0),
];

fn detections(figures: &mut Vec<Figure>) {
    for (baseline_rate, candidate_rate, share, known_median, known_p90) in DETECTIONS {
        let setting = DetectionSetting { baseline_rate, candidate_rate, share };
        // Cheap, and a median needs many runs: the same number at either effort.
        let found = detect(&setting, 0.01, 3000, 5_000_000, SEED);
        let name = format!(
            "requests to find errors {} % -> {} % at {} % share",
            baseline_rate * 100.0,
            (candidate_rate * 1e6).round() / 1e4,
            share * 100.0
        );
        figures.push(Figure::at_most(format!("{name}, median"), median(&found), known_median * SLACK, "requests"));
        figures.push(Figure::at_most(format!("{name}, p90"), quantile(&found, 0.9), known_p90 * 1.2, "requests"));
    }
}

fn latencies(effort: Effort, figures: &mut Vec<Figure>) {
    let settings = [
        (1.1, 0.9, 1_000, 11_112.0),
        (1.1, 0.99, 5_000, 38_338.0),
        (1.2, 0.9, 1_000, 2_332.0),
        (1.05, 0.9, 1_000, 53_025.0),
    ];
    for (factor, quantile_frozen, samples, known) in settings {
        let change = LatencyChange { factor, share: 0.1, quantile: quantile_frozen, samples };
        let found = detect_latency(&change, 0.01, effort.runs(3000), 5_000_000, SEED);
        let name = format!("requests to find latency x{factor} by p{} at 10 % share, median", quantile_frozen * 100.0);
        figures.push(Figure::at_most(name, median(&found), known * SLACK, "requests"));
    }
    let change = LatencyChange { factor: 1.0, share: 0.1, quantile: 0.9, samples: 1_000 };
    let (runs, limit) = (effort.runs(1000), 100_000);
    let alarms = detect_latency(&change, 0.01, runs, limit, SEED).iter().filter(|request| **request < limit).count();
    figures.push(promised("false rollbacks by latency p90, 100k requests", alarms as u64, runs, 0.01));
}

fn usual_tests(effort: Effort, figures: &mut Vec<Figure>) {
    let null = DetectionSetting { baseline_rate: 0.01, candidate_rate: 0.01, share: 0.1 };
    let worse = DetectionSetting { candidate_rate: 0.02, ..null };
    let runs = effort.runs(400);
    let horizon = fixed_horizon_requests(&worse, 2.326_347_874_040_841, 1.281_551_565_544_600_4);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of requests")]
    let requests = horizon.ceil() as u64;
    let beside = |name: &str, value: f64, unit| Figure::beside(name, value, unit);
    figures.push(beside(
        "z-test looked at once: requests for 1 % -> 2 % at 10 % share, 90 % power",
        horizon,
        "requests",
    ));
    let percent = |part: f64| 100.0 * part;
    let once = z_test_at(&null, 0.01, requests, effort.runs(4000), SEED);
    figures.push(beside("z-test looked at once: false alarms at nominal 1 %", percent(once), "%"));
    let power = z_test_at(&worse, 0.01, requests, effort.runs(4000), SEED);
    figures.push(beside("z-test looked at once: 1 % -> 2 % found", percent(power), "%"));
    for (alpha, share) in [(0.01, 0.1), (0.05, 0.1), (0.01, 0.5), (0.05, 0.5)] {
        let setting = DetectionSetting { share, ..null };
        let alarms = peeked_z_test(&setting, alpha, 1000, 200_000, runs, SEED).iter().flatten().count();
        let name = format!(
            "z-test peeked at every 1,000 of 200k, {} % share: false alarms at nominal {} %",
            share * 100.0,
            alpha * 100.0
        );
        figures.push(beside(&name, percent(alarms as f64 / runs as f64), "%"));
    }
    let found: Vec<u64> = peeked_z_test(&worse, 0.01, 1000, 200_000, runs, SEED).into_iter().flatten().collect();
    figures.push(beside(
        "z-test peeked at every 1,000: requests to find 1 % -> 2 %, median",
        median(&found),
        "requests",
    ));
    minute_watch(effort, figures);
}

fn minute_watch(effort: Effort, figures: &mut Vec<Figure>) {
    let runs = effort.runs(400);
    let watch = |metric| mann_whitney_every_minute(metric, 0.1, 1000, 120, 0.01, runs, SEED);
    let cases = [
        (
            "error rate",
            MinuteMetric::ErrorRate { baseline: 0.01, candidate: 0.01 },
            MinuteMetric::ErrorRate { baseline: 0.01, candidate: 0.02 },
            "1 % -> 2 %",
        ),
        ("mean latency", MinuteMetric::MeanLatency { factor: 1.0 }, MinuteMetric::MeanLatency { factor: 1.1 }, "x1.1"),
    ];
    for (name, null, worse, change) in cases {
        let quiet = watch(null);
        let prefix = format!("Mann-Whitney on {name} per minute, 1,000 requests a minute, 10 % share");
        figures.push(Figure::beside(
            format!("{prefix}: false alarms judged every minute for 2 h, nominal 1 %"),
            100.0 * quiet.alarmed,
            "%",
        ));
        figures.push(Figure::beside(
            format!("{prefix}: false alarms judged once after 2 h, nominal 1 %"),
            100.0 * quiet.alarmed_at_end,
            "%",
        ));
        let found = watch(worse);
        figures.push(Figure::beside(format!("{prefix}: {change} found within 2 h"), 100.0 * found.alarmed, "%"));
        figures.push(Figure::beside(
            format!("{prefix}: requests to find {change}, median"),
            median(&found.requests),
            "requests",
        ));
    }
}

fn promotions(effort: Effort, figures: &mut Vec<Figure>) {
    let limit = 5_000_000;
    for (margin, share, known) in [(1.5, 0.1, 38_964.0), (2.0, 0.1, 11_406.0), (1.5, 0.5, 17_112.0)] {
        let equal = DetectionSetting { baseline_rate: 0.01, candidate_rate: 0.01, share };
        let name =
            format!("requests to promote an equal candidate, margin {margin}, {} % share, median", share * 100.0);
        let found = promote(&equal, margin, 0.05, effort.runs(3000), limit, SEED);
        figures.push(Figure::at_most(name, median(&found), known * SLACK, "requests"));
        let at_margin = DetectionSetting { candidate_rate: 0.01 * margin, ..equal };
        let (runs, horizon) = (effort.runs(2000), 400_000);
        let promoted = promote(&at_margin, margin, 0.05, runs, horizon, SEED);
        let count = promoted.iter().filter(|request| **request < horizon).count() as u64;
        let name = format!("false promotions at margin {margin}, {} % share, 400k requests", share * 100.0);
        figures.push(promised(&name, count, runs, 0.05));
    }
}

fn clumps(effort: Effort, figures: &mut Vec<Figure>) {
    let outcome = clumped_errors(0.01, effort.runs(2000), SEED);
    figures.push(promised("false rollbacks with clumped errors, per user", outcome.per_user, outcome.runs, 0.01));
    let per_error = 100.0 * outcome.per_error as f64 / outcome.runs as f64;
    figures.push(Figure::beside("the same when every error counts (the trap), nominal 1 %", per_error, "%"));
}

fn sample_ratios(effort: Effort, figures: &mut Vec<Figure>) {
    let runs = effort.runs(1000) / if effort == Effort::Reduced { 2 } else { 1 };
    let alarms = sample_ratio_false_alarms(0.001, 300_000, runs, SEED);
    figures.push(promised("sample-ratio false alarms in 300k units at alpha 0.1 %", alarms, runs, 0.001));
    for (actual, known) in [(0.51, 40_050.0), (0.52, 10_300.0), (0.55, 2_200.0)] {
        let runs = effort.runs(1000);
        let limit = 400_000;
        let found = sample_ratio_units_to_detect(actual, 0.001, limit, runs, SEED);
        let units: Vec<u64> = found.into_iter().map(|found| found.unwrap_or(limit)).collect();
        let name =
            format!("units to find {:.0}/{:.0} instead of 50/50, median", actual * 100.0, (1.0 - actual) * 100.0);
        figures.push(Figure::beside(format!("{name} (known: {known})"), median(&units), "units"));
        if actual == 0.51 {
            figures.push(Figure::at_most("units to find 51/49, p90", quantile(&units, 0.9), 80_000.0, "units"));
        }
    }
}

fn experiments(effort: Effort, figures: &mut Vec<Figure>) {
    let outcome = experiment_coverage(0.05, 20_000, effort.runs(1000), SEED);
    let mut push = |name: &str, count| figures.push(promised(name, count, outcome.runs, 0.05));
    push("experiment: false verdicts on skewed means, watched at every unit", outcome.false_means);
    push("experiment: difference of rates ever outside its interval", outcome.missed_differences);
    push("experiment: ratio of rates ever outside its interval", outcome.missed_ratios);
}

fn bandits(effort: Effort, figures: &mut Vec<Figure>) {
    let outcome = bandit_regret([0.10, 0.12], 10_000, effort.runs(300), SEED);
    let shares = &outcome.better_shares;
    let place = |fraction: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within the shares")]
        let index = (fraction * shares.len() as f64) as usize;
        shares.get(index).copied().unwrap_or_default() * 100.0
    };
    figures.push(Figure::at_most(
        "bandit 0.10 / 0.12: regret per request (even split: 0.01, known: 0.0026)",
        outcome.regret,
        0.005,
        "reward",
    ));
    figures.push(Figure::beside("bandit 0.10 / 0.12: traffic to the better arm, median", place(0.5), "%"));
    figures.push(Figure::beside("bandit 0.10 / 0.12: traffic to the better arm, p10", place(0.1), "%"));
    figures.push(Figure::beside(
        "bandit: inverse-propensity rate of the 0.10 arm, mean over runs",
        outcome.first_rate,
        "rate",
    ));
    figures.push(Figure::beside(
        "bandit: plain rate of the 0.10 arm (biased), mean over runs",
        outcome.first_plain_rate,
        "rate",
    ));
    let equal = bandit_regret([0.10, 0.10], 10_000, effort.runs(300), SEED);
    let runs = effort.runs(300);
    let missed = 2 * runs - equal.covered - outcome.covered;
    figures.push(promised("bandit: true rate outside its 95 % interval at the end", missed, 2 * runs, 0.05));
}
