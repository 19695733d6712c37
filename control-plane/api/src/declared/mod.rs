//! What a person declares: resources as they stand in a file, read strictly, checked whole.
//!
//! Not plans of the state machines and not the traffic table: those are derived from a set that holds together. Every
//! problem is told at once, with its document, its path and what was expected.

mod documents;
mod judges;
mod percent;
mod problem;
mod pruned_reading;
mod references;
mod set;
mod traffic;
mod unique_json;

pub use documents::{API_VERSION, LARGEST_DECLARATION_BYTES, MOST_DOCUMENTS, read_declarations};
pub use judges::{
    BanditReward, BanditSpec, ExperimentMetricSpec, ExperimentSpec, LabelRule, MetricSource, RolloutSpec, StartRule,
    StepSpec,
};
pub use percent::Percent;
pub use problem::{Problem, ProblemKind};
pub(crate) use set::ResourceKey;
pub use set::{Declared, DeclaredSet, ResourceKind, Spec};
pub use traffic::{ShadowCompare, ShadowSpec, TrafficArm, TrafficSpec};
pub(crate) use unique_json::UniqueJson;

pub(crate) use documents::{parse_resource, read_documents};
