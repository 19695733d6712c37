//! What is said once in a while, however often there is reason to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When something was said last, and how often it was not said since.
#[derive(Debug)]
pub(super) struct Seldom {
    pause: Duration,
    said: Mutex<(Option<Duration>, u64)>,
}

impl Seldom {
    /// Something that is said once in `pause`.
    pub(super) const fn new(pause: Duration) -> Self {
        Self { pause, said: Mutex::new((None, 0)) }
    }

    /// How often it was not said before, if it is to be said `now`, a time that only grows.
    pub(super) fn due(&self, now: Duration) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = *said;
        if last.is_some_and(|last| now.saturating_sub(last) < self.pause) {
            said.1 = unsaid.saturating_add(1);
            return None;
        }
        *said = (Some(now), 0);
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_said_once_in_a_while_and_counted() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let said: Vec<Option<u64>> =
            [0, 0, 1, 9, 10, 11, 30].map(|second| seldom.due(Duration::from_secs(second))).into();
        assert_eq!(said, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }
}
