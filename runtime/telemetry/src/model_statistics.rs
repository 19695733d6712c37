//! Counters of one served version of one model, since it was loaded.
//!
//! Names and meanings are those of Triton's statistics extension (W-65 to W-68). Requests are counted once, at the
//! edge, when their final response is known; batches once, where they are executed.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::batch_statistics::BatchStatistics;
use crate::{BatchRecord, BatchSizeSnapshot, BatchTrigger, LatencyHistogram, LatencySnapshot};

/// Why a request failed: the `reason` label of Triton's failure counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// Refused by a queue, a limit or a deadline, before execution.
    Rejected,
    /// The caller went away.
    Canceled,
    /// The model or its backend failed.
    Backend,
    /// Anything else, such as a malformed request.
    Other,
}

impl FailureReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    /// Value of the metric's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// A request that succeeded.
#[derive(Clone, Copy, Debug)]
pub struct SuccessRecord {
    /// From receipt to the final response.
    pub total_ns: u64,
    /// In the queue.
    pub queue_ns: u64,
    /// Gathering inputs.
    pub compute_input_ns: u64,
    /// Executing the model.
    pub compute_infer_ns: u64,
    /// Splitting outputs.
    pub compute_output_ns: u64,
    /// Milliseconds since the epoch.
    pub finished_epoch_ms: u64,
}

/// A count and the nanoseconds that belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationCount {
    /// How often.
    pub count: u64,
    /// How long, all together.
    pub ns: u64,
}

/// Counters of one version; shared by the scheduler, the edge and the readers.
#[derive(Debug)]
pub struct ModelStatistics {
    success_count: AtomicU64,
    success_ns: AtomicU64,
    queue_ns: AtomicU64,
    compute_input_ns: AtomicU64,
    compute_infer_ns: AtomicU64,
    compute_output_ns: AtomicU64,
    failures: [AtomicU64; FailureReason::ALL.len()],
    failure_ns: AtomicU64,
    inference_count: AtomicU64,
    execution_count: AtomicU64,
    last_inference_epoch_ms: AtomicU64,
    queue_depth: AtomicI64,
    device_busy_ns: AtomicU64,
    batches: BatchStatistics,
    latency: LatencyHistogram,
}

/// All counters of one version at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsSnapshot {
    /// Milliseconds since the epoch of the last success; 0 for none.
    pub last_inference_epoch_ms: u64,
    /// Rows executed.
    pub inference_count: u64,
    /// Batches executed.
    pub execution_count: u64,
    /// Requests that succeeded, from receipt to response.
    pub success: DurationCount,
    /// Requests that failed, from receipt to response.
    pub fail: DurationCount,
    /// Time in the queue, of the requests that succeeded.
    pub queue: DurationCount,
    /// Time of gathering inputs.
    pub compute_input: DurationCount,
    /// Time of execution.
    pub compute_infer: DurationCount,
    /// Time of splitting outputs.
    pub compute_output: DurationCount,
    /// Failures in the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::ALL.len()],
    /// Requests in the queue now.
    pub queue_depth: u64,
    /// Batches by size.
    pub batches: Vec<BatchSizeSnapshot>,
    /// Per trigger: cumulative counts by batch-size bound, and the sum of rows.
    pub triggers: Vec<(BatchTrigger, Vec<u64>, u64)>,
    /// Latency of requests that succeeded.
    pub latency: LatencySnapshot,
}

impl ModelStatistics {
    /// Counters at zero, for a model with this maximum batch size.
    #[must_use]
    pub fn new(max_batch_size: u32) -> Self {
        Self {
            success_count: AtomicU64::new(0),
            success_ns: AtomicU64::new(0),
            queue_ns: AtomicU64::new(0),
            compute_input_ns: AtomicU64::new(0),
            compute_infer_ns: AtomicU64::new(0),
            compute_output_ns: AtomicU64::new(0),
            failures: Default::default(),
            failure_ns: AtomicU64::new(0),
            inference_count: AtomicU64::new(0),
            execution_count: AtomicU64::new(0),
            last_inference_epoch_ms: AtomicU64::new(0),
            queue_depth: AtomicI64::new(0),
            device_busy_ns: AtomicU64::new(0),
            batches: BatchStatistics::new(max_batch_size),
            latency: LatencyHistogram::default(),
        }
    }

