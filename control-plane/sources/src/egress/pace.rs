//! Whether an answer comes fast enough. Pure.
//!
//! Only the time counts in which it is waited for: a slow disk on this side says nothing about the other.

use std::time::Duration;

use crate::MinimumRate;

/// How an answer has come since the current stretch began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    least: MinimumRate,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(super) const fn new(least: MinimumRate) -> Self {
        Self { least, waited: Duration::ZERO, bytes: 0 }
    }

    pub(super) const fn least(&self) -> MinimumRate {
        self.least
    }

    /// Takes in that so many bytes came after a wait.
    ///
    /// # Errors
    /// Bytes a second over a stretch that is over, where they were too few.
    pub(super) fn came(&mut self, waited: Duration, bytes: usize) -> Result<(), u64> {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < self.least.over {
            return Ok(());
        }
        let millis = self.waited.as_millis().max(1);
        let rate = u64::try_from(u128::from(self.bytes) * 1000 / millis).unwrap_or(u64::MAX);
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        if rate < self.least.bytes_per_second { Err(rate) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_stretch_is_judged_by_itself() {
        let mut pace = Pace::new(MinimumRate { bytes_per_second: 100, over: 10 * SECOND });
        for _ in 0..9 {
            assert_eq!(pace.came(SECOND, 1), Ok(()));
        }
        assert_eq!(pace.came(SECOND, 991), Ok(()), "a thousand bytes in ten seconds");
        assert_eq!(pace.came(9 * SECOND, 990), Ok(()));
        assert_eq!(pace.came(SECOND, 9), Err(99), "what came before does not count any more");
        let mut patient = Pace::new(MinimumRate { bytes_per_second: 0, over: SECOND });
        assert_eq!(patient.came(1000 * SECOND, 0), Ok(()));
        let mut hasty = Pace::new(MinimumRate { bytes_per_second: 1, over: Duration::ZERO });
        assert_eq!(hasty.came(Duration::ZERO, 1), Ok(()));
    }

    proptest! {
        #[test]
        fn what_comes_as_fast_as_it_must_is_never_refused(
            waits in prop::collection::vec(1_u64..5000, 1..200), rate in 1_u64..10_000, over in 1_u64..60,
        ) {
            let mut pace = Pace::new(MinimumRate { bytes_per_second: rate, over: Duration::from_secs(over) });
            for wait in waits {
                let bytes = usize::try_from((rate * wait).div_ceil(1000)).unwrap();
                prop_assert_eq!(pace.came(Duration::from_millis(wait), bytes), Ok(()));
            }
        }

        #[test]
        fn a_byte_at_a_time_ends_with_the_first_stretch(wait in 1_u64..30_000) {
            let mut pace = Pace::new(MinimumRate::default());
            let mut waited = 0;
            while pace.came(Duration::from_millis(wait), 1).is_ok() {
                waited += wait;
                prop_assert!(waited < 60_000);
            }
        }
    }
}
