//! The look-ups' counts as metric families.

use hanok_features::{LookupStatistics, Origin};
use hanok_telemetry::{Exposition, MetricKind};

/// A count of [`LookupStatistics`].
type Count = fn(&LookupStatistics) -> u64;

/// Families by service: name, help, count.
const FAMILIES: [(&str, &str, Count); 5] = [
    ("hanok_feature_requests_total", "Requests whose features were looked up", |counts| counts.answered),
    ("hanok_feature_request_failures_total", "Requests that failed for their features", |counts| counts.failed),
    ("hanok_feature_store_reads_total", "Reads of online stores outside of this process", |counts| counts.store_reads),
    ("hanok_feature_store_keys_total", "Keys of those reads, each once a read", |counts| counts.store_keys),
    ("hanok_feature_store_read_failures_total", "Reads that failed or were too slow", |counts| counts.store_failures),
];
const VALUES: &str = "hanok_feature_values_total";

/// Writes the counts of every service in use; nothing where there is none.
pub(super) fn render(services: &[(&str, LookupStatistics)]) -> String {
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
    page.into_text()
}
