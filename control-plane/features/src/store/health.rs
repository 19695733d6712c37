//! What the operator is told of a store that fails: the first failure with its cause, further ones at most every ten seconds
//! with their number, and once when it answers again.
//!
//! When something is said is decided by [`Silence`], a pure function of what happened and when. Causes are those of
//! [`FeatureError::operator_detail`], which hold no credentials.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::columns::Columns;
use crate::error::FeatureError;

/// How long nothing is said after a failure was told.
const QUIET: Duration = Duration::from_secs(10);

/// Of one kind of failure: whether to speak.
#[derive(Debug, Default)]
struct Silence {
    told: Option<Instant>,
    /// A failure was told, and no recovery since.
    failing: bool,
    untold: u64,
}

impl Silence {
    /// A failure: where it is to be told, how many were not told since the last that was.
    fn failed(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < QUIET) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        self.failing = true;
        Some(std::mem::take(&mut self.untold))
    }

    /// A success: whether it is to be told.
    const fn succeeded(&mut self) -> bool {
        std::mem::replace(&mut self.failing, false)
    }
}

/// How a store does, for the log. One for each open store, whoever reads it.
#[derive(Debug)]
pub(crate) struct StoreHealth {
    store: String,
    reads: Mutex<Silence>,
    values: Mutex<Silence>,
}

impl StoreHealth {
    pub(crate) fn of(store: &str) -> Self {
        Self { store: store.to_owned(), reads: Mutex::default(), values: Mutex::default() }
    }

    /// Notes a read that failed.
    pub(crate) fn failed(&self, error: &FeatureError, now: Instant) {
        if let Some(untold) = self.reads.lock().failed(now) {
            let detail = error.operator_detail().unwrap_or_default();
            tracing::warn!(store = self.store, untold, detail, "a feature store cannot be read: {error}");
        }
    }

    /// Notes answers, and what in them cannot be used as declared.
    pub(crate) fn answered(&self, answers: &[Columns], now: Instant) {
        if self.reads.lock().succeeded() {
            tracing::warn!(store = self.store, "a feature store answers again");
        }
        for (columns, fault) in answers.iter().filter_map(|columns| Some((columns, columns.first_fault()?))) {
            if let Some(untold) = self.values.lock().failed(now) {
                let values = columns.faults();
                tracing::warn!(store = self.store, values, untold, fault, "stored features cannot be used as declared");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{QUIET, Silence};

    #[test]
    fn a_store_that_fails_is_told_seldom_and_its_recovery_once() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        assert!(!silence.succeeded(), "it never failed");
        assert_eq!(silence.failed(at(0.0)), Some(0));
        assert_eq!(silence.failed(at(0.1)), None);
        assert!(silence.succeeded());
        assert!(!silence.succeeded());
        // It comes and goes: not a word more within the quiet time.
        for moment in 1..100 {
            assert_eq!(silence.failed(at(f64::from(moment) / 10.0)), None);
            assert!(!silence.succeeded());
        }
        assert_eq!(silence.failed(start + QUIET), Some(100));
        assert_eq!(silence.failed(start + QUIET + QUIET), Some(0));
        assert!(silence.succeeded());
    }
}
