//! Every metric family that the runtime writes, by name, type and help.
//!
//! Names that begin with `nv_` are Triton's, kept because dashboards and autoscalers read them; families of our own
//! begin with `hanok_`.

use crate::batch_statistics::SIZE_BOUNDS;
use crate::{Exposition, FailureReason, MetricKind, StatisticsSnapshot};

/// A metric family per model and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricFamily {
    /// Requests that succeeded.
    RequestSuccess,
    /// Requests that failed, by reason.
    RequestFailure,
    /// Rows executed.
    InferenceCount,
    /// Batches executed.
    ExecutionCount,
    /// Sum of request durations.
    RequestDuration,
    /// Sum of queueing.
    QueueDuration,
    /// Sum of gathering inputs.
    ComputeInputDuration,
    /// Sum of execution.
    ComputeInferDuration,
    /// Sum of splitting outputs.
    ComputeOutputDuration,
    /// Requests waiting in a queue.
    PendingRequests,
    /// Batch sizes by trigger.
    BatchSize,
    /// Latency of requests that succeeded.
    RequestLatency,
}

impl MetricFamily {
    /// Every family, in the order of the page.
    pub const ALL: [Self; 12] = [
        Self::RequestSuccess,
        Self::RequestFailure,
        Self::InferenceCount,
        Self::ExecutionCount,
        Self::RequestDuration,
        Self::QueueDuration,
        Self::ComputeInputDuration,
        Self::ComputeInferDuration,
        Self::ComputeOutputDuration,
        Self::PendingRequests,
        Self::BatchSize,
        Self::RequestLatency,
    ];

    /// Name, type and help text.
    #[must_use]
    pub const fn describe(self) -> (&'static str, MetricKind, &'static str) {
        use MetricKind::{Counter, Gauge, Histogram};
        match self {
            Self::RequestSuccess => {
                ("nv_inference_request_success", Counter, "Number of successful inference requests, all batch sizes")
            }
            Self::RequestFailure => {
                ("nv_inference_request_failure", Counter, "Number of failed inference requests, all batch sizes")
            }
            Self::InferenceCount => {
                ("nv_inference_count", Counter, "Number of inferences performed (does not include cached requests)")
            }
            Self::ExecutionCount => (
                "nv_inference_exec_count",
                Counter,
                "Number of model executions performed (does not include cached requests)",
            ),
            Self::RequestDuration => (
                "nv_inference_request_duration_us",
                Counter,
                "Cumulative inference request duration in microseconds (includes cached requests)",
            ),
            Self::QueueDuration => (
                "nv_inference_queue_duration_us",
                Counter,
                "Cumulative inference queuing duration in microseconds (includes cached requests)",
            ),
            Self::ComputeInputDuration => (
                "nv_inference_compute_input_duration_us",
                Counter,
                "Cumulative compute input duration in microseconds (does not include cached requests)",
            ),
            Self::ComputeInferDuration => (
                "nv_inference_compute_infer_duration_us",
                Counter,
                "Cumulative compute inference duration in microseconds (does not include cached requests)",
            ),
            Self::ComputeOutputDuration => (
                "nv_inference_compute_output_duration_us",
                Counter,
                "Cumulative inference compute output duration in microseconds (does not include cached requests)",
            ),
            Self::PendingRequests => (
                "nv_inference_pending_request_count",
                Gauge,
                "Instantaneous number of pending requests awaiting execution per-model",
            ),
            Self::BatchSize => {
                ("hanok_batch_size_rows", Histogram, "Rows per executed batch, by what closed the batch")
            }
            Self::RequestLatency => (
                "hanok_request_duration_seconds",
                Histogram,
                "Duration of successful requests from receipt to final response",
            ),
        }
    }

    fn write(self, page: &mut Exposition, name: &str, labels: [(&str, &str); 2], statistics: &StatisticsSnapshot) {
        let [model, version] = labels;
        match self {
            Self::RequestSuccess => page.integer(name, &labels, statistics.success.count),
            Self::RequestFailure => {
                for (reason, count) in FailureReason::ALL.into_iter().zip(statistics.failures) {
                    page.integer(name, &[model, ("reason", reason.label()), version], count);
                }
            }
            Self::InferenceCount => page.integer(name, &labels, statistics.inference_count),
            Self::ExecutionCount => page.integer(name, &labels, statistics.execution_count),
            Self::RequestDuration => page.integer(name, &labels, statistics.success.ns / 1000),
            Self::QueueDuration => page.integer(name, &labels, statistics.queue.ns / 1000),
            Self::ComputeInputDuration => page.integer(name, &labels, statistics.compute_input.ns / 1000),
            Self::ComputeInferDuration => page.integer(name, &labels, statistics.compute_infer.ns / 1000),
            Self::ComputeOutputDuration => page.integer(name, &labels, statistics.compute_output.ns / 1000),
            Self::PendingRequests => page.integer(name, &labels, statistics.queue_depth),
            Self::BatchSize => {
                for (trigger, cumulative, rows) in &statistics.triggers {
                    let trigger = ("trigger", trigger.label());
                    let bucket_name = format!("{name}_bucket");
                    for (index, count) in cumulative.iter().enumerate() {
                        let bound = SIZE_BOUNDS.get(index).map_or("+Inf".to_owned(), u32::to_string);
                        page.integer(&bucket_name, &[model, version, trigger, ("le", &bound)], *count);
                    }
                    page.integer(&format!("{name}_sum"), &[model, version, trigger], *rows);
                    let count = cumulative.last().copied().unwrap_or(0);
                    page.integer(&format!("{name}_count"), &[model, version, trigger], count);
                }
            }
            Self::RequestLatency => {
                page.latency(name, &labels, &statistics.latency);
            }
        }
    }
}

/// Writes every family for all served versions: `(model, version, statistics)`.
pub fn write_model_metrics(page: &mut Exposition, models: &[(String, String, StatisticsSnapshot)]) {
    for family in MetricFamily::ALL {
        let (name, kind, help) = family.describe();
        page.family(name, kind, help);
        for (model, version, statistics) in models {
            family.write(page, name, [("model", model), ("version", version)], statistics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelStatistics;

    #[test]
    fn all_reasons_are_present_at_zero() {
        let mut page = Exposition::default();
        let statistics = ModelStatistics::new(1).snapshot();
        write_model_metrics(&mut page, &[("m".to_owned(), "1".to_owned(), statistics)]);
        let text = page.into_text();
        for reason in ["REJECTED", "CANCELED", "BACKEND", "OTHER"] {
            let line = format!("nv_inference_request_failure{{model=\"m\",reason=\"{reason}\",version=\"1\"}} 0\n");
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.contains("hanok_request_duration_seconds_bucket{model=\"m\",version=\"1\",le=\"0.00005\"} 0\n"));
    }
}
