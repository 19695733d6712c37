//! What a watch tells, and when it asks again. Pure.

use std::time::Duration;

use crate::{SourceError, SourceErrorCode};

/// How often a watch asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchPlan {
    /// Pause between two answers.
    pub interval: Duration,
    /// Longest pause while nobody answers; it doubles up to this.
    pub longest_pause: Duration,
}

impl Default for WatchPlan {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), longest_pause: Duration::from_secs(300) }
    }
}

/// What asking gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The reference names this now: [`crate::Sources::current`].
    Names(String),
    /// The reference names nothing now: the alias was removed, the branch deleted.
    Nothing,
    /// It could not be found out.
    Failed(SourceError),
}

impl From<Result<String, SourceError>> for Seen {
    fn from(answer: Result<String, SourceError>) -> Self {
        match answer {
            Ok(text) => Self::Names(text),
            Err(error) if matches!(error.code(), SourceErrorCode::AliasMissing | SourceErrorCode::NotFound) => {
                Self::Nothing
            }
            Err(error) => Self::Failed(error),
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The reference names something else than before.
    Moved {
        /// What it named before; `None` when it named nothing, or was never asked.
        from: Option<String>,
        /// What it names now.
        to: String,
    },
    /// The reference names nothing any more. Nobody should stop serving because of it.
    Removed {
        /// What it named before.
        from: String,
    },
    /// It cannot be found out any more; told once until it can be again.
    Blind(SourceError),
    /// It can be found out again.
    Sighted,
}

/// What a watch knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchState {
    known: Option<String>,
    failures: u32,
}

impl WatchState {
    /// A watch whose owner has acted on `known` last; a restart goes on where it stopped.
    #[must_use]
    pub const fn new(known: Option<String>) -> Self {
        Self { known, failures: 0 }
    }

    /// The events that `seen` means, in order, the state after they were told, and the pause before asking again.
    #[must_use]
    pub fn after(&self, seen: Seen, plan: &WatchPlan) -> (Vec<WatchEvent>, Self, Duration) {
        let mut events = Vec::new();
        let known = match seen {
            Seen::Failed(error) => {
                let failures = self.failures.saturating_add(1);
                if self.failures == 0 {
                    events.push(WatchEvent::Blind(error));
                }
                let doubled = plan.interval.saturating_mul(1 << failures.min(16));
                let pause = doubled.min(plan.longest_pause.max(plan.interval));
                return (events, Self { known: self.known.clone(), failures }, pause);
            }
            Seen::Names(to) => {
                if self.known.as_ref() != Some(&to) {
                    events.push(WatchEvent::Moved { from: self.known.clone(), to: to.clone() });
                }
                Some(to)
            }
            Seen::Nothing => {
                events.extend(self.known.clone().map(|from| WatchEvent::Removed { from }));
                None
            }
        };
        if self.failures > 0 {
            events.insert(0, WatchEvent::Sighted);
        }
        (events, Self { known, failures: 0 }, plan.interval)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn failed() -> Seen {
        Seen::Failed(SourceError::new(SourceErrorCode::Unreachable, "x", "y"))
    }

    #[test]
    fn a_story() {
        let plan = WatchPlan { interval: Duration::from_secs(10), longest_pause: Duration::from_secs(60) };
        let mut state = WatchState::new(Some("m/1".into()));
        let mut told = Vec::new();
        let mut pauses = Vec::new();
        let names = |text: &str| Seen::Names(text.into());
        for seen in [
            names("m/1"),
            names("m/2"),
            failed(),
            failed(),
            failed(),
            names("m/2"),
            Seen::Nothing,
            Seen::Nothing,
            names("m/3"),
        ] {
            let (events, next, pause) = state.after(seen, &plan);
            told.extend(events);
            pauses.push(pause.as_secs());
            state = next;
        }
        let moved = |from: Option<&str>, to: &str| WatchEvent::Moved { from: from.map(Into::into), to: to.into() };
        assert!(matches!(told[1], WatchEvent::Blind(_)));
        told.remove(1);
        assert_eq!(
            told,
            [
                moved(Some("m/1"), "m/2"),
                WatchEvent::Sighted,
                WatchEvent::Removed { from: "m/2".into() },
                moved(None, "m/3")
            ]
        );
        assert_eq!(pauses, [10, 10, 20, 40, 60, 10, 10, 10, 10]);
    }

    proptest! {
        /// Whoever applies the events knows what the source named last, whatever failed in between.
        #[test]
        fn events_rebuild_the_truth(story in proptest::collection::vec(0_u8..5, 0..40), start in 0_u8..4) {
            let plan = WatchPlan::default();
            let text = |number: u8| (number > 0).then(|| format!("m/{number}"));
            let mut truth = text(start);
            let mut applied = truth.clone();
            let mut state = WatchState::new(truth.clone());
            let mut blind = false;
            for number in story {
                let seen = match number {
                    4 => failed(),
                    number => {
                        truth = text(number);
                        truth.clone().map_or(Seen::Nothing, Seen::Names)
                    }
                };
                let (events, next, pause) = state.after(seen, &plan);
                prop_assert!(pause >= plan.interval && pause <= plan.longest_pause);
                for event in events {
                    match event {
                        WatchEvent::Moved { from, to } => {
                            prop_assert_eq!(&from, &applied);
                            applied = Some(to);
                        }
                        WatchEvent::Removed { from } => {
                            prop_assert_eq!(Some(from), applied.take());
                        }
                        WatchEvent::Blind(_) => {
                            prop_assert!(!blind);
                            blind = true;
                        }
                        WatchEvent::Sighted => {
                            prop_assert!(blind);
                            blind = false;
                        }
                    }
                }
                prop_assert_eq!(blind, number == 4);
                prop_assert_eq!(&applied, &truth);
                state = next;
            }
        }
    }
}
