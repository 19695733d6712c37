//! The look-ups' counts as metric families.

use hanok_features::{LookupStatistics, Origin};
use hanok_telemetry::{Exposition, MetricKind};

/// A count of [`LookupStatistics`].
type Count = fn(&LookupStatistics) -> u64;

/// Families by service: name, help, count.
const FAMILIES: [(&str, &str, Count); 6] = [
    ("hanok_feature_requests_total", "Requests whose features were looked up", |counts| counts.answered),
    ("hanok_feature_request_failures_total", "Requests that failed for their features", |counts| counts.failed),
    ("hanok_feature_store_reads_total", "Reads of online stores outside of this process", |counts| counts.store_reads),
    ("hanok_feature_store_keys_total", "Keys of those reads, each once a read", |counts| counts.store_keys),
    ("hanok_feature_store_read_failures_total", "Reads that failed or were too slow", |counts| counts.store_failures),
    ("hanok_feature_rows_forgotten_total", "Remembered rows dropped to make room for others", |counts| {
        counts.forgotten
    }),
];
const VALUES: &str = "hanok_feature_values_total";

/// The log's counts of rows: name, help.
const LOG: [(&str, &str); 2] = [
    ("hanok_feature_log_rows_total", "Rows of the log of served features that are durable"),
    ("hanok_feature_log_dropped_rows_total", "Rows that the log of served features, or its disk, had no room for"),
];

/// Writes the counts of every service in use, and of the log where there is one; nothing where there is no service.
pub(super) fn render(services: &[(&str, LookupStatistics)], log: Option<[u64; 2]>) -> String {
    let mut page = Exposition::default();
    if services.is_empty() {
        return page.into_text();
    }
    for (name, help, count) in FAMILIES {
        page.family(name, MetricKind::Counter, help);
        for (service, counts) in services {
            page.integer(name, &[("service", service)], count(counts));
        }
    }
    page.family(VALUES, MetricKind::Counter, "Values of features by where they came from");
    for (service, counts) in services {
        for (origin, count) in Origin::ALL.iter().zip(counts.origins) {
            page.integer(VALUES, &[("service", service), ("from", origin.as_str())], count);
        }
    }
    for ((name, help), count) in LOG.into_iter().zip(log.into_iter().flatten()) {
        page.family(name, MetricKind::Counter, help);
        page.integer(name, &[], count);
    }
    page.into_text()
}
