//! What an experiment learns from: a unit, its arm, and the values it brought.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::BasisPoints;

/// Values of one unit, or of one request of it. Values may come later than the assignment, in records of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentObservation {
    /// Index of its arm in the plan.
    pub arm: usize,
    /// Shares in force when it was assigned, one an arm, summing to 10,000.
    pub shares: Vec<BasisPoints>,
    /// Hash of its sticky key; none when its arm was drawn for it alone. Of each key the first value of a metric counts.
    pub unit: Option<u64>,
    /// Its segment. One that the plan doesn't name counts among all units only.
    pub segment: Option<String>,
    /// Whether this record tells the assignment; later records with values of the same unkeyed request say false, or
    /// the sample-ratio check would count it twice.
    pub assignment: bool,
    /// What it brought.
    pub values: Vec<MetricValue>,
}

/// One value of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricValue {
    /// Name of the metric.
    pub metric: String,
    /// Finite; 0 or 1 for a rate.
    pub value: f64,
}

/// Why an observation was refused.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ObservationRefused {
    /// No such arm.
    #[error("expected an arm below `{arms}`, found `{arm}`")]
    UnknownArm {
        /// Arms of the plan.
        arms: usize,
        /// The arm given.
        arm: usize,
    },
    /// Shares that are none.
    #[error("expected `{arms}` shares that sum to 10000, found `{found}` that sum to `{sum}`")]
    WrongShares {
        /// Arms of the plan.
        arms: usize,
        /// Shares given.
        found: usize,
        /// Their sum.
        sum: u32,
    },
    /// No such metric.
    #[error("expected a metric of the plan, found `{0}`")]
    UnknownMetric(String),
    /// A value that its metric can't have.
    #[error("expected a finite number, 0 or 1 for a rate, for metric `{metric}`, found `{value}`")]
    WrongValue {
        /// The metric.
        metric: String,
        /// The value given.
        value: f64,
    },
    /// A state that was made for another plan.
    #[error("expected the state of experiment `{0}`")]
    OtherExperiment(String),
}
