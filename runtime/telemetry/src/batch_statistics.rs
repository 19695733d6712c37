//! What is counted per executed batch: sizes, durations, and why the batch was closed.
//!
//! Sizes up to [`DIRECT_SIZES`] are counted without a lock; larger ones, which are rare and slow anyway, behind one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Why a batch was closed and dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchTrigger {
    /// The model does not batch, or the request came alone to an idle instance.
    Single,
    /// The next request would have exceeded the maximum, or the maximum was reached.
    Full,
    /// A preferred size was reached.
    Preferred,
    /// The queue delay of the oldest request was over.
    Delay,
    /// An instance was idle and the policy asks for no delay, or nothing more could arrive.
    Idle,
    /// The next request could not join (its shapes differ).
    Incompatible,
    /// A member of a failed batch was executed again on its own.
    Retry,
}

impl BatchTrigger {
    /// Every trigger, in label order.
    pub const ALL: [Self; 7] =
        [Self::Single, Self::Full, Self::Preferred, Self::Delay, Self::Idle, Self::Incompatible, Self::Retry];

    /// Value of the metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Full => "full",
            Self::Preferred => "preferred",
            Self::Delay => "delay",
            Self::Idle => "idle",
            Self::Incompatible => "incompatible",
            Self::Retry => "retry",
        }
    }
}

/// One executed batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRecord {
    /// Rows executed.
    pub rows: u32,
    /// Requests executed together.
    pub requests: u32,
    /// Why it was dispatched.
    pub trigger: BatchTrigger,
    /// Gathering inputs.
    pub compute_input_ns: u64,
    /// Executing the model.
    pub compute_infer_ns: u64,
    /// Splitting outputs.
    pub compute_output_ns: u64,
}

/// Counts of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchSizeSnapshot {
    /// Rows.
    pub batch_size: u32,
    /// How many batches had that size.
    pub count: u64,
    /// Sum of gathering, in nanoseconds.
    pub compute_input_ns: u64,
    /// Sum of execution, in nanoseconds.
    pub compute_infer_ns: u64,
    /// Sum of splitting, in nanoseconds.
    pub compute_output_ns: u64,
}

/// Batch sizes that are counted without a lock.
const DIRECT_SIZES: usize = 256;

#[derive(Debug, Default)]
struct SizeCell {
    count: AtomicU64,
    compute_input_ns: AtomicU64,
    compute_infer_ns: AtomicU64,
    compute_output_ns: AtomicU64,
}

/// Counts batches by size, and sizes by trigger.
#[derive(Debug)]
pub(crate) struct BatchStatistics {
    direct: Box<[SizeCell]>,
    large: Mutex<BTreeMap<u32, BatchSizeSnapshot>>,
    by_trigger: [[AtomicU64; SIZE_BOUNDS.len() + 1]; BatchTrigger::ALL.len()],
    rows_by_trigger: [AtomicU64; BatchTrigger::ALL.len()],
}

/// Upper bounds of the batch-size histogram, in rows.
pub(crate) const SIZE_BOUNDS: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

impl BatchStatistics {
    pub(crate) fn new(max_batch_size: u32) -> Self {
        let direct = (max_batch_size as usize).clamp(1, DIRECT_SIZES) + 1;
        Self {
            direct: (0..direct).map(|_| SizeCell::default()).collect(),
            large: Mutex::default(),
            by_trigger: Default::default(),
            rows_by_trigger: Default::default(),
        }
    }

    pub(crate) fn record(&self, record: &BatchRecord) {
        match self.direct.get(record.rows as usize) {
            Some(cell) => {
                cell.count.fetch_add(1, Relaxed);
                cell.compute_input_ns.fetch_add(record.compute_input_ns, Relaxed);
                cell.compute_infer_ns.fetch_add(record.compute_infer_ns, Relaxed);
                cell.compute_output_ns.fetch_add(record.compute_output_ns, Relaxed);
            }
            None => {
                let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
                let cell = large.entry(record.rows).or_default();
                cell.batch_size = record.rows;
                cell.count += 1;
                cell.compute_input_ns += record.compute_input_ns;
                cell.compute_infer_ns += record.compute_infer_ns;
                cell.compute_output_ns += record.compute_output_ns;
            }
        }
        let trigger = record.trigger as usize;
        let bucket = SIZE_BOUNDS.iter().position(|&bound| record.rows <= bound).unwrap_or(SIZE_BOUNDS.len());
        self.by_trigger[trigger][bucket].fetch_add(1, Relaxed);
        self.rows_by_trigger[trigger].fetch_add(u64::from(record.rows), Relaxed);
    }

    pub(crate) fn sizes(&self) -> Vec<BatchSizeSnapshot> {
        let direct = self.direct.iter().zip(0..).filter_map(|(cell, batch_size)| {
            let count = cell.count.load(Relaxed);
            (count > 0).then(|| BatchSizeSnapshot {
                batch_size,
                count,
                compute_input_ns: cell.compute_input_ns.load(Relaxed),
                compute_infer_ns: cell.compute_infer_ns.load(Relaxed),
                compute_output_ns: cell.compute_output_ns.load(Relaxed),
            })
        });
        let large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        direct.chain(large.values().copied()).collect()
    }

    /// Per trigger that occurred: cumulative counts by [`SIZE_BOUNDS`], then all; and the sum of rows.
    pub(crate) fn triggers(&self) -> Vec<(BatchTrigger, Vec<u64>, u64)> {
        BatchTrigger::ALL
            .into_iter()
            .zip(self.by_trigger.iter().zip(&self.rows_by_trigger))
            .filter_map(|(trigger, (buckets, rows))| {
                let mut running = 0;
                let cumulative: Vec<u64> = buckets
                    .iter()
                    .map(|bucket| {
                        running += bucket.load(Relaxed);
                        running
                    })
                    .collect();
                (running > 0).then(|| (trigger, cumulative, rows.load(Relaxed)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rows: u32, trigger: BatchTrigger) -> BatchRecord {
        BatchRecord { rows, requests: 1, trigger, compute_input_ns: 1, compute_infer_ns: 2, compute_output_ns: 3 }
    }

    #[test]
    fn sizes_and_triggers_are_counted() {
        let statistics = BatchStatistics::new(1_000_000);
        statistics.record(&record(3, BatchTrigger::Delay));
        statistics.record(&record(3, BatchTrigger::Full));
        statistics.record(&record(5000, BatchTrigger::Full));
        let sizes = statistics.sizes();
        assert_eq!(sizes.len(), 2);
        assert_eq!((sizes[0].batch_size, sizes[0].count, sizes[0].compute_infer_ns), (3, 2, 4));
        assert_eq!((sizes[1].batch_size, sizes[1].count, sizes[1].compute_output_ns), (5000, 1, 3));
        let triggers = statistics.triggers();
        assert_eq!(triggers[0].0, BatchTrigger::Full);
        assert_eq!(triggers[0].1[2], 1);
        assert_eq!(triggers[0].1.last(), Some(&2));
        assert_eq!(triggers[0].2, 5003);
        assert_eq!(triggers[1].0, BatchTrigger::Delay);
    }
}
