//! A histogram of durations with fixed bounds, counted without a lock.
//!
//! Bounds are 1-2-5 steps from 50 us to 10 s: dense enough for a p99 of small models and of large ones, few
//! enough (17) to be scraped per model and version.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds in nanoseconds, ascending; a further bucket holds what is above all.
const BOUNDS_NS: [u64; 17] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Counts durations by bucket.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    buckets: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// Upper bound in nanoseconds (`None` for the last) and how many durations were at most that long.
    pub cumulative: Vec<(Option<u64>, u64)>,
    /// Sum of all durations in nanoseconds.
    pub sum_ns: u64,
}

impl LatencyHistogram {
    /// Counts one duration.
    pub fn record(&self, nanoseconds: u64) {
        let bucket = BOUNDS_NS.iter().position(|&bound| nanoseconds <= bound).unwrap_or(BOUNDS_NS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(nanoseconds, Relaxed);
    }

    /// The counts at this moment.
    #[must_use]
    pub fn snapshot(&self) -> LatencySnapshot {
        let mut running = 0;
        let cumulative = self
            .buckets
            .iter()
            .enumerate()
            .map(|(index, bucket)| {
                running += bucket.load(Relaxed);
                (BOUNDS_NS.get(index).copied(), running)
            })
            .collect();
        LatencySnapshot { cumulative, sum_ns: self.sum_ns.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_its_bucket() {
        let histogram = LatencyHistogram::default();
        for nanoseconds in [1, 50_000, 50_001, 20_000_000_000] {
            histogram.record(nanoseconds);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.cumulative[0], (Some(50_000), 2));
        assert_eq!(snapshot.cumulative[1], (Some(100_000), 3));
        assert_eq!(snapshot.cumulative.last(), Some(&(None, 4)));
        assert_eq!(snapshot.sum_ns, 20_000_100_002);
    }
}
