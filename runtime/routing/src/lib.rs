//! Traffic: which model and version serves a request for a public model name, who shadows it, and what came of it.
//!
//! Mechanism only: who judges and when weights move is the control plane's. Knows no tensor and no HTTP; what it needs of
//! a request it asks through [`RequestFacts`]. Reads no clock and draws no random number by itself.
//!
//! Invariants: a request sees one table, whole; a lookup of a request outside a sequence takes no lock and allocates
//! nothing (a regular expression may, while its automaton is still growing); a sequence never changes arm while it lives;
//! the hash in [`assignment_hash`] never changes between releases; the observation stream never blocks who writes it.

pub mod allocation;
pub mod arm_health;
pub mod assignment_hash;
mod decision;
mod effective_share;
mod facts;
pub mod observation;
mod plain_facts;
mod router;
mod rules;
mod sampled_shadows;
mod sequence_pins;
mod shadow_sampling;
mod snapshot;
mod table;
mod table_handle;
mod validation;
mod version_name;

pub use assignment_hash::RequestNumbers;
pub use decision::{Arm, Decision, Reason, ShadowTarget, UnknownLabel};
pub use facts::{DecimalText, FactValue, RequestFacts, SequenceFact, SequenceIdFact};
pub use plain_facts::PlainFacts;
pub use router::Router;
pub use sampled_shadows::SampledShadows;
pub use sequence_pins::{PinCounts, PinLimits};
pub use shadow_sampling::is_sampled;
pub use snapshot::{LONGEST_SEGMENT, Snapshot};
pub use table::{
    ArmDeclaration, ModelTraffic, RuleDeclaration, RulePattern, RuleSubject, ShadowDeclaration,
    ShadowTargetDeclaration, Sticky, TrafficTable,
};
pub use table_handle::{Applied, TableError, TableHandle};
pub use validation::Problem;
pub use version_name::{RequestedVersion, ServedVersion, VersionName};
