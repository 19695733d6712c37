//! Whether and when a failed download is tried again. Pure.

use std::time::Duration;

use crate::{SourceError, SourceErrorCode};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Failures in a row without a new byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    most: u32,
    fruitless: u32,
}

impl Retry {
    pub(super) const fn new(most: u32) -> Self {
        Self { most, fruitless: 0 }
    }

    /// Pause before the next try; `None` when there is none. `progressed`: whether the failed try brought new bytes that
    /// the next one can build upon. What came too slowly is no progress, or it would never end.
    pub(super) fn after(&mut self, error: &SourceError, progressed: bool) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        let progressed = progressed && error.code() != SourceErrorCode::TooSlow;
        self.fruitless = if progressed { 0 } else { self.fruitless + 1 };
        if self.fruitless > self.most {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.fruitless.min(10));
        Some(doubled.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn only_fruitless_tries_count() {
        let cut = SourceError::new(SourceErrorCode::LengthMismatch, "", "");
        let mut retry = Retry::new(2);
        assert_eq!(retry.after(&cut, false), Some(Duration::from_millis(400)));
        assert_eq!(retry.after(&cut, false), Some(Duration::from_millis(800)));
        assert_eq!(retry.after(&cut, true), Some(Duration::from_millis(200)));
        assert!(retry.after(&cut, false).is_some());
        assert!(retry.after(&cut, false).is_some());
        assert_eq!(retry.after(&cut, false), None);
        let slow = SourceError::new(SourceErrorCode::TooSlow, "", "");
        let mut retry = Retry::new(1);
        assert!(retry.after(&slow, true).is_some());
        assert_eq!(retry.after(&slow, true), None);
        let gone = SourceError::new(SourceErrorCode::NotFound, "", "");
        assert_eq!(Retry::new(9).after(&gone, true), None);
    }
}
