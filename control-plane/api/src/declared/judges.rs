//! Declared judges: rollouts, experiments and bandits over the arms of a declared traffic.
//!
//! Each turns into the plan of its state machine once its traffic is known. A run has a name of its own
//! (`NAME@REVISION`), because the ids of its decisions are made of it and are unique for ever.

use std::collections::BTreeMap;

use hanok_rollout::bandit::{BanditPlan, Reward};
use hanok_rollout::experiment::{ExperimentArm, ExperimentMetric, ExperimentPlan, MetricScale};
use hanok_rollout::rollout::{Direction, Metric, MetricKind, OnInconclusive, RolloutPlan, Step, WarmUp};
use serde::{Deserialize, Serialize};

use super::{Percent, TrafficSpec};

/// A rollout from one arm to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// Name of the `Traffic`. Together the two arms have all of its weight.
    pub traffic: String,
    /// Name of the arm that serves now.
    pub baseline: String,
    /// Name of the arm that may take over.
    pub candidate: String,
    /// Whether it starts by itself.
    #[serde(default)]
    pub start: StartRule,
    /// Weights on the way, growing.
    pub steps: Vec<StepSpec>,
    /// What is watched.
    pub metrics: Vec<Metric>,
    /// How reported outcomes become events of label metrics, by the metric's name. Where absent, the outcome has the
    /// metric's name, and the event happened when its value is at least 0.5.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, LabelRule>,
    /// Promised bound on the probability of rolling back a candidate that is no worse; 0 to 0.5, both exclusive.
    #[serde(default = "five_percent")]
    pub alpha_rollback: f64,
    /// Promised bound on the probability of promoting, on proof, one at or beyond a margin; likewise.
    #[serde(default = "five_percent")]
    pub alpha_promotion: f64,
    /// What to do when the time is over without a verdict.
    #[serde(default = "hold")]
    pub on_inconclusive: OnInconclusive,
    /// Running time after which a rollout without a verdict is inconclusive, in seconds.
    #[serde(default = "one_week")]
    pub maximum_duration_seconds: u64,
    /// What isn't counted at the start.
    #[serde(default)]
    pub warm_up: WarmUp,
}

fn five_percent() -> f64 {
    0.05
}

fn hold() -> OnInconclusive {
    OnInconclusive::Hold
}

fn one_week() -> u64 {
    604_800
}

/// Whether a rollout starts by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartRule {
    /// As soon as it is applied.
    #[default]
    Automatic,
    /// When a person says so.
    Manual,
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// The candidate's share in percent, above 0.
    pub weight: Percent,
    /// Shortest running time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_duration_seconds: Option<u64>,
    /// Fewest requests that the candidate finished at this weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_samples: Option<u64>,
}

/// How a reported outcome becomes an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRule {
    /// Name of the outcome.
    pub outcome: String,
    /// The event happened when the outcome's value is at least this; finite.
    #[serde(default = "one_half")]
    pub at_least: f64,
}

fn one_half() -> f64 {
    0.5
}

impl RolloutSpec {
    /// The plan of the run `run` over the public name `model`.
    pub(crate) fn plan(&self, run: &str, model: &str) -> RolloutPlan {
        let steps = self.steps.iter().map(|step| Step {
            weight_basis_points: step.weight.basis_points(),
            minimum_duration_seconds: step.minimum_duration_seconds,
            minimum_samples: step.minimum_samples,
        });
        RolloutPlan {
            rollout: run.to_owned(),
            model: model.to_owned(),
            baseline: self.baseline.clone(),
            candidate: self.candidate.clone(),
            steps: steps.collect(),
            metrics: self.metrics.clone(),
            alpha_rollback: self.alpha_rollback,
            alpha_promotion: self.alpha_promotion,
            on_inconclusive: self.on_inconclusive,
            maximum_duration_seconds: self.maximum_duration_seconds,
            warm_up: self.warm_up.clone(),
        }
    }

    /// Label metrics with the outcome that feeds each and the value from which it is an event.
    pub(crate) fn label_metrics(&self) -> impl Iterator<Item = (&str, &str, f64)> {
        self.metrics.iter().filter(|metric| matches!(metric.kind, MetricKind::Label { .. })).map(|metric| {
            let rule = self.labels.get(&metric.name);
            let outcome = rule.map_or(metric.name.as_str(), |rule| rule.outcome.as_str());
            (metric.name.as_str(), outcome, rule.map_or_else(one_half, |rule| rule.at_least))
        })
    }
}

