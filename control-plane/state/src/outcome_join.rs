//! What to do with one outcome, given what is known of its request. Pure.

use crate::timestamp::Timestamp;

/// What is to happen to an outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judgement {
    Join,
    Hold,
    Duplicate,
    Conflicting { recorded: f64 },
    TooLate,
    NoRoom,
}

/// What is known when an outcome arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Value recorded earlier for the same request and metric.
    pub(crate) recorded: Option<f64>,
    /// When the request was served, if it is in the window.
    pub(crate) served_at: Option<Timestamp>,
    /// Whether one more outcome may wait.
    pub(crate) room: bool,
}

/// An earlier record decides first, then the request's window, then the room to wait in.
pub(crate) fn judge(value: f64, known: Known, now: Timestamp, window_millis: u64) -> Judgement {
    match (known.recorded, known.served_at) {
        // Both are finite: equal as numbers is equal.
        (Some(recorded), _) if recorded == value => Judgement::Duplicate,
        (Some(recorded), _) => Judgement::Conflicting { recorded },
        (None, Some(served_at)) if now > served_at.plus_millis(window_millis) => Judgement::TooLate,
        (None, Some(_)) => Judgement::Join,
        (None, None) if known.room => Judgement::Hold,
        (None, None) => Judgement::NoRoom,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_unix_millis(millis).unwrap()
    }

    proptest! {
        #[test]
        fn joins_exactly_when_new_and_inside_the_window(
            value in -2_i32..2,
            recorded in prop::option::of(-2_i32..2),
            served in prop::option::of(0_i64..100),
            now in 0_i64..300,
            window in 0_u64..100,
            room: bool,
        ) {
            let known = Known { recorded: recorded.map(f64::from), served_at: served.map(at), room };
            let judgement = judge(f64::from(value), known, at(now), window);
            let inside = served.is_some_and(|served| now <= served + i64::try_from(window).unwrap());
            prop_assert_eq!(judgement == Judgement::Join, recorded.is_none() && inside);
            prop_assert_eq!(judgement == Judgement::Hold, recorded.is_none() && served.is_none() && room);
            prop_assert_eq!(judgement == Judgement::Duplicate, recorded == Some(value));
        }
    }
}
