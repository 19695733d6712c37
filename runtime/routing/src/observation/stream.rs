//! A bounded stream from many writers to one reader: several rings, so that writers seldom meet.
//!
//! Invariant: a record is read once, or counted as dropped once. Writers never wait and never allocate. Order holds among
//! the records of one thread (until there are more threads than rings, within a ring); each batch is sorted by time.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use super::Observation;

#[derive(Debug)]
struct Ring {
    records: ArrayQueue<Observation>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Rings(Box<[Ring]>);

/// Counts of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Records that wait to be read.
    pub waiting: u64,
    /// Records that found no place, since the start.
    pub dropped: u64,
}

/// The writers' end; clones write to the same stream.
#[derive(Clone, Debug)]
pub struct ObservationSender {
    rings: Arc<Rings>,
}

/// The reader's end; there is one.
#[derive(Debug)]
pub struct ObservationReader {
    rings: Arc<Rings>,
    /// Ring to begin with, so that a full one does not starve the others.
    next: usize,
}

/// A stream of `rings` rings (at least 1) that together hold at least `capacity` records. Memory is taken at once.
#[must_use]
pub fn observation_stream(rings: usize, capacity: usize) -> (ObservationSender, ObservationReader) {
    let rings = rings.max(1);
    let each = capacity.div_ceil(rings).max(1);
    let ring = |_| Ring { records: ArrayQueue::new(each), dropped: AtomicU64::new(0) };
    let rings = Arc::new(Rings((0..rings).map(ring).collect()));
    (ObservationSender { rings: Arc::clone(&rings) }, ObservationReader { rings, next: 0 })
}

impl Rings {
    fn counts(&self) -> StreamCounts {
        self.0.iter().fold(StreamCounts::default(), |counts, ring| StreamCounts {
            waiting: counts.waiting + ring.records.len() as u64,
            dropped: counts.dropped + ring.dropped.load(Relaxed),
        })
    }
}

/// A number of this thread: threads are numbered as they first write.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<Option<usize>> = const { Cell::new(None) });
    NUMBER.with(|number| {
        number.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Relaxed);
            number.set(Some(new));
            new
        })
    })
}

impl ObservationSender {
    /// Puts a record on the stream, or drops and counts it when this thread's ring is full. Never blocks.
    pub fn push(&self, observation: Observation) {
        let ring = &self.rings.0[thread_number() % self.rings.0.len()];
        if ring.records.push(observation).is_err() {
            ring.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Counts of the stream.
    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        self.rings.counts()
    }
}

impl ObservationReader {
    /// Moves up to `most` records to the end of `batch`, sorted by the time at which they ended; gives how many. Does not
    /// wait.
    pub fn drain(&mut self, batch: &mut Vec<Observation>, most: usize) -> usize {
        let start = batch.len();
        let rings = &self.rings.0;
        for offset in 0..rings.len() {
            let ring = &rings[(self.next + offset) % rings.len()];
            // What is there now, not what comes meanwhile: a busy writer must not keep the reader for itself.
            for _ in 0..ring.records.len().min(most - (batch.len() - start)) {
                let Some(observation) = ring.records.pop() else { break };
                batch.push(observation);
            }
        }
        self.next = (self.next + 1) % rings.len();
        batch[start..].sort_by_key(|observation| observation.finished_microseconds);
        batch.len() - start
    }

    /// Counts of the stream.
    #[must_use]
    pub fn counts(&self) -> StreamCounts {
        self.rings.counts()
    }
}
