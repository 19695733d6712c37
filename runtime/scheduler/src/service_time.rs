//! How long an execution takes, learned by batch size.
//!
//! A pure estimator: an exponentially weighted moving average per bucket of rows (1, 2, 3-4, 5-8, ...). It starts from
//! the fastest of the first three executions (the first ones of a cold model are slow), and one sample counts at most
//! eight times the average, so that a thread that was preempted does not look like a slow model. Estimates that decide
//! over dropping a request must be fresh: dropping brings no new sample, and an estimate must not condemn for ever.

use std::time::{Duration, Instant};

/// Executions of a bucket before it has an estimate.
const FIRST_SAMPLES: u8 = 3;
/// A sample's weight is one in so many.
const WEIGHT: u64 = 8;
/// An upward sample counts at most so many times the average.
const MAX_RISE: u64 = 8;
/// Age at which an estimate no longer condemns a request.
const FRESH: Duration = Duration::from_secs(1);
const BUCKETS: usize = 33;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    average_ns: u64,
    samples: u8,
    measured: Option<Instant>,
}

/// Execution times by batch size.
#[derive(Debug)]
pub(crate) struct ServiceTimes {
    buckets: [Bucket; BUCKETS],
}

/// The bucket of a batch of `rows`: the exponent of the next power of two.
fn bucket_of(rows: u32) -> usize {
    (u32::BITS - rows.saturating_sub(1).leading_zeros()) as usize
}

impl ServiceTimes {
    /// Knows nothing.
    pub(crate) fn new() -> Self {
        Self { buckets: [Bucket::default(); BUCKETS] }
    }

    /// Learns that an execution of `rows` that ended at `now` took `elapsed`.
    pub(crate) fn record(&mut self, rows: u32, elapsed: Duration, now: Instant) {
        let bucket = &mut self.buckets[bucket_of(rows)];
        let sample = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 64);
        bucket.measured = Some(now);
        if bucket.samples < FIRST_SAMPLES {
            bucket.average_ns = if bucket.samples == 0 { sample } else { bucket.average_ns.min(sample) };
            bucket.samples += 1;
            return;
        }
        let sample = sample.min(bucket.average_ns.saturating_mul(MAX_RISE));
        bucket.average_ns = bucket.average_ns.saturating_mul(WEIGHT - 1).saturating_add(sample) / WEIGHT;
        bucket.average_ns = bucket.average_ns.max(1);
    }

    /// Time for `rows`; `None` before that size was executed a few times.
    pub(crate) fn estimate(&self, rows: u32) -> Option<Duration> {
        let bucket = &self.buckets[bucket_of(rows)];
        (bucket.samples >= FIRST_SAMPLES).then(|| Duration::from_nanos(bucket.average_ns))
    }

    /// A careful (low) estimate for `rows` from recent executions of that or the next smaller known size; `None` when
    /// there were none lately.
    pub(crate) fn fresh_estimate(&self, rows: u32, now: Instant) -> Option<Duration> {
        self.buckets[..=bucket_of(rows)]
            .iter()
            .rev()
            .find(|bucket| {
                bucket.samples >= FIRST_SAMPLES
                    && bucket.measured.is_some_and(|measured| now.saturating_duration_since(measured) < FRESH)
            })
            .map(|bucket| Duration::from_nanos(bucket.average_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 9].map(bucket_of), [0, 0, 1, 2, 2, 3, 3, 4]);
        assert!(bucket_of(u32::MAX) < BUCKETS);
    }

    #[test]
    fn a_cold_start_and_one_preemption_do_not_count() {
        let now = Instant::now();
        let mut times = ServiceTimes::new();
        for ms in [100, 1, 1] {
            assert_eq!(times.estimate(1), None);
            times.record(1, Duration::from_millis(ms), now);
        }
        assert_eq!(times.estimate(1), Some(Duration::from_millis(1)));
        times.record(1, Duration::from_secs(5), now);
        assert!(times.estimate(1).is_some_and(|time| time < Duration::from_millis(2)));
    }

    #[test]
    fn follows_a_lasting_change() {
        let now = Instant::now();
        let mut times = ServiceTimes::new();
        for _ in 0..10 {
            times.record(4, Duration::from_micros(2), now);
        }
        for _ in 0..8 {
            times.record(4, Duration::from_millis(100), now);
        }
        assert!(times.estimate(4).is_some_and(|time| time > Duration::from_micros(50)));
        for _ in 0..200 {
            times.record(4, Duration::from_micros(2), now);
        }
        assert!(times.estimate(4).is_some_and(|time| time < Duration::from_micros(3)));
    }

    #[test]
    fn old_estimates_condemn_nobody() {
        let now = Instant::now();
        let mut times = ServiceTimes::new();
        for _ in 0..3 {
            times.record(2, Duration::from_millis(7), now);
        }
        assert_eq!(times.fresh_estimate(1, now), None);
        assert_eq!(times.fresh_estimate(16, now), Some(Duration::from_millis(7)));
        assert_eq!(times.fresh_estimate(16, now + FRESH), None);
    }
}
