//! What became of each request, for judges to read: one record per request, on a stream that never blocks its writers.
//!
//! Not metrics and not a log: records are dropped, and counted, when nobody reads.

mod record;
mod stream;

pub use record::{Latency, Observation, OutcomeKind};
pub use stream::{ObservationReader, ObservationSender, StreamCounts, observation_stream};
