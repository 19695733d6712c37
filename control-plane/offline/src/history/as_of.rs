//! The as-of join as a pure function of columns: keys, times and created times in, places of rows out.
//!
//! Rows are sorted by key and time once; each row that asks is answered by a step from where its key was last asked, and
//! by a binary search where that is far. Tables that are asked in the order of time, which most are, need no search at all.

use super::keys::NO_KEY;
use crate::table::NO_ROW;

/// Steps from the last answer before it is searched for.
const STEPS: usize = 8;

/// Rows of a view, by key and time.
#[derive(Debug)]
pub(crate) struct History {
    /// For each key, where its rows begin; one more than keys.
    starts: Vec<u32>,
    /// Sorted within a key; of rows of one time the one that counts stands last.
    times: Vec<i64>,
    /// Their places in the table.
    rows: Vec<u32>,
}

impl History {
    /// Sorts rows: `keys` below `key_count`, times, and where there are any the times of creation. Of rows of one key and
    /// time the one created last stands last, and of those the last of the table.
    pub(crate) fn new(key_count: usize, keys: &[u32], times: &[i64], created: Option<&[i64]>) -> Self {
        let mut starts = vec![0_u32; key_count + 1];
        for key in keys {
            starts[*key as usize + 1] += 1;
        }
        for key in 0..key_count {
            starts[key + 1] += starts[key];
        }
        let mut next = starts.clone();
        let mut rows = vec![0_u32; keys.len()];
        for (row, key) in (0_u32..).zip(keys) {
            let place = &mut next[*key as usize];
            rows[*place as usize] = row;
            *place += 1;
        }
        for key in 0..key_count {
            let of_key = &mut rows[starts[key] as usize..starts[key + 1] as usize];
            // Stable, so the place in the table decides what is left.
            of_key.sort_by_key(|row| (times[*row as usize], created.map_or(0, |created| created[*row as usize])));
        }
        let times = rows.iter().map(|row| times[*row as usize]).collect();
        Self { starts, times, rows }
    }

    /// For each asking row, the place in the table of the newest row of its key at or before its time; [`NO_ROW`] where
    /// there is none.
    pub(crate) fn newest(&self, keys: &[u32], times: &[i64]) -> Vec<u32> {
        let mut cursors = self.starts.clone();
        let answer = |(key, time): (&u32, &i64)| {
            if *key == NO_KEY {
                return NO_ROW;
            }
            let key = *key as usize;
            let (start, end) = (self.starts[key] as usize, self.starts[key + 1] as usize);
            let place = self.behind(start, end, cursors[key] as usize, *time);
            cursors[key] = u32::try_from(place).unwrap_or(cursors[key]);
            if place == start { NO_ROW } else { self.rows[place - 1] }
        };
        keys.iter().zip(times).map(answer).collect()
    }

    /// The place behind the last of `times[start..end]` that is at most `time`, looked for from `near`.
    fn behind(&self, start: usize, end: usize, near: usize, time: i64) -> usize {
        let after = |place: usize| self.times[place] > time;
        let mut place = near;
        if place > start && after(place - 1) {
            return start + self.times[start..place].partition_point(|one| *one <= time);
        }
        for _ in 0..STEPS {
            if place == end || after(place) {
                return place;
            }
            place += 1;
        }
        place + self.times[place..end].partition_point(|one| *one <= time)
    }

    /// The newest row of each key, in the order of keys; [`NO_ROW`] for a key without rows.
    pub(crate) fn last_of_each(&self) -> impl Iterator<Item = u32> {
        self.starts.windows(2).map(|bounds| {
            let (start, end) = (bounds[0] as usize, bounds[1] as usize);
            if start == end { NO_ROW } else { self.rows[end - 1] }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{History, NO_KEY, NO_ROW};

    /// What is meant, row by row over the whole table.
    fn by_hand(table: &[(u32, i64, i64)], key: u32, time: i64) -> u32 {
        let mut best: Option<(i64, i64, u32)> = None;
        for (row, (other, event, created)) in (0_u32..).zip(table) {
            let newer = best.is_none_or(|(at, written, _)| (*event, *created) >= (at, written));
            if *other == key && *event <= time && newer {
                best = Some((*event, *created, row));
            }
        }
        best.map_or(NO_ROW, |(_, _, row)| row)
    }

    proptest! {
        #[test]
        fn the_join_is_what_is_meant(
            table in prop::collection::vec((0_u32..5, -20_i64..20, 0_i64..3), 0..80),
            mut asked in prop::collection::vec((prop_oneof![9 => 0_u32..5, 1 => Just(NO_KEY)], -25_i64..25), 0..80),
            sorted in any::<bool>(),
            with_created in any::<bool>(),
        ) {
            if sorted {
                asked.sort_by_key(|(_, time)| *time);
            }
            let table: Vec<_> =
                table.into_iter().map(|(key, time, created)| (key, time, if with_created { created } else { 0 })).collect();
            let keys: Vec<u32> = table.iter().map(|row| row.0).collect();
            let times: Vec<i64> = table.iter().map(|row| row.1).collect();
            let created: Vec<i64> = table.iter().map(|row| row.2).collect();
            let history = History::new(5, &keys, &times, with_created.then_some(created.as_slice()));
            let (asked_keys, asked_times): (Vec<u32>, Vec<i64>) = asked.iter().copied().unzip();
            let found = history.newest(&asked_keys, &asked_times);
            let expected: Vec<u32> = asked
                .iter()
                .map(|(key, time)| if *key == NO_KEY { NO_ROW } else { by_hand(&table, *key, *time) })
                .collect();
            prop_assert_eq!(&found, &expected);
            // Nothing from the future, ever.
            for (row, (_, time)) in found.iter().zip(&asked).filter(|(row, _)| **row != NO_ROW) {
                prop_assert!(times[*row as usize] <= *time);
            }
            let newest: Vec<u32> = (0..5).map(|key| by_hand(&table, key, i64::MAX)).collect();
            prop_assert_eq!(history.last_of_each().collect::<Vec<_>>(), newest);
        }
    }

    #[test]
    fn extremes_are_times_as_well() {
        let history = History::new(1, &[0, 0], &[i64::MIN, i64::MAX], None);
        assert_eq!(history.newest(&[0, 0, 0], &[i64::MIN, 0, i64::MAX]), [0, 0, 1]);
        assert_eq!(History::new(1, &[], &[], None).newest(&[0], &[7]), [NO_ROW]);
    }
}
