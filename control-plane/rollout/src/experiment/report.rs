//! The verdicts of an experiment at one moment, with the numbers behind them.

use serde::{Deserialize, Serialize};

use super::plan::{ExperimentMetric, MetricScale, ValidatedExperiment};
use super::state::{ComparisonState, ExperimentState};
use crate::rollout::{Direction, WATCH_ALPHA};
use crate::statistics::{Interval, RatioInterval};

/// Units with and without the event, of both arms, before a rate's difference gets an (asymptotic) interval.
const FEWEST_OF_A_KIND: f64 = 10.0;

/// The whole experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentReport {
    /// The experiment.
    pub experiment: String,
    /// Units assigned, by arm.
    pub units: Vec<u64>,
    /// Units that the shares promised, by arm.
    pub expected_units: Vec<f64>,
    /// Always-valid p-value of "the arms get what their shares promise".
    pub sample_ratio_p_value: f64,
    /// Whether that is refuted at 0.1 %; then no comparison has a verdict.
    pub sample_ratio_mismatch: bool,
    /// Treatments against the control, by population, metric and arm.
    pub comparisons: Vec<Comparison>,
}

/// One treatment against the control in one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The metric.
    pub metric: String,
    /// The treatment.
    pub treatment: String,
    /// The segment; none for all units.
    pub segment: Option<String>,
    /// Units of the control with a value.
    pub control_units: u64,
    /// Their mean, or rate.
    pub control_mean: f64,
    /// Units of the treatment with a value.
    pub treatment_units: u64,
    /// Their mean, or rate.
    pub treatment_mean: f64,
    /// Always-valid interval of treatment less control at level `1 - alpha`; none before there is enough.
    pub difference: Option<Interval>,
    /// Always-valid interval of treatment to control at level `1 - alpha`, exact; for rates only.
    pub ratio: Option<RatioInterval>,
    /// Always-valid p-value of "no difference".
    pub p_value: f64,
    /// This comparison's part of the experiment's alpha.
    pub alpha: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// What may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The treatment is better.
    Better,
    /// The treatment is worse.
    Worse,
    /// No difference is shown so far.
    Undecided,
    /// The sample ratio is wrong, so nothing may be said.
    Invalid,
}

impl ExperimentReport {
    /// The report on `state`.
    #[must_use]
    pub fn of(plan: &ValidatedExperiment, state: &ExperimentState) -> Self {
        let declared = plan.plan();
        let mismatch = state.sample_ratio.refutes(WATCH_ALPHA);
        let mut states = state.comparisons.iter();
        let mut comparisons = Vec::new();
        for segment in std::iter::once(None).chain(declared.segments.iter().map(Some)) {
            let alpha = plan.comparison_alpha(segment.is_some());
            for metric in &declared.metrics {
                let arms = declared.arms.iter().zip(states.by_ref().take(declared.arms.len()));
                let treatments = arms.enumerate().filter(|(arm, _)| *arm != plan.control());
                comparisons.extend(treatments.map(|(_, (arm, state))| Comparison {
                    treatment: arm.name.clone(),
                    segment: segment.cloned(),
                    ..compare(metric, state, alpha, mismatch)
                }));
            }
        }
        Self {
            experiment: declared.experiment.clone(),
            units: state.sample_ratio.counts().to_vec(),
            expected_units: state.sample_ratio.expected().to_vec(),
            sample_ratio_p_value: (-state.sample_ratio.log_e_max()).exp(),
            sample_ratio_mismatch: mismatch,
            comparisons,
        }
    }
}

fn compare(metric: &ExperimentMetric, state: &ComparisonState, alpha: f64, mismatch: bool) -> Comparison {
    let (control, treatment) = (&state.control, &state.treatment);
    let p_value = state.rate.as_ref().map_or_else(|| state.difference.p_value(), |rate| rate.p_value());
    let enough = metric.scale == MetricScale::Mean
        || [control, treatment].iter().all(|moments| {
            let (count, rate) = (moments.count() as f64, moments.mean());
            (count * rate).min(count * (1.0 - rate)) >= FEWEST_OF_A_KIND
        });
    let higher = treatment.mean() > control.mean();
    let verdict = match (mismatch, p_value <= alpha) {
        (true, _) => Verdict::Invalid,
        (false, false) => Verdict::Undecided,
        (false, true) if higher == (metric.better == Direction::Higher) => Verdict::Better,
        (false, true) => Verdict::Worse,
    };
    Comparison {
        metric: metric.name.clone(),
        treatment: String::new(),
        segment: None,
        control_units: control.count(),
        control_mean: control.mean(),
        treatment_units: treatment.count(),
        treatment_mean: treatment.mean(),
        difference: state.difference.interval().filter(|_| enough),
        ratio: state.rate.as_ref().map(|rate| rate.events.interval(alpha)),
        p_value,
        alpha,
        verdict,
    }
}
