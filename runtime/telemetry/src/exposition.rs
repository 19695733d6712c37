//! Writes metric families in the Prometheus text format, version 0.0.4.
//!
//! Families are written whole, one after another, as the format demands. Label values are escaped here and nowhere else.

use crate::LatencySnapshot;

/// Type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
}

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// The content type of the page.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Starts a family: its help and type lines.
    pub fn family(&mut self, name: &str, kind: MetricKind, help: &str) {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.text.push_str(part);
        }
    }

    /// Writes one sample with an integer value.
    pub fn integer(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.name_and_labels(name, labels);
        self.text.push_str(itoa::Buffer::new().format(value));
        self.text.push('\n');
    }

    /// Writes one sample with a floating-point value.
    pub fn float(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.name_and_labels(name, labels);
        self.text.push_str(ryu::Buffer::new().format(value));
        self.text.push('\n');
    }

    /// Writes a histogram of durations, in seconds.
    pub fn latency(&mut self, name: &str, labels: &[(&str, &str)], latency: &LatencySnapshot) {
        let bucket_name = format!("{name}_bucket");
        for (bound, count) in &latency.cumulative {
            let bound = bound.map_or("+Inf".to_owned(), |ns| format!("{}", Seconds(ns)));
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.integer(&bucket_name, &labels, *count);
        }
        self.float(&format!("{name}_sum"), labels, Seconds(latency.sum_ns).value());
        let count = latency.cumulative.last().map_or(0, |(_, count)| *count);
        self.integer(&format!("{name}_count"), labels, count);
    }

    /// The finished page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn name_and_labels(&mut self, name: &str, labels: &[(&str, &str)]) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
    }
}

/// Nanoseconds that print as seconds.
struct Seconds(u64);

impl Seconds {
    fn value(&self) -> f64 {
        std::time::Duration::from_nanos(self.0).as_secs_f64()
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Exposition::default();
        page.family("x_total", MetricKind::Counter, "Things");
        page.integer("x_total", &[("model", "a\"b\\c\nd"), ("version", "1")], 5);
        page.integer("x_total", &[], 6);
        assert_eq!(
            page.into_text(),
            "# HELP x_total Things\n# TYPE x_total counter\nx_total{model=\"a\\\"b\\\\c\\nd\",version=\"1\"} 5\nx_total 6\n"
        );
    }
}
