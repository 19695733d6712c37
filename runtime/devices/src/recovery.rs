//! What to do after a failure at a device, as a pure function of the failure and of what was rebuilt before.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Severity;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Go on: only this call failed.
    Keep,
    /// Everything in this context is lost: destroy it, make it anew and rebuild every instance in it.
    RebuildContext,
    /// Leave the device alone until the process is started anew.
    Abandon,
}

/// Times at which a device's context was rebuilt, since some common start; at most those within the window are kept.
#[derive(Clone, Debug, Default)]
pub struct RebuildHistory {
    rebuilt: VecDeque<Duration>,
}

impl RebuildHistory {
    /// Rebuilds within [`RebuildHistory::WINDOW`] after which a device is given up: a model that damages its context on
    /// every start must not take the others on the device down for ever.
    pub const MOST: usize = 3;
    /// The time over which rebuilds are counted.
    pub const WINDOW: Duration = Duration::from_secs(600);

    /// Notes a rebuild at `now`.
    pub fn note(&mut self, now: Duration) {
        self.forget(now);
        self.rebuilt.push_back(now);
    }

    fn forget(&mut self, now: Duration) {
        while self.rebuilt.front().is_some_and(|&then| now.saturating_sub(then) >= Self::WINDOW) {
            self.rebuilt.pop_front();
        }
    }

    fn within_window(&self, now: Duration) -> usize {
        self.rebuilt.iter().filter(|&&then| now.saturating_sub(then) < Self::WINDOW).count()
    }
}

/// Decides what follows a failure of `severity` at `now`.
#[must_use]
pub fn recovery(severity: Severity, history: &RebuildHistory, now: Duration) -> Recovery {
    match severity {
        Severity::Refused | Severity::OutOfMemory => Recovery::Keep,
        Severity::ContextLost if history.within_window(now) < RebuildHistory::MOST => Recovery::RebuildContext,
        Severity::ContextLost | Severity::DeviceLost => Recovery::Abandon,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_device_is_given_up_when_rebuilding_does_not_help() {
        let mut history = RebuildHistory::default();
        for second in 0..3 {
            let now = Duration::from_secs(second);
            assert_eq!(recovery(Severity::ContextLost, &history, now), Recovery::RebuildContext);
            history.note(now);
        }
        assert_eq!(recovery(Severity::ContextLost, &history, Duration::from_secs(5)), Recovery::Abandon);
        assert_eq!(recovery(Severity::ContextLost, &history, Duration::from_secs(601)), Recovery::RebuildContext);
        assert_eq!(recovery(Severity::OutOfMemory, &history, Duration::from_secs(5)), Recovery::Keep);
    }

    proptest! {
        #[test]
        fn rebuilds_are_bounded_in_every_window(gaps in proptest::collection::vec(0_u64..400, 1..60), lost in any::<bool>()) {
            let (mut history, mut now) = (RebuildHistory::default(), Duration::ZERO);
            let mut rebuilds: Vec<Duration> = Vec::new();
            for gap in gaps {
                now += Duration::from_secs(gap);
                let severity = if lost { Severity::DeviceLost } else { Severity::ContextLost };
                if recovery(severity, &history, now) == Recovery::RebuildContext {
                    history.note(now);
                    rebuilds.push(now);
                }
            }
            prop_assert!(history.rebuilt.len() <= RebuildHistory::MOST);
            prop_assert_eq!(lost, lost && rebuilds.is_empty());
            for window in rebuilds.windows(RebuildHistory::MOST + 1) {
                prop_assert!(window[RebuildHistory::MOST] - window[0] >= RebuildHistory::WINDOW);
            }
        }
    }
}
