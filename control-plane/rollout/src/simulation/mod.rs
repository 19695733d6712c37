//! Seeded simulations that measure what this crate promises, beside the tests that people use instead.
//!
//! The usual tests (fixed-horizon z-test, Mann-Whitney) live here and only here: they are for comparison and judge
//! nothing. Good requests are skipped by geometric sampling wherever a method doesn't look at them, so thousands of runs
//! take seconds. Bounds come from theory: a promised probability plus what chance allows the number of runs
//! ([`binomial_bound`]).

mod bandit_regret;
mod binomial;
mod clumped_errors;
mod detection;
mod event_stream;
mod experiments;
mod figure;
mod figures;
mod fixed_horizon;
mod latency;
mod mann_whitney;
mod null_rollouts;
mod sample_ratio;

pub use bandit_regret::{BanditOutcome, bandit_regret};
pub use binomial::binomial_bound;
pub use clumped_errors::{ClumpedOutcome, clumped_errors};
pub use detection::{DetectionSetting, detect, promote};
pub use event_stream::{BadEvent, BadEvents};
pub use experiments::{ExperimentOutcome, experiment_coverage};
pub use figure::{Figure, median, quantile};
pub use figures::{Effort, figures};
pub use fixed_horizon::{fixed_horizon_requests, peeked_z_test, z_statistic, z_test_at};
pub use latency::{LatencyChange, detect_latency};
pub use mann_whitney::{MinuteMetric, MinuteOutcome, mann_whitney_every_minute, mann_whitney_p_value};
pub use null_rollouts::{NULL_SETTINGS, NullOutcome, NullSetting, null_rollouts};
pub use sample_ratio::{sample_ratio_false_alarms, sample_ratio_units_to_detect};

/// Survival function of the standard normal.
pub(crate) fn normal_survival(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}
