//! One finished request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Arm, Reason};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Answered.
    Success,
    /// Refused for what the client sent.
    ClientError,
    /// Failed by the model, its backend or the server.
    ServerError,
    /// Given up by the client.
    Cancelled,
    /// Refused by a queue or a limit; counted for the arm that it was assigned.
    Shed,
    /// Not answered in time.
    Deadline,
}

/// Times of one request, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// From receipt to the answer.
    pub total_microseconds: u64,
    /// In the queue.
    pub queue_microseconds: u64,
    /// Executing.
    pub compute_microseconds: u64,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The client's id; empty when none was given.
    pub request_id: Box<str>,
    /// The arm; `None` for a request outside any split. It names the public model.
    pub arm: Option<Arc<Arm>>,
    /// Model that served.
    pub model: Arc<str>,
    /// Version that served; 0 when the request ended before one was known.
    pub version: u64,
    /// [`crate::Decision::probability_basis_points`].
    pub probability_basis_points: u16,
    /// Why the request went there. Only `weight` and `sticky` were left to chance.
    pub reason: Reason,
    /// Table that decided.
    pub table_version: u64,
    /// [`crate::Decision::sticky_key_hash`]: the unit of analysis; 0 when there was none.
    pub sticky_key_hash: u64,
    /// [`crate::Decision::segment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Box<str>>,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// How long it took.
    pub latency: Latency,
    /// When it ended, in microseconds on the runtime's clock; since the epoch where it leaves the process.
    pub finished_microseconds: u64,
}

impl Observation {
    /// Name that the client asked for.
    #[must_use]
    pub fn public_model(&self) -> &str {
        self.arm.as_ref().map_or(&self.model, |arm| &arm.public_model)
    }
}
