//! What the generator notes while it runs: latencies, successes, errors by kind.
//!
//! Owned by the one generator thread. The invariant: only the measured window is counted; the warm-up is not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// A short class: `status 503`, `connection`.
    pub(super) kind: String,
    /// What was said.
    pub(super) text: String,
    /// Whether the connection cannot be used again.
    pub(super) broken: bool,
}

/// What broke a connection, in words.
#[derive(Clone, Debug)]
pub(super) struct Cause(String);

impl<T: std::fmt::Display> From<T> for Cause {
    fn from(cause: T) -> Self {
        Self(cause.to_string())
    }
}

impl Failure {
    /// A connection that failed or broke.
    pub(super) fn connection(text: impl Into<Cause>) -> Self {
        Self { kind: "connection".to_owned(), text: text.into().0, broken: true }
    }
}

/// Errors of one kind.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct ErrorCount {
    /// How many.
    pub(super) count: u64,
    /// The text of the first.
    pub(super) first: String,
}

/// Notes of one level.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Instant,
    end: Instant,
    goodput_limit: Option<Duration>,
    /// Latencies in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Open loop: from the scheduled to the actual sending, in nanoseconds.
    pub(super) send_lag: Histogram<u64>,
    /// Exchanges answered within the window, successes and refusals.
    pub(super) answered: u64,
    /// Successes within the window.
    pub(super) successes: u64,
    /// Successes within the window that were in time.
    pub(super) good: u64,
    /// Errors by kind.
    pub(super) errors: BTreeMap<String, ErrorCount>,
}

/// Where latencies begin and which exchanges count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// Start of the latency: the sending, or the scheduled arrival.
    pub(super) from: Instant,
    /// The actual sending, for open loops.
    pub(super) sent: Option<Instant>,
}

impl Recorder {
    /// A recorder of the window between `start` and `end`; `None` when the histogram cannot be made.
    pub(super) fn new(start: Instant, end: Instant, goodput_limit: Option<Duration>) -> Option<Self> {
        // One nanosecond to one hour, three significant digits: about 0.1 % error.
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000_000, 3).ok();
        Some(Self {
            start,
            end,
            goodput_limit,
            latency: histogram()?,
            send_lag: histogram()?,
            answered: 0,
            successes: 0,
            good: 0,
            errors: BTreeMap::new(),
        })
    }

    /// Notes an exchange that ended `now`.
    ///
    /// Closed loop: it counts when it ends in the window. Open loop: its latency counts when it was scheduled in the
    /// window, however late it ends, and throughput counts what ends in the window.
    pub(super) fn note(&mut self, origin: Origin, now: Instant, outcome: Result<(), Failure>) {
        let in_window = self.start <= now && now < self.end;
        let counted = match origin.sent {
            Some(_) => self.start <= origin.from && origin.from < self.end,
            None => in_window,
        };
        self.answered += u64::from(in_window);
        match outcome {
            Ok(()) => {
                let latency = now.duration_since(origin.from);
                self.successes += u64::from(in_window);
                self.good += u64::from(in_window && self.goodput_limit.is_none_or(|limit| latency <= limit));
                if counted {
                    self.latency.saturating_record(nanoseconds(latency));
                }
            }
            Err(failure) if counted => self.note_error(failure),
            Err(_) => {}
        }
        if let (true, Some(sent)) = (counted, origin.sent) {
            self.send_lag.saturating_record(nanoseconds(sent.saturating_duration_since(origin.from)));
        }
    }

    /// Notes an error that belongs to no exchange in time.
    pub(super) fn note_error(&mut self, failure: Failure) {
        let entry = self.errors.entry(failure.kind);
        entry.or_insert(ErrorCount { count: 0, first: failure.text }).count += 1;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn the_window_decides_what_counts() {
        let zero = Instant::now();
        let at = |milliseconds| zero + Duration::from_millis(milliseconds);
        let mut recorder = Recorder::new(at(100), at(200), Some(Duration::from_millis(15))).unwrap();
        let closed = |from| Origin { from: at(from), sent: None };
        recorder.note(closed(80), at(90), Ok(()));
        recorder.note(closed(95), at(105), Ok(()));
        recorder.note(closed(105), at(130), Ok(()));
        recorder.note(closed(195), at(205), Ok(()));
        assert_eq!((recorder.successes, recorder.good, recorder.latency.len()), (2, 1, 2));
        let open = |from, sent| Origin { from: at(from), sent: Some(at(sent)) };
        recorder.note(open(190, 191), at(300), Ok(()));
        recorder.note(open(90, 90), at(110), Ok(()));
        assert_eq!((recorder.successes, recorder.latency.len(), recorder.send_lag.len()), (3, 3, 1));
        assert!(recorder.latency.max() >= 109_000_000);
        recorder.note(closed(110), at(120), Err(Failure::connection("first")));
        recorder.note(closed(110), at(121), Err(Failure::connection("second")));
        recorder.note(closed(10), at(21), Err(Failure::connection("warm-up")));
        let errors = &recorder.errors["connection"];
        assert_eq!((errors.count, errors.first.as_str()), (2, "first"));
    }
}
