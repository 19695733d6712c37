//! The clock of trace files: nanoseconds since 1970, that never go back.

use std::time::{Duration, Instant};

/// Turns instants into nanoseconds since the epoch, by one reading of both clocks: later changes of the wall clock move
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct TraceClock {
    read: Instant,
    since_epoch: Duration,
}

impl TraceClock {
    /// A clock by which `read` was `since_epoch` after 1970.
    #[must_use]
    pub const fn new(read: Instant, since_epoch: Duration) -> Self {
        Self { read, since_epoch }
    }

    /// Nanoseconds since the epoch at `instant`; never 0.
    #[must_use]
    pub fn nanoseconds(&self, instant: Instant) -> u64 {
        let at = match instant.checked_duration_since(self.read) {
            Some(after) => self.since_epoch.saturating_add(after),
            None => self.since_epoch.saturating_sub(self.read.saturating_duration_since(instant)),
        };
        u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_instants_are_kept() {
        let read = Instant::now() + Duration::from_secs(5);
        let clock = TraceClock::new(read, Duration::from_secs(1_000));
        assert_eq!(clock.nanoseconds(read), 1_000_000_000_000);
        assert_eq!(clock.nanoseconds(read + Duration::from_nanos(7)), 1_000_000_000_007);
        assert_eq!(clock.nanoseconds(read - Duration::from_nanos(7)), 999_999_999_993);
        assert_eq!(TraceClock::new(read, Duration::ZERO).nanoseconds(read), 1);
    }
}
