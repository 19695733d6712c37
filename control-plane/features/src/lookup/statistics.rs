//! What lookups of a service did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::resolved::Origin;

/// Counts since the start; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupStatistics {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Reads of stores outside of memory, each one round trip at most.
    pub store_reads: u64,
    /// Keys of those reads; a key that several requests wanted counts once.
    pub store_keys: u64,
    /// Reads that failed or were too slow.
    pub store_failures: u64,
    /// Remembered rows that were dropped to make room for others.
    pub forgotten: u64,
    /// Values served, by where they came from, in the order of [`Origin::ALL`].
    pub origins: [u64; 6],
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    failed: AtomicU64,
    store_reads: AtomicU64,
    store_keys: AtomicU64,
    store_failures: AtomicU64,
    forgotten: AtomicU64,
    origins: [AtomicU64; 6],
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    pub(super) fn failed(&self) {
        add(&self.failed, 1);
    }

    pub(super) fn answered(&self, origins: &[Origin]) {
        add(&self.answered, 1);
        let mut counts = [0; 6];
        for origin in origins {
            counts[origin.place()] += 1;
        }
        for (counter, count) in self.origins.iter().zip(counts).filter(|(_, count)| *count > 0) {
            add(counter, count);
        }
    }

    pub(super) fn store_read(&self, keys: usize, succeeded: bool) {
        add(&self.store_reads, 1);
        add(&self.store_keys, keys);
        add(&self.store_failures, usize::from(!succeeded));
    }

    pub(super) fn forgotten(&self) {
        add(&self.forgotten, 1);
    }

    pub(super) fn snapshot(&self) -> LookupStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LookupStatistics {
            answered: read(&self.answered),
            failed: read(&self.failed),
            store_reads: read(&self.store_reads),
            store_keys: read(&self.store_keys),
            store_failures: read(&self.store_failures),
            forgotten: read(&self.forgotten),
            origins: self.origins.each_ref().map(read),
        }
    }
}
