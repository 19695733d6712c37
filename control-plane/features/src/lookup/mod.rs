//! Between requests and stores: coalescing, deadlines, hot keys, fallbacks and overrides.
//!
//! What becomes of a value is decided by a pure function (`policy`); the task (`coalescing`) only groups and waits.

mod answers;
mod cache;
mod coalescing;
mod json_form;
mod plan;
mod policy;
mod recalled;
mod request;
mod resolved;
mod service;
mod statistics;

pub use request::{KeyColumn, Overrides, ResolveRequest};
pub use resolved::{FeatureReport, Origin, Resolved};
pub use service::{Lookup, LookupSettings};
pub use statistics::LookupStatistics;

/// Tells the time in microseconds since the Unix epoch.
pub type Clock = fn() -> i64;

/// The system's clock.
#[must_use]
pub fn system_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod tests;
