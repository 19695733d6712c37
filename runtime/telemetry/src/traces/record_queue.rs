//! The bounded way from those who serve to the writer. Who brings a trace never waits; one that finds no room is dropped.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::record::TraceRecord;

/// Traces that wait to be written at most, without those that are written at the moment. A trace takes about a kilobyte.
const CAPACITY: usize = 4096;

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<TraceRecord>,
    /// Traces that were taken in.
    entered: u64,
    /// Traces that were written, or could not be.
    done: u64,
    closed: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct RecordQueue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl RecordQueue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a trace in; false when there is no room, or nobody writes any more.
    pub(super) fn push(&self, record: TraceRecord) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.records.len() >= CAPACITY {
            return false;
        }
        waiting.records.push_back(record);
        waiting.entered += 1;
        drop(waiting);
        self.changed.notify_all();
        true
    }

    /// Waits for traces and takes all of them; `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<VecDeque<TraceRecord>> {
        let mut waiting = self.lock();
        while waiting.records.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut waiting.records))
    }

    /// Notes that so many of those taken are done with.
    pub(super) fn note_done(&self, count: usize) {
        self.lock().done += count as u64;
        self.changed.notify_all();
    }

    /// Waits until everything that was taken in before is done with; false when that takes longer than `patience`.
    pub(super) fn settle(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        let entered = waiting.entered;
        while waiting.done < entered {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Takes nothing in from now on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::traces::numbered_files::TraceStream;
    use std::sync::Arc;

    fn record(id: u64) -> TraceRecord {
        let stream = Arc::new(TraceStream::plain());
        TraceRecord { stream, id, model: "m".into(), version: 1, request_id: "".into(), moments: Vec::new() }
    }

    #[test]
    fn what_finds_no_room_is_refused_and_what_was_taken_in_stays() {
        let queue = RecordQueue::default();
        for id in 0..CAPACITY as u64 {
            assert!(queue.push(record(id)));
        }
        assert!(!queue.push(record(0)));
        assert!(!queue.settle(Duration::ZERO));
        let taken = queue.take().unwrap();
        assert!(taken.iter().map(|record| record.id).eq(0..CAPACITY as u64));
        assert!(queue.push(record(1)), "there is room again");
        queue.note_done(taken.len());
        queue.close();
        assert!(!queue.push(record(2)));
        assert_eq!(queue.take().unwrap().len(), 1, "what was taken in before the end is written");
        queue.note_done(1);
        assert!(queue.settle(Duration::ZERO));
        assert!(queue.take().is_none());
    }
}
