//! A plan in which everything holds that [`step`](super::step()) relies on.

use super::plan::{LatencyThreshold, Metric, MetricKind, RolloutPlan};
use crate::BasisPoints;
use crate::problem::{Problem, Problems};
use crate::statistics::split_alpha;

/// A plan that was checked. The only way to one is [`RolloutPlan::validate`].
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedPlan {
    plan: RolloutPlan,
    fingerprint: u64,
    rollback_alphas: Vec<f64>,
    weights: Vec<BasisPoints>,
}

impl RolloutPlan {
    /// Checks everything.
    ///
    /// # Errors
    /// All problems at once, each with its path.
    pub fn validate(self) -> Result<ValidatedPlan, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.expect_name(&self.rollout, "rollout");
        problems.expect_name(&self.model, "model");
        problems.expect_name(&self.baseline, "baseline");
        problems.expect_name(&self.candidate, "candidate");
        problems.expect(self.baseline != self.candidate, "candidate", "expected another arm than `baseline`");
        problems.expect_probability(self.alpha_rollback, 0.5, "alpha_rollback");
        problems.expect_probability(self.alpha_promotion, 0.5, "alpha_promotion");
        problems.expect(self.maximum_duration_seconds > 0, "maximum_duration_seconds", "expected at least 1 second");
        check_steps(&self, &mut problems);
        let metrics = self.metrics.len();
        problems.expect((1..=64).contains(&metrics), "metrics", format!("expected 1 to 64, found `{metrics}`"));
        problems.expect_distinct(self.metrics.iter().map(|metric| metric.name.as_str()), |index| {
            format!("metrics[{index}].name")
        });
        for (index, metric) in self.metrics.iter().enumerate() {
            check_metric(metric, &format!("metrics[{index}]"), &mut problems);
        }
        let alpha_weights: Vec<f64> = self.metrics.iter().map(|metric| metric.alpha_weight).collect();
        let weights = self.steps.iter().filter_map(|step| BasisPoints::new(step.weight_basis_points)).collect();
        let validated = ValidatedPlan {
            fingerprint: fingerprint(&self),
            rollback_alphas: split_alpha(self.alpha_rollback, &alpha_weights),
            weights,
            plan: self,
        };
        problems.into_result(validated)
    }
}

fn check_steps(plan: &RolloutPlan, problems: &mut Problems) {
    problems.expect(!plan.steps.is_empty(), "steps", "expected at least one step");
    problems.expect(plan.steps.len() <= 1000, "steps", format!("expected at most 1000, found `{}`", plan.steps.len()));
    let mut before = 0;
    let mut shortest = 0_u64;
    for (index, step) in plan.steps.iter().enumerate() {
        let path = format!("steps[{index}]");
        let weight = step.weight_basis_points;
        let place = format!("{path}.weight_basis_points");
        problems.expect((1..=10_000).contains(&weight), &*place, format!("expected 1 to 10000, found `{weight}`"));
        problems.expect(weight > before, &*place, format!("expected more than `{before}`, found `{weight}`"));
        before = weight;
        let given = step.minimum_duration_seconds.is_some() || step.minimum_samples.is_some();
        problems.expect(given, &*path, "expected `minimum_duration_seconds` or `minimum_samples`");
        problems.expect(step.minimum_samples != Some(0), format!("{path}.minimum_samples"), "expected at least 1");
        shortest = shortest.saturating_add(step.minimum_duration_seconds.unwrap_or_default());
    }
    problems.expect(
        shortest <= plan.maximum_duration_seconds,
        "maximum_duration_seconds",
        format!("expected at least the `{shortest}` seconds of the steps, found `{}`", plan.maximum_duration_seconds),
    );
}

fn check_metric(metric: &Metric, path: &str, problems: &mut Problems) {
    problems.expect_name(&metric.name, format!("{path}.name"));
    let weight = metric.alpha_weight;
    problems.expect(
        weight > 0.0 && weight <= 1000.0,
        format!("{path}.alpha_weight"),
        format!("expected above 0 and at most 1000, found `{weight}`"),
    );
    if let Some(margin) = metric.margin_ratio {
        problems.expect(
            margin > 1.0 && margin <= 1000.0,
            format!("{path}.margin_ratio"),
            format!("expected a ratio above 1 and at most 1000, found `{margin}`"),
        );
    }
    match &metric.kind {
        MetricKind::ErrorRate | MetricKind::Label { .. } => {}
        MetricKind::Disagreement { allowance } => {
            problems.expect_probability(*allowance, 1.0, format!("{path}.kind.allowance"));
        }
        MetricKind::Latency { threshold: LatencyThreshold::Microseconds(limit) } => {
            problems.expect(*limit > 0, format!("{path}.kind.threshold"), "expected at least 1 microsecond");
        }
        MetricKind::Latency { threshold: LatencyThreshold::BaselineQuantile { quantile, samples } } => {
            let path = format!("{path}.kind.threshold");
            problems.expect_probability(*quantile, 1.0, format!("{path}.quantile"));
            let least = 10.0 / (1.0 - quantile);
            problems.expect(
                f64::from(*samples) >= least - 1e-6 && *samples <= 100_000,
                format!("{path}.samples"),
                format!("expected {least:.0} to 100000 for this quantile, found `{samples}`"),
            );
        }
    }
}

impl ValidatedPlan {
    /// The plan as it was declared.
    #[must_use]
    pub fn plan(&self) -> &RolloutPlan {
        &self.plan
    }

    /// Identifies the plan's content: a state remembers it, so that it is never judged by another plan.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The part of `alpha_rollback` that metric `index` may spend.
    pub(crate) fn rollback_alpha(&self, index: usize) -> f64 {
        self.rollback_alphas.get(index).copied().unwrap_or(f64::MIN_POSITIVE)
    }

    /// The weight of step `index`; zero past the last, where no state ever stands.
    pub(crate) fn weight(&self, index: usize) -> BasisPoints {
        self.weights.get(index).copied().unwrap_or_default()
    }
}

/// FNV-1a, 64 bits, of the plan's JSON.
fn fingerprint(plan: &RolloutPlan) -> u64 {
    // Numbers, strings and lists only: such a value always has a JSON form.
    let json = serde_json::to_vec(plan).unwrap_or_default();
    json.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