    /// Counts a request that succeeded.
    pub fn record_success(&self, record: &SuccessRecord) {
        self.success_count.fetch_add(1, Relaxed);
        self.success_ns.fetch_add(record.total_ns, Relaxed);
        self.queue_ns.fetch_add(record.queue_ns, Relaxed);
        self.compute_input_ns.fetch_add(record.compute_input_ns, Relaxed);
        self.compute_infer_ns.fetch_add(record.compute_infer_ns, Relaxed);
        self.compute_output_ns.fetch_add(record.compute_output_ns, Relaxed);
        self.last_inference_epoch_ms.store(record.finished_epoch_ms, Relaxed);
        self.latency.record(record.total_ns);
    }

    /// Counts a request that failed.
    pub fn record_failure(&self, reason: FailureReason, total_ns: u64) {
        self.failures[reason as usize].fetch_add(1, Relaxed);
        self.failure_ns.fetch_add(total_ns, Relaxed);
    }

    /// Counts an executed batch.
    pub fn record_batch(&self, record: &BatchRecord) {
        self.inference_count.fetch_add(u64::from(record.rows), Relaxed);
        self.execution_count.fetch_add(1, Relaxed);
        self.batches.record(record);
    }

    /// Adds time that a GPU computed for this version, by its own clock.
    pub fn device_busy_add(&self, nanoseconds: u64) {
        self.device_busy_ns.fetch_add(nanoseconds, Relaxed);
    }

    /// Nanoseconds that GPUs computed for this version.
    #[must_use]
    pub fn device_busy_ns(&self) -> u64 {
        self.device_busy_ns.load(Relaxed)
    }

    /// Changes the number of queued requests.
    pub fn queue_depth_add(&self, change: i64) {
        self.queue_depth.fetch_add(change, Relaxed);
    }

    /// All counters at this moment; each is exact, together they may be a few requests apart.
    #[must_use]
    pub fn snapshot(&self) -> StatisticsSnapshot {
        let count = self.success_count.load(Relaxed);
        let duration = |ns: &AtomicU64| DurationCount { count, ns: ns.load(Relaxed) };
        let failures = [0, 1, 2, 3].map(|reason: usize| self.failures[reason].load(Relaxed));
        StatisticsSnapshot {
            last_inference_epoch_ms: self.last_inference_epoch_ms.load(Relaxed),
            inference_count: self.inference_count.load(Relaxed),
            execution_count: self.execution_count.load(Relaxed),
            success: duration(&self.success_ns),
            fail: DurationCount { count: failures.iter().sum(), ns: self.failure_ns.load(Relaxed) },
            queue: duration(&self.queue_ns),
            compute_input: duration(&self.compute_input_ns),
            compute_infer: duration(&self.compute_infer_ns),
            compute_output: duration(&self.compute_output_ns),
            failures,
            queue_depth: u64::try_from(self.queue_depth.load(Relaxed)).unwrap_or(0),
            batches: self.batches.sizes(),
            triggers: self.batches.triggers(),
            latency: self.latency.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let statistics = ModelStatistics::new(8);
        let record = SuccessRecord {
            total_ns: 10,
            queue_ns: 4,
            compute_input_ns: 1,
            compute_infer_ns: 3,
            compute_output_ns: 2,
            finished_epoch_ms: 77,
        };
        statistics.record_success(&record);
        statistics.record_success(&record);
        statistics.record_failure(FailureReason::Canceled, 5);
        statistics.queue_depth_add(3);
        statistics.queue_depth_add(-1);
        let snapshot = statistics.snapshot();
        assert_eq!(snapshot.success, DurationCount { count: 2, ns: 20 });
        assert_eq!(snapshot.queue, DurationCount { count: 2, ns: 8 });
        assert_eq!(snapshot.compute_output, DurationCount { count: 2, ns: 4 });
        assert_eq!(snapshot.fail, DurationCount { count: 1, ns: 5 });
        assert_eq!(snapshot.failures, [0, 1, 0, 0]);
        assert_eq!(snapshot.queue_depth, 2);
        assert_eq!(snapshot.last_inference_epoch_ms, 77);
    }
}
