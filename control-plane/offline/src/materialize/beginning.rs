//! From where a materialisation goes on, and how far the view is after it. Pure.
//!
//! The invariant: a row is left out only where its event time is before one that was read, and the store that took that is
//! still the same.

/// How far the clocks of machines that materialise one view may be apart, in nanoseconds: five minutes. A mark that is ahead
/// by less is one that the clock will soon have passed.
const CLOCKS_APART: i64 = 300 * 1_000_000_000;

/// From where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing is known of it: from the first row on.
    First,
    /// Where it ended.
    Where(i64),
    /// From the first row on, because the store has no mark any more: it was emptied or replaced since it was filled until then.
    Forgotten(i64),
    /// From the first row on, because the mark is in the future: a clock was wrong, now or then.
    Ahead(i64),
}

impl Beginning {
    /// By the mark that the store holds, what is noted beside the declarations, and what time it is.
    #[must_use]
    pub const fn of(held: Option<i64>, noted: Option<i64>, now: i64) -> Self {
        match (held, noted) {
            (Some(held), _) if held > now.saturating_add(CLOCKS_APART) => Self::Ahead(held),
            (Some(held), _) => Self::Where(held),
            (None, Some(noted)) => Self::Forgotten(noted),
            (None, None) => Self::First,
        }
    }

    /// Until when everything is there already.
    #[must_use]
    pub const fn reached(self) -> Option<i64> {
        match self {
            Self::Where(reached) => Some(reached),
            Self::First | Self::Forgotten(_) | Self::Ahead(_) => None,
        }
    }
}

/// The mark after rows from `begin` to before `to` were written, the newest of them of the time `newest`; none where it stays
/// as it is.
///
/// It is behind the newest row, and never where no row was read yet: however far ahead a clock is, it leaves out nothing. A
/// gap between what was reached and `begin` leaves the mark where it is.
#[must_use]
pub fn mark_after(reached: Option<i64>, begin: i64, to: i64, newest: Option<i64>) -> Option<i64> {
    let until = newest?.saturating_add(1).min(to);
    reached.is_none_or(|reached| begin <= reached && until > reached).then_some(until)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Beginning, CLOCKS_APART, mark_after};

    #[test]
    fn the_store_is_believed_and_the_note_only_tells_what_it_lost() {
        assert_eq!(Beginning::of(None, None, 10), Beginning::First);
        assert_eq!(Beginning::of(Some(5), None, 10), Beginning::Where(5));
        assert_eq!(Beginning::of(Some(5), Some(9), 10), Beginning::Where(5));
        assert_eq!(Beginning::of(None, Some(9), 10), Beginning::Forgotten(9));
        assert_eq!(Beginning::of(Some(10 + CLOCKS_APART), None, 10), Beginning::Where(10 + CLOCKS_APART));
        assert_eq!(Beginning::of(Some(11 + CLOCKS_APART), Some(9), 10), Beginning::Ahead(11 + CLOCKS_APART));
        assert_eq!(Beginning::of(Some(i64::MAX), None, i64::MAX).reached(), Some(i64::MAX));
    }

    #[test]
    fn a_gap_leaves_the_mark_where_it_is() {
        assert_eq!(mark_after(None, 5, 20, Some(10)), Some(11));
        assert_eq!(mark_after(Some(5), 5, 20, Some(10)), Some(11));
        assert_eq!(mark_after(Some(5), 6, 20, Some(10)), None);
        assert_eq!(mark_after(Some(15), 5, 20, Some(10)), None);
        assert_eq!(mark_after(None, 5, 20, None), None);
        assert_eq!(mark_after(None, i64::MIN, i64::MAX, Some(i64::MAX)), Some(i64::MAX));
    }

    /// A store, what is noted of it, and a source with a row every ten seconds.
    #[derive(Default)]
    struct World {
        rows: BTreeSet<i64>,
        mark: Option<i64>,
        noted: Option<i64>,
    }

    const SECOND: i64 = 1_000_000_000;

    impl World {
        /// A run at a time, by a clock that is so much ahead or behind.
        fn run(&mut self, time: i64, clock: i64, asked: Option<i64>) {
            let now = time + clock;
            let beginning = Beginning::of(self.mark, self.noted, now);
            let (begin, to) = (beginning.reached().unwrap_or(i64::MIN), asked.unwrap_or(now).min(now));
            if begin > to {
                return;
            }
            let source = (0..).map(|row| row * 10 * SECOND).take_while(|row| *row <= time);
            let read: Vec<i64> = source.filter(|row| (begin..to).contains(row)).collect();
            self.rows.extend(&read);
            if let Some(mark) = mark_after(beginning.reached(), begin, to, read.last().copied()) {
                (self.mark, self.noted) = (Some(mark), Some(mark));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_clocks_said_and_stores_lost_the_next_run_makes_it_whole(
            runs in prop::collection::vec(
                (1_i64..2000, prop_oneof![3 => Just(0_i64), 1 => -100_000_i64..100_000], any::<bool>(), 0_u8..8,
                 prop::option::of(-5000_i64..50_000)),
                0..12,
            ),
        ) {
            let (mut world, mut time) = (World::default(), 0);
            for (later, clock, emptied, kind, asked) in runs {
                time += later * SECOND;
                if emptied && kind == 0 {
                    (world.rows, world.mark) = (BTreeSet::new(), None);
                }
                world.run(time, clock * SECOND, asked.map(|to| to * SECOND));
                // Nothing before the mark is missing.
                let expected = (0..).map(|row| row * 10 * SECOND).take_while(|row| world.mark.is_some_and(|mark| *row < mark));
                for row in expected {
                    prop_assert!(world.rows.contains(&row), "{row} of {:?}", world.mark);
                }
            }
            time += SECOND;
            world.run(time, 0, None);
            let missing = (0..).map(|row| row * 10 * SECOND).take_while(|row| *row < time).find(|row| !world.rows.contains(row));
            prop_assert_eq!(missing, None);
        }
    }
}
