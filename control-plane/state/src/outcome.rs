//! Requests that were served, what became known about them later, and the pairs of both.
//!
//! What a metric means, and whether a value is good, is for those who read the pairs.

use crate::error::StateError;
use crate::limits::{check_finite, check_name, check_optional_name, check_time};
use crate::timestamp::Timestamp;
use crate::versions::Sequence;

/// A request that an arm answered, as far as an outcome needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedRequest {
    /// The client's or the server's id of the request; the key of the join.
    pub request_id: String,
    /// Public name that was asked for.
    pub model: String,
    /// Arm that answered.
    pub arm: String,
    /// Version of the model that answered.
    pub version: u64,
    /// When it was answered. The window of its outcomes starts here.
    pub served_at: Timestamp,
    /// Probability with which this request could get this arm, over 0 to 1; what estimates are weighted by.
    pub probability: f64,
    /// Segment of the request, if it has one.
    pub segment: Option<String>,
}

/// What became known about a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The request it is about.
    pub request_id: String,
    /// What was observed, such as `label` or `clicked`. One value per request and metric.
    pub metric: String,
    /// The value; finite.
    pub value: f64,
    /// When it was observed; at most [`CLOCK_SKEW_MILLIS`](crate::CLOCK_SKEW_MILLIS) ahead of the call's `now`.
    pub observed_at: Timestamp,
}

/// What came of one outcome. All but the refusals are durable when they are answered.
#[derive(Clone, Debug, PartialEq)]
pub enum OutcomeReceipt {
    /// Joined to its request, as this pair.
    Joined(Sequence),
    /// Its request is not known (yet): held until the request arrives or the window has passed, then counted as expired.
    Held,
    /// Recorded before with the same value; nothing was changed.
    Duplicate,
    /// Refused: recorded before with another value, which stands.
    Conflicting {
        /// The value that stands.
        recorded: f64,
    },
    /// Refused and counted: its request's window has passed.
    TooLate,
    /// Refused: as many outcomes as may be held wait for their requests already.
    NoRoom {
        /// How many may be held.
        limit: u64,
    },
    /// Refused: a value breaks a rule.
    Invalid(StateError),
}

/// An outcome joined to its request. A request and metric are in at most one pair.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedPair {
    /// Position among the pairs: from 1, without a gap.
    pub sequence: Sequence,
    /// When both sides were there.
    pub joined_at: Timestamp,
    /// The request.
    pub served: ServedRequest,
    /// The outcome.
    pub outcome: Outcome,
}

/// How long and how much is remembered for the join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeWindow {
    /// How long after its request was served an outcome is joined, and how long an outcome waits for its request; in
    /// milliseconds.
    pub window_millis: u64,
    /// Most served requests remembered; beyond, the oldest leave the window early and are counted.
    pub max_served: u64,
    /// Most outcomes that wait for their requests; beyond, new ones are refused.
    pub max_waiting: u64,
}

/// A day, and a million of each: some hundreds of megabytes on the disk at most.
impl Default for OutcomeWindow {
    fn default() -> Self {
        Self { window_millis: 86_400_000, max_served: 1_000_000, max_waiting: 1_000_000 }
    }
}

/// What came of handing served requests over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServedReceipt {
    /// Taken; durable at the next flush.
    pub accepted: usize,
    /// Not taken because the buffer is full.
    pub no_room: usize,
    /// Not taken, by index, because a value breaks a rule.
    pub invalid: Vec<(usize, StateError)>,
}

/// Counts since the store was made, except where said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Served requests recorded.
    pub served: u64,
    /// Served requests not recorded because their id was in the window already.
    pub served_duplicates: u64,
    /// Served requests that left the window, by time or by number.
    pub served_evicted: u64,
    /// Served requests refused since the start of this process because the buffer was full.
    pub served_refused: u64,
    /// Served requests not flushed yet, at this moment.
    pub served_buffered: u64,
    /// Pairs joined.
    pub joined: u64,
    /// Outcomes that wait for their requests, at this moment.
    pub waiting: u64,
    /// Outcomes whose request never came within the window.
    pub expired: u64,
    /// Outcomes that came after their request's window.
    pub too_late: u64,
}

impl ServedRequest {
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), StateError> {
        check_name("request id", &self.request_id)?;
        check_name("model", &self.model)?;
        check_name("arm", &self.arm)?;
        check_optional_name("segment", self.segment.as_deref())?;
        check_time("served at", self.served_at, now)?;
        check_finite("probability", self.probability)?;
        if !(self.probability > 0.0 && self.probability <= 1.0) {
            return Err(StateError::invalid(
                "probability",
                format!("expected more than 0 and at most 1, got `{}`", self.probability),
            ));
        }
        if i64::try_from(self.version).is_err() {
            return Err(StateError::invalid("version", format!("expected at most {}, got {}", i64::MAX, self.version)));
        }
        Ok(())
    }
}

impl Outcome {
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), StateError> {
        check_name("request id", &self.request_id)?;
        check_name("metric", &self.metric)?;
        check_finite("value", self.value)?;
        check_time("observed at", self.observed_at, now)
    }
}
