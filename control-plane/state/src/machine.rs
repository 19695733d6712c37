//! The state of a named state machine, such as a rollout or an experiment.
//!
//! The store does not know what a state means; it keeps it whole and counts its versions.

use serde_json::Value;

use crate::timestamp::Timestamp;
use crate::versions::MachineVersion;

/// One machine as it was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// What it is, such as `rollout`.
    pub kind: String,
    /// Which one.
    pub name: String,
    /// How often it was written. It goes on growing when a machine is removed and made again.
    pub version: MachineVersion,
    /// Its state.
    pub state: Value,
    /// `now` of the transaction that wrote it.
    pub updated_at: Timestamp,
}
