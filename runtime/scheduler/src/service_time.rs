//! How long an execution takes, learned by batch size.
//!
//! A pure estimator: an exponentially weighted moving average per bucket of rows (1, 2, 3-4, 5-8, ...). It starts from
//! the fastest of the first three executions (the first ones of a cold model are slow), and one sample counts at most
//! eight times the average, so that a thread that was preempted does not look like a slow model; after a second without
//! samples a faster one counts in full. Estimates that decide over dropping a request must be fresh: dropping brings no
//! new sample, and an estimate must not condemn for ever.

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

impl Bucket {
    fn is_fresh(&self, now: Instant) -> bool {
        self.measured.is_some_and(|measured| now.saturating_duration_since(measured) < FRESH)
    }
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
        let was_fresh = bucket.is_fresh(now);
        bucket.measured = Some(now);
        if bucket.samples < FIRST_SAMPLES {
            bucket.average_ns = if bucket.samples == 0 { sample } else { bucket.average_ns.min(sample) };
            bucket.samples += 1;
            return;
        }
        if !was_fresh && sample < bucket.average_ns {
            bucket.average_ns = sample;
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

    /// Whether `rows` may well execute in less than `limit`: they did; or nobody knows, or not lately, and what is known
    /// does not speak against it.
    ///
    /// Who executes only larger batches never learns what a small one takes. A batch takes no longer than its parts one by
    /// one, so that each known batch gives a least time for its parts.
    pub(crate) fn may_be_below(&self, rows: u32, limit: Duration, now: Instant) -> bool {
        let index = bucket_of(rows);
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let own = self.buckets[index];
        if own.samples >= FIRST_SAMPLES {
            let old = !own.is_fresh(now) && own.average_ns < limit_ns.saturating_mul(MAX_RISE);
            return own.average_ns < limit_ns || old;
        }
        let larger = self.buckets.iter().enumerate().skip(index + 1);
        larger
            .filter(|(_, bucket)| bucket.samples >= FIRST_SAMPLES)
            .all(|(of, bucket)| bucket.average_ns >> (of - index) < limit_ns)
    }

    /// A careful (low) estimate for `rows` from recent executions of that or the next smaller known size; `None` when
    /// there were none lately.
    pub(crate) fn fresh_estimate(&self, rows: u32, now: Instant) -> Option<Duration> {
        self.buckets[..=bucket_of(rows)]
            .iter()
            .rev()
            .find(|bucket| bucket.samples >= FIRST_SAMPLES && bucket.is_fresh(now))
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

    #[test]
    fn what_only_ran_in_batches_may_be_fast_alone_unless_they_say_otherwise() {
        let (now, limit) = (Instant::now(), Duration::from_micros(10));
        let mut times = ServiceTimes::new();
        assert!(times.may_be_below(1, limit, now), "nothing is known");
        (0..3).for_each(|_| times.record(8, Duration::from_micros(60), now));
        assert!(times.may_be_below(1, limit, now), "8 parts of at least 7.5 us");
        (0..3).for_each(|_| times.record(64, Duration::from_micros(700), now));
        assert!(!times.may_be_below(1, limit, now), "64 parts of at least 10.9 us");
        (0..3).for_each(|_| times.record(1, Duration::from_micros(9), now));
        assert!(times.may_be_below(1, limit, now), "it was executed alone");
    }

    #[test]
    fn a_slow_spell_is_forgotten_with_the_first_sample_after_a_second() {
        let (start, limit) = (Instant::now(), Duration::from_micros(10));
        let mut times = ServiceTimes::new();
        (0..3).for_each(|_| times.record(1, Duration::from_micros(2), start));
        (0..20).for_each(|_| times.record(1, Duration::from_micros(40), start));
        assert!(!times.may_be_below(1, limit, start));
        let later = start + FRESH;
        assert!(times.may_be_below(1, limit, later), "worth another look");
        times.record(1, Duration::from_micros(2), later);
        assert_eq!(times.estimate(1), Some(Duration::from_micros(2)));
        // What is slow by far is not looked at again.
        (0..3).for_each(|_| times.record(4, Duration::from_millis(5), start));
        assert!(!times.may_be_below(4, limit, later));
    }
}