/// A comparison of all arms that have weight, which moves none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentSpec {
    /// Name of the `Traffic`.
    pub traffic: String,
    /// Name of the arm that the others are compared with.
    pub control: String,
    /// What is measured.
    pub metrics: Vec<ExperimentMetricSpec>,
    /// Segments that get verdicts of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
    /// Promised bound on the probability of any false verdict.
    #[serde(default = "five_percent")]
    pub alpha: f64,
    /// About how many units a comparison will have when it matters.
    #[serde(default = "ten_thousand")]
    pub planned_units: u64,
}

fn ten_thousand() -> u64 {
    10_000
}

/// One metric of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentMetricSpec {
    /// Name, unique in the experiment.
    pub name: String,
    /// Where its values come from.
    pub source: MetricSource,
    /// Which way is better.
    pub better: Direction,
}

/// Where the values of a metric come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricSource {
    /// 1 for a request that failed or was shed, 0 for one that was answered; a rate.
    Error,
    /// Milliseconds from receipt to the answer, of answered requests; a mean.
    LatencyMilliseconds,
    /// 1 when the reported outcome's value is at least `at_least`, 0 below; a rate.
    OutcomeRate(LabelRule),
    /// The reported outcome of this name as it is; a mean.
    OutcomeValue(String),
}

impl MetricSource {
    /// Name of the outcome, for those that have one.
    pub(crate) fn outcome(&self) -> Option<&str> {
        match self {
            Self::OutcomeRate(rule) => Some(&rule.outcome),
            Self::OutcomeValue(name) => Some(name),
            Self::Error | Self::LatencyMilliseconds => None,
        }
    }
}

impl ExperimentSpec {
    /// The plan of the run `run` over `traffic`: the arms that have weight there.
    pub(crate) fn plan(&self, run: &str, traffic: &TrafficSpec) -> ExperimentPlan {
        let arms = traffic.arms.iter().filter(|arm| arm.weight.basis_points() > 0);
        let metrics = self.metrics.iter().map(|metric| ExperimentMetric {
            name: metric.name.clone(),
            scale: match metric.source {
                MetricSource::Error | MetricSource::OutcomeRate(_) => MetricScale::Rate,
                MetricSource::LatencyMilliseconds | MetricSource::OutcomeValue(_) => MetricScale::Mean,
            },
            better: metric.better,
        });
        ExperimentPlan {
            experiment: run.to_owned(),
            arms: arms
                .map(|arm| ExperimentArm { name: arm.name.clone(), weight_basis_points: arm.weight.basis_points() })
                .collect(),
            control: self.control.clone(),
            metrics: metrics.collect(),
            segments: self.segments.clone(),
            alpha: self.alpha,
            planned_units: self.planned_units,
        }
    }
}

/// A bandit over the arms that have weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanditSpec {
    /// Name of the `Traffic`.
    pub traffic: String,
    /// Share that every arm keeps, in percent, above 0.
    pub floor: Percent,
    /// What is to be had more of.
    pub reward: BanditReward,
    /// Seconds between two changes of the weights, at least 1.
    #[serde(default = "thirty")]
    pub update_seconds: u64,
    /// Seed of its draws.
    #[serde(default)]
    pub seed: u64,
}

fn thirty() -> u64 {
    30
}

/// What a bandit learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BanditReward {
    /// The request was answered.
    Success,
    /// It was answered within so many microseconds.
    SuccessWithin {
        /// The limit, inclusive.
        microseconds: u64,
    },
    /// The reported outcome's value is at least `at_least`. Requests without an outcome teach nothing.
    Outcome(LabelRule),
}

impl BanditSpec {
    /// The plan of the run `run` over `traffic`: the arms that have weight there.
    pub(crate) fn plan(&self, run: &str, traffic: &TrafficSpec) -> BanditPlan {
        let arms = traffic.arms.iter().filter(|arm| arm.weight.basis_points() > 0);
        BanditPlan {
            bandit: run.to_owned(),
            arms: arms.map(|arm| arm.name.clone()).collect(),
            floor_basis_points: self.floor.basis_points(),
            reward: match self.reward {
                BanditReward::SuccessWithin { microseconds } => Reward::SuccessWithin { microseconds },
                BanditReward::Success | BanditReward::Outcome(_) => Reward::Success,
            },
            seed: self.seed,
        }
    }
}
