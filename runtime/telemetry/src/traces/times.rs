//! When a sampled request came to which point; shared by all who work on it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::{Activity, DeviceSpans, TraceClock};

/// The moments of one request. Noting one takes no lock; of two notes of one point the later stays.
#[derive(Debug)]
pub struct TraceTimes {
    clock: TraceClock,
    /// Nanoseconds by activity; 0 for one that was not met.
    at: [AtomicU64; Activity::ALL.len()],
}

impl TraceTimes {
    /// No moments yet.
    #[must_use]
    pub fn new(clock: TraceClock) -> Self {
        Self { clock, at: [const { AtomicU64::new(0) }; Activity::ALL.len()] }
    }

    /// Notes that `activity` is met now.
    pub fn mark(&self, activity: Activity) {
        self.mark_at(activity, Instant::now());
    }

    /// Notes that `activity` was met at `instant`.
    pub fn mark_at(&self, activity: Activity, instant: Instant) {
        self.at[activity as usize].store(self.clock.nanoseconds(instant), Relaxed);
    }

    /// As [`TraceTimes::mark`], unless it was met before.
    pub fn mark_first(&self, activity: Activity) {
        let now = self.clock.nanoseconds(Instant::now());
        // One that was met before stays.
        let _before = self.at[activity as usize].compare_exchange(0, now, Relaxed, Relaxed);
    }

    /// Notes where the request's batch was on its GPU, and with it when its inputs and outputs were ready.
    pub fn mark_device(&self, spans: &DeviceSpans) {
        for (activity, instant) in spans.moments() {
            self.mark_at(activity, instant);
        }
    }

    /// What was met, by time; what was met at once in the order of [`Activity::ALL`].
    #[must_use]
    pub fn moments(&self) -> Vec<(Activity, u64)> {
        let read = |activity: Activity| (activity, self.at[activity as usize].load(Relaxed));
        let mut met: Vec<_> = Activity::ALL.into_iter().map(read).filter(|&(_, at)| at > 0).collect();
        met.sort_by_key(|&(_, at)| at);
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_are_told_by_time() {
        let start = Instant::now();
        let times = TraceTimes::new(TraceClock::new(start, Duration::from_secs(1)));
        let after = |nanoseconds| start + Duration::from_nanos(nanoseconds);
        times.mark_at(Activity::ComputeEnd, after(30));
        times.mark_at(Activity::QueueStart, after(10));
        times.mark_at(Activity::RequestStart, after(10));
        times.mark_at(Activity::ComputeStart, after(11));
        times.mark_at(Activity::ComputeStart, after(20));
        times.mark_first(Activity::ComputeEnd);
        let told: Vec<_> =
            times.moments().into_iter().map(|(activity, at)| (activity.name(), at - 1_000_000_000)).collect();
        let expected = [("REQUEST_START", 10), ("QUEUE_START", 10), ("COMPUTE_START", 20), ("COMPUTE_END", 30)];
        assert_eq!(told, expected);
    }
}
