//! The declared plan of an experiment, and its check.

use serde::{Deserialize, Serialize};

use crate::BasisPoints;
use crate::problem::{Problem, Problems};
use crate::rollout::Direction;
use crate::statistics::split_alpha;

/// An experiment between a control and one or more treatments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentPlan {
    /// Name of the experiment.
    pub experiment: String,
    /// The arms, 2 to 64; weights sum to 10,000.
    pub arms: Vec<ExperimentArm>,
    /// Name of the arm that the others are compared with.
    pub control: String,
    /// What is measured.
    pub metrics: Vec<ExperimentMetric>,
    /// Segments that get verdicts of their own. With segments, half of alpha is for all units, half for the segments.
    #[serde(default)]
    pub segments: Vec<String>,
    /// Promised bound on the probability of any false verdict.
    pub alpha: f64,
    /// About how many units a comparison will have when it matters: intervals are tightest there, valid everywhere.
    pub planned_units: u64,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentArm {
    /// Name, unique in the plan.
    pub name: String,
    /// Its share in basis points, above 0.
    pub weight_basis_points: u16,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentMetric {
    /// Name, unique in the plan.
    pub name: String,
    /// What its values are.
    pub scale: MetricScale,
    /// Which way is better.
    pub better: Direction,
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricScale {
    /// 0 or 1 per unit. The p-value is exact; the interval of the difference is asymptotic.
    Rate,
    /// Any finite number per unit. P-value and interval are asymptotic.
    Mean,
}

/// An experiment's plan that was checked. The only way to one is [`ExperimentPlan::validate`].
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedExperiment {
    plan: ExperimentPlan,
    control: usize,
    weights: Vec<BasisPoints>,
    /// Level of one comparison among all units, and of one within a segment.
    alphas: (f64, f64),
}

impl ExperimentPlan {
    /// Checks everything.
    ///
    /// # Errors
    /// All problems at once, each with its path.
    pub fn validate(self) -> Result<ValidatedExperiment, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.expect_name(&self.experiment, "experiment");
        problems.expect(
            (2..=64).contains(&self.arms.len()),
            "arms",
            format!("expected 2 to 64, found `{}`", self.arms.len()),
        );
        for (index, arm) in self.arms.iter().enumerate() {
            problems.expect_name(&arm.name, format!("arms[{index}].name"));
            problems.expect(
                arm.weight_basis_points > 0,
                format!("arms[{index}].weight_basis_points"),
                "expected at least 1",
            );
        }
        problems.expect_distinct(self.arms.iter().map(|arm| arm.name.as_str()), |index| format!("arms[{index}].name"));
        let sum: u32 = self.arms.iter().map(|arm| u32::from(arm.weight_basis_points)).sum();
        problems.expect(
            sum == 10_000,
            "arms",
            format!("expected weights that sum to 100 percent, found `{}`", f64::from(sum) / 100.0),
        );
        let control = self.arms.iter().position(|arm| arm.name == self.control);
        problems.expect(control.is_some(), "control", format!("expected the name of an arm, found `{}`", self.control));
        problems.expect(!self.metrics.is_empty(), "metrics", "expected at least one metric");
        problems.expect_distinct(self.metrics.iter().map(|metric| metric.name.as_str()), |index| {
            format!("metrics[{index}].name")
        });
        for (index, metric) in self.metrics.iter().enumerate() {
            problems.expect_name(&metric.name, format!("metrics[{index}].name"));
        }
        problems.expect(
            self.segments.len() <= 100,
            "segments",
            format!("expected at most 100, found `{}`", self.segments.len()),
        );
        problems.expect_distinct(self.segments.iter().map(String::as_str), |index| format!("segments[{index}]"));
        problems.expect_probability(self.alpha, 0.5, "alpha");
        problems.expect(
            self.planned_units >= 200,
            "planned_units",
            format!("expected at least 200, found `{}`", self.planned_units),
        );
        let weights = self.arms.iter().filter_map(|arm| BasisPoints::new(arm.weight_basis_points)).collect();
        let comparisons = (self.metrics.len() * self.arms.len().saturating_sub(1)).max(1);
        let validated = ValidatedExperiment {
            control: control.unwrap_or_default(),
            weights,
            alphas: comparison_alphas(self.alpha, comparisons, self.segments.len()),
            plan: self,
        };
        problems.into_result(validated)
    }
}

/// Levels of one comparison among all units and within a segment: half of alpha each way when there are segments.
fn comparison_alphas(alpha: f64, comparisons: usize, segments: usize) -> (f64, f64) {
    let first = |parts: usize, alpha: f64| split_alpha(alpha, &vec![1.0; parts]).first().copied().unwrap_or(alpha);
    if segments == 0 {
        return (first(comparisons, alpha), 0.0);
    }
    (first(comparisons, alpha / 2.0), first(comparisons * segments, alpha / 2.0))
}

impl ValidatedExperiment {
    /// The plan as it was declared.
    #[must_use]
    pub fn plan(&self) -> &ExperimentPlan {
        &self.plan
    }

    /// Declared shares, one an arm.
    #[must_use]
    pub fn weights(&self) -> &[BasisPoints] {
        &self.weights
    }

    /// Index of the control arm.
    #[must_use]
    pub fn control(&self) -> usize {
        self.control
    }

    /// Level of one comparison, among all units or within a segment.
    pub(crate) fn comparison_alpha(&self, in_segment: bool) -> f64 {
        if in_segment { self.alphas.1 } else { self.alphas.0 }
    }
}
