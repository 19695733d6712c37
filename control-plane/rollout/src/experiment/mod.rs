//! Experiments: A/B/n comparisons that may be looked at at any time.
//!
//! Every arm is compared with the control in every metric, for all units and for each declared segment. The promised alpha
//! covers all these comparisons together. The sample-ratio check is always on; when it fails, no verdict is given.
//!
//! Changes no traffic.

mod observation;
mod plan;
mod report;
mod state;
mod text;

pub use observation::{ExperimentObservation, MetricValue, ObservationRefused};
pub use plan::{ExperimentArm, ExperimentMetric, ExperimentPlan, MetricScale, ValidatedExperiment};
pub use report::{Comparison, ExperimentReport, Verdict};
pub use state::ExperimentState;
pub use text::report_text;
