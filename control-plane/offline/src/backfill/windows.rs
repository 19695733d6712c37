//! A day in stretches of which each has few enough rows. Pure.

use std::collections::BTreeMap;

use super::partition::DAY;

const HOUR: i64 = DAY / 24;

/// How many rows there are of each hour since the epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Hours(BTreeMap<i64, u64>);

impl Hours {
    pub(super) fn count(&mut self, times: &[i64]) {
        // Neighbours are mostly of one hour.
        let mut last: Option<(i64, u64)> = None;
        for time in times {
            let hour = time.div_euclid(HOUR);
            last = match last {
                Some((known, rows)) if known == hour => Some((known, rows + 1)),
                other => {
                    self.add(other);
                    Some((hour, 1))
                }
            };
        }
        self.add(last);
    }

    fn add(&mut self, counted: Option<(i64, u64)>) {
        if let Some((hour, rows)) = counted {
            *self.0.entry(hour).or_default() += rows;
        }
    }

    /// Rows of a day.
    pub(super) fn rows(&self, day: i64) -> u64 {
        self.0.range(day * 24..(day + 1) * 24).map(|(_, rows)| rows).sum()
    }

    /// The day in stretches, from the one to before the other, one after another. Each has at most so many rows; an hour
    /// that has more is parted evenly, in the hope that its rows are.
    pub(super) fn windows(&self, day: i64, most_rows: u64) -> Vec<(i64, i64)> {
        let most_rows = most_rows.max(1);
        let mut ends = Vec::new();
        let mut rows_so_far = 0;
        for (hour, rows) in self.0.range(day * 24..(day + 1) * 24) {
            let start = hour * HOUR;
            if rows_so_far > 0 && rows_so_far + rows > most_rows {
                ends.push(start);
                rows_so_far = 0;
            }
            let parts = i64::try_from(rows.div_ceil(most_rows)).unwrap_or(HOUR).clamp(1, HOUR / 1_000_000);
            ends.extend((1..parts).map(|part| start + HOUR / parts * part));
            rows_so_far = if parts > 1 { most_rows } else { rows_so_far + rows };
        }
        ends.push((day + 1) * DAY);
        let mut start = day * DAY;
        let window = |end: i64| (std::mem::replace(&mut start, end), end);
        ends.into_iter().map(window).filter(|(start, end)| start < end).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{DAY, HOUR, Hours};

    proptest! {
        #[test]
        fn stretches_follow_one_another_and_are_small(
            times in prop::collection::vec((0_i64..24, 0..HOUR), 0..300), day in -3_i64..3, most in 1_u64..60,
        ) {
            let times: Vec<i64> = times.into_iter().map(|(hour, within)| day * DAY + hour * HOUR + within).collect();
            let mut hours = Hours::default();
            hours.count(&times);
            hours.count(&[(day + 1) * DAY]);
            prop_assert_eq!(hours.rows(day), times.len() as u64);
            let windows = hours.windows(day, most);
            prop_assert_eq!((windows[0].0, windows[windows.len() - 1].1), (day * DAY, (day + 1) * DAY));
            prop_assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0));
            for (start, end) in windows {
                let within: Vec<i64> = times.iter().copied().filter(|time| (start..end).contains(time)).collect();
                // Parts of one hour are as even as its rows are.
                let of_one_hour = || within.iter().all(|time| time.div_euclid(HOUR) == within[0].div_euclid(HOUR));
                let rows = within.len() as u64;
                prop_assert!(rows <= most || of_one_hour(), "{rows} of {most} in {start}..{end}");
            }
        }
    }
}
