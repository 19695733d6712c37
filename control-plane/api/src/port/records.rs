//! What a runtime tells: one ordered stream of finished requests, shadow comparisons and changes of arm health.

use hanok_routing::Arm;
use hanok_routing::arm_health::{ArmState, HealthChange};
use hanok_routing::observation::Observation;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One record of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeRecord {
    /// A request is over.
    Request(RequestRecord),
    /// A shadow's outputs were compared.
    Shadow(ShadowRecord),
    /// An arm was ejected, half-opened or let back in.
    Health(HealthRecord),
}

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestRecord {
    /// What became of it; times since the Unix epoch.
    pub observation: Observation,
}

/// A comparison of a candidate's outputs with those that the client got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRecord {
    /// Name that the client asked for.
    pub public_model: Box<str>,
    /// Model that got the copy.
    pub candidate_model: Box<str>,
    /// Version that got the copy, resolved.
    pub candidate_version: u64,
    /// Name of the comparison.
    pub compare: Box<str>,
    /// Whether any output disagrees; a candidate that failed where the primary answered disagrees too.
    pub disagrees: bool,
    /// The client's id; empty when none was given.
    pub request_id: Box<str>,
    /// Hash of the sticky key; 0 when there was none.
    pub sticky_key_hash: u64,
    /// When the primary ended, in microseconds since the Unix epoch.
    pub finished_microseconds: u64,
}

/// A change of an arm's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthRecord {
    /// The arm.
    pub arm: Arc<Arm>,
    /// Before: `healthy`, `ejected` or `half_open`.
    pub from: Box<str>,
    /// Now.
    pub to: Box<str>,
    /// When, in microseconds since the Unix epoch.
    pub at_microseconds: u64,
}

impl HealthRecord {
    /// The record of a change that the runtime's monitor gave.
    #[must_use]
    pub fn of(change: &HealthChange, at_microseconds: u64) -> Self {
        Self {
            arm: Arc::clone(&change.arm),
            from: state_name(&change.from).into(),
            to: state_name(&change.to).into(),
            at_microseconds,
        }
    }
}

fn state_name(state: &ArmState) -> &'static str {
    match state {
        ArmState::Healthy => "healthy",
        ArmState::Ejected { .. } => "ejected",
        ArmState::HalfOpen { .. } => "half_open",
    }
}

/// What is to be read, and what may be forgotten. Positions count records from 1, per epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// The epoch that the positions belong to; those of another epoch count as 0.
    pub epoch: u64,
    /// Read behind this position.
    pub after: u64,
    /// Everything up to here is dealt with for good.
    pub acknowledged: u64,
    /// Most records wanted, 1 to 65,536.
    pub most: u32,
}

/// Some consecutive records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordBatch {
    /// Names this run of the runtime's process.
    pub epoch: u64,
    /// Position of the first record here; the next position where there is none.
    pub first: u64,
    /// The records, in order.
    pub records: Vec<RuntimeRecord>,
    /// Records that found no room since the start of the epoch; they are not coming.
    pub dropped: u64,
    /// Whether more records wait behind these.
    pub more: bool,
    /// Version of the table in force.
    pub table_version: u64,
}
