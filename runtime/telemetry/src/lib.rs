//! What the runtime counts and says: per-version statistics, metric families, logs, traces of requests.
//!
//! One source feeds both the statistics API and the metrics port, so that the two can never disagree. Counting
//! takes no lock, and nor does a request while nobody wants traces. Nothing here knows a model, a tensor or a protocol.

mod batch_statistics;
mod exposition;
mod latency_histogram;
mod logging;
mod metric_names;
mod model_statistics;
mod traces;

pub use batch_statistics::{BatchRecord, BatchSizeSnapshot, BatchTrigger};
pub use exposition::{Exposition, MetricKind};
pub use latency_histogram::{LatencyHistogram, LatencySnapshot};
pub use logging::{LogFormat, LogLevel, LogSettings, LogState, Logging};
pub use metric_names::{MetricFamily, write_model_metrics};
pub use model_statistics::{DurationCount, FailureReason, ModelStatistics, StatisticsSnapshot, SuccessRecord};
pub use traces::{
    Activity, Change, DeviceMarks, DeviceSpans, RequestTrace, TraceChanges, TraceClock, TraceCounts, TraceFileError,
    TraceLevel, TraceSettingError, TraceSettings, TraceTimes, Tracer,
};
