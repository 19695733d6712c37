//! Whether a model is under sustained load: more than a thousand requests a second.
//!
//! A pure counter over windows; `now` is an argument. A few requests in a row, as a test or a person sends them, are no
//! sustained load, however quickly they come.

use std::time::{Duration, Instant};

/// Length of a window in which requests are counted.
const WINDOW: Duration = Duration::from_millis(100);
/// Requests in a window from which on a model counts as busy: 1,000 in a second.
const BUSY: usize = 100;

/// Requests by window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestRate {
    start: Option<Instant>,
    current: usize,
    before: usize,
}

impl RequestRate {
    /// Notes that so many requests were executed.
    pub(crate) fn record(&mut self, requests: usize, now: Instant) {
        let age = self.start.map(|start| now.saturating_duration_since(start));
        if age.is_none_or(|age| age >= WINDOW) {
            // A window that ended long ago tells nothing about now.
            self.before = if age.is_some_and(|age| age < 2 * WINDOW) { self.current } else { 0 };
            (self.start, self.current) = (Some(now), 0);
        }
        self.current = self.current.saturating_add(requests);
    }

    /// Whether the last full window was busy, and ended just now.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.before >= BUSY && self.start.is_some_and(|start| now.saturating_duration_since(start) < 2 * WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(gap: Duration, requests: usize) -> (RequestRate, Instant) {
        let start = Instant::now();
        let (mut rate, mut now) = (RequestRate::default(), start);
        while now < start + Duration::from_millis(250) {
            rate.record(requests, now);
            now += gap;
        }
        (rate, now)
    }

    #[test]
    fn busy_needs_a_full_window_of_requests() {
        let (busy, now) = run(Duration::from_micros(500), 1);
        assert!(busy.is_busy(now));
        assert!(!busy.is_busy(now + 2 * WINDOW), "what was busy once is not busy for ever");
        assert!(!run(Duration::from_millis(5), 1).0.is_busy(now));
        let (batches, now) = run(Duration::from_millis(5), 8);
        assert!(batches.is_busy(now), "requests count, not batches");
    }

    #[test]
    fn a_burst_is_no_sustained_load() {
        let now = Instant::now();
        let mut rate = RequestRate::default();
        rate.record(10_000, now);
        assert!(!rate.is_busy(now));
        rate.record(1, now + 3 * WINDOW);
        assert!(!rate.is_busy(now + 3 * WINDOW));
    }
}
