//! The records that a runtime holds until they are acknowledged: bounded, the oldest stay, the newest are refused.
//!
//! Not the stream on the request's path: that one never blocks and this one has a lock. Whoever drains it puts what comes
//! in here, at short intervals.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{DrainRequest, RecordBatch, RuntimeRecord};

/// Most records of one batch.
const MOST_RECORDS: u32 = 65_536;

/// Records that wait for their acknowledgement.
#[derive(Debug)]
pub struct RetainedRecords {
    epoch: u64,
    capacity: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    records: VecDeque<RuntimeRecord>,
    /// Position of the record before the first held one.
    forgotten: u64,
    dropped: u64,
}

impl RetainedRecords {
    /// Holds up to `capacity` records (at least 1) of the run `epoch`, which is made different at every start of the
    /// process, such as the time in microseconds. 0 is made 1.
    #[must_use]
    pub fn new(epoch: u64, capacity: usize) -> Self {
        Self { epoch: epoch.max(1), capacity: capacity.max(1), held: Mutex::default() }
    }

    /// Names this run.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Records that there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.lock().records.len()
    }

    /// Puts records behind those that are held. Those that find no room are counted as dropped.
    pub fn extend(&self, records: impl IntoIterator<Item = RuntimeRecord>) {
        let mut held = self.lock();
        for record in records {
            if held.records.len() < self.capacity {
                held.records.push_back(record);
            } else {
                held.dropped += 1;
            }
        }
    }

    /// Counts records that were lost before they came here.
    pub fn count_dropped(&self, records: u64) {
        self.lock().dropped += records;
    }

    /// Answers [`RuntimePort::drain`](super::RuntimePort::drain). `table_version` is that of the table in force.
    #[must_use]
    pub fn drain(&self, request: DrainRequest, table_version: u64) -> RecordBatch {
        let mut held = self.lock();
        let (after, acknowledged) =
            if request.epoch == self.epoch { (request.after, request.acknowledged) } else { (0, 0) };
        let newest = held.forgotten + held.records.len() as u64;
        let forget = acknowledged.min(newest).saturating_sub(held.forgotten);
        let leaving = usize::try_from(forget).unwrap_or(usize::MAX).min(held.records.len());
        held.records.drain(..leaving);
        held.forgotten += forget;
        let skipped = after.clamp(held.forgotten, newest) - held.forgotten;
        let waiting = held.records.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        let most = usize::try_from(request.most.clamp(1, MOST_RECORDS)).unwrap_or(1);
        let records: Vec<_> = waiting.take(most).cloned().collect();
        let first = held.forgotten + skipped + 1;
        RecordBatch {
            epoch: self.epoch,
            first,
            more: first + (records.len() as u64) <= newest,
            records,
            dropped: held.dropped,
            table_version,
        }
    }

    /// Records are only moved in and out whole: a panic elsewhere leaves them right.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
