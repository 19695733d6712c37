//! The control plane's edge: declared resources, plan and apply, the controller, and the admin HTTP API.
//!
//! Judges nothing (that is `hanok-rollout`), routes nothing (that is `hanok-routing`, in the runtime's process) and stores
//! nothing by itself (that is `hanok-state`). It ties them: records come from runtimes through [`RuntimePort`], verdicts
//! go into one transaction of the store, and only then does a table go back to the runtimes.
//!
//! Invariants: nothing acts before it is durable, but for the kill switch; one thread decides; a runtime that hangs or is
//! gone delays no other.

mod admin;
mod controller;
mod declared;
mod inside;
mod metrics;
mod plan;
mod port;
mod reconcile;
mod settings;
mod start;

pub use admin::{AdminSettings, RunningRuntimeAdmin, RuntimeAdmin, WebhookReceiver, WebhookRefusal, openapi_document};
pub use declared::{
    API_VERSION, BanditReward, BanditSpec, Declared, DeclaredSet, ExperimentMetricSpec, ExperimentSpec,
    LARGEST_DECLARATION_BYTES, LabelRule, MOST_DOCUMENTS, MetricSource, Percent, Problem, ProblemKind, ResourceKind,
    RolloutSpec, ShadowCompare, ShadowSpec, Spec, StartRule, StepSpec, TrafficArm, TrafficSpec, read_declarations,
};
pub use inside::{CallError, ControlCalls, RolloutStanding, TrafficStanding};
pub use plan::{Action, ArmMemory, Difference, MemoryEstimate, Plan, ResourceChange, differences};
pub use port::{
    Comparisons, DrainRequest, ExampleTensor, HealthRecord, MOST_EXAMPLES, ModelFacts, PortError, PortFuture,
    RecordBatch, RemoteRuntime, RemoteSettings, RequestRecord, RetainedRecords, RuntimePort, RuntimeRecord,
    SHOWN_ELEMENTS, ShadowExample, ShadowQuery, ShadowRecord, ShadowView, TableInForce, TableOrder, VersionFacts,
};
pub use reconcile::{DeclaredPlace, DeclaredProblem, FolderFault, GitBranch, LookFailure, check_declared_folder};
pub use settings::{Clock, ControlSettings, DeclaredSettings, LeaseSettings, system_clock};
pub use start::{ControlPlane, RunningControlPlane, StartError};
