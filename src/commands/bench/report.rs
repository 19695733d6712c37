//! What `hanok bench` says: one JSON document, and the same as a table.
//!
//! Latencies are microseconds. The invariant: a figure that was not measured is absent, never zero.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::load::{Level, Mark, Outcome};
use super::process::ProcessUse;
use super::recorder::ErrorCount;
use crate::client::{Encoding, ModelStatistics, Protocol, ServerAddress};
use crate::commands::text_table::TextTable;

/// A whole run.
#[derive(Debug, Serialize)]
pub(super) struct BenchReport {
    model: String,
    server: String,
    protocol: &'static str,
    encoding: &'static str,
    batch: u32,
    request_bytes: usize,
    /// One entry per level, in the order they ran.
    pub(super) levels: Vec<LevelReport>,
}

/// One level.
#[derive(Debug, Serialize)]
pub(super) struct LevelReport {
    /// The level in words.
    level: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offered_per_second: Option<f64>,
    seconds: f64,
    /// Successes within the window.
    pub(super) requests: u64,
    requests_per_second: f64,
    goodput_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_lag_us: Option<Latency>,
    errors: BTreeMap<String, ErrorCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_resident_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<StatisticsReport>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

/// The server's own view of the level, its warm-up included.
#[derive(Debug, Serialize)]
struct StatisticsReport {
    inferences: u64,
    executions: u64,
    mean_batch: f64,
    queue_us: f64,
    compute_input_us: f64,
    compute_infer_us: f64,
    compute_output_us: f64,
    failures: u64,
    executions_by_batch: BTreeMap<u64, u64>,
}

impl BenchReport {
    /// A report without levels.
    pub(super) fn new(
        model: &str,
        server: &ServerAddress,
        encoding: Encoding,
        batch: u32,
        request_bytes: usize,
    ) -> Self {
        Self {
            model: model.to_owned(),
            server: server.to_string(),
            protocol: server.protocol.name(),
            encoding: match (server.protocol, encoding) {
                (Protocol::Http, Encoding::Json) => "json",
                _ => "binary",
            },
            batch,
            request_bytes,
            levels: Vec::new(),
        }
    }
}

impl LevelReport {
    /// Puts a level's outcome into figures.
    pub(super) fn new(level: Level, outcome: Outcome, statistics: Option<ModelStatistics>) -> Self {
        let Outcome { recorder, first, last } = outcome;
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        let per_second = |count: u64| as_float(count) / seconds.max(1e-9);
        let answered = last.answered - first.answered;
        let server = used(&first, &last, |mark| mark.server);
        let per_request = |cpu: Duration| (answered > 0).then(|| cpu.as_secs_f64() * 1e6 / as_float(answered));
        let requests = last.successes - first.successes;
        Self {
            level: level.to_string(),
            concurrency: if let Level::Closed { concurrency } = level { Some(concurrency) } else { None },
            offered_per_second: if let Level::Open { rate, .. } = level { Some(rate) } else { None },
            seconds,
            requests,
            requests_per_second: per_second(requests),
            goodput_per_second: per_second(last.good - first.good),
            latency_us: Latency::of(&recorder.latency),
            send_lag_us: Latency::of(&recorder.send_lag),
            errors: recorder.errors,
            server_cpu_us_per_request: server.and_then(per_request),
            server_cores: server.map(|cpu| cpu.as_secs_f64() / seconds.max(1e-9)),
            server_resident_bytes: last.server.map(|server| server.resident_bytes),
            client_cpu_us_per_request: used(&first, &last, |mark| mark.generator).and_then(per_request),
            statistics: statistics.filter(|change| change.execution_count > 0).map(StatisticsReport::new),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts for people: beyond 2^53 the last digits do not matter")]
const fn as_float(count: u64) -> f64 {
    count as f64
}

fn used(first: &Mark, last: &Mark, which: impl Fn(&Mark) -> Option<ProcessUse>) -> Option<Duration> {
    which(last)?.cpu.checked_sub(which(first)?.cpu)
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| as_float(histogram.value_at_quantile(quantile)) / 1e3;
        (!histogram.is_empty()).then(|| Self {
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: as_float(histogram.max()) / 1e3,
        })
    }
}

impl StatisticsReport {
    fn new(change: ModelStatistics) -> Self {
        let requests = as_float(change.success.count.max(1));
        let mean = |ns: u64| as_float(ns) / 1e3 / requests;
        Self {
            inferences: change.inference_count,
            executions: change.execution_count,
            mean_batch: as_float(change.inference_count) / as_float(change.execution_count.max(1)),
            queue_us: mean(change.queue.ns),
            compute_input_us: mean(change.compute_input.ns),
            compute_infer_us: mean(change.compute_infer.ns),
            compute_output_us: mean(change.compute_output.ns),
            failures: change.fail.count,
            executions_by_batch: change.batches.into_iter().collect(),
        }
    }
}

/// Microseconds with the digits that matter.
fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 10_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} at {}, {}, {} row(s) and {} bytes per request\n",
            self.model, self.server, self.encoding, self.batch, self.request_bytes
        )?;
        let mut table = TextTable::new(&[
            "load",
            ">answers/s",
            ">p50",
            ">p90",
            ">p95",
            ">p99",
            ">p99.9",
            ">max",
            ">errors",
            ">server CPU",
            ">memory",
            ">client CPU",
        ]);
        let dash = || "-".to_owned();
        for level in &self.levels {
            let latency =
                |pick: fn(&Latency) -> f64| level.latency_us.as_ref().map_or_else(dash, |all| time(pick(all)));
            let cpu = |figure: Option<f64>| figure.map_or_else(dash, |us| format!("{us:.1} us"));
            table.row([
                level.level.clone(),
                format!("{:.1}", level.requests_per_second),
                latency(|all| all.p50),
                latency(|all| all.p90),
                latency(|all| all.p95),
                latency(|all| all.p99),
                latency(|all| all.p999),
                latency(|all| all.max),
                level.errors.values().map(|error| error.count).sum::<u64>().to_string(),
                cpu(level.server_cpu_us_per_request),
                level.server_resident_bytes.map_or_else(dash, |bytes| format!("{:.1} MB", as_float(bytes) / 1e6)),
                cpu(level.client_cpu_us_per_request),
            ]);
        }
        write!(formatter, "{table}")?;
        for level in &self.levels {
            level.fmt_notes(formatter)?;
        }
        Ok(())
    }
}

impl LevelReport {
    fn fmt_notes(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(statistics) = &self.statistics {
            let batches: Vec<String> =
                statistics.executions_by_batch.iter().map(|(size, count)| format!("{size}x{count}")).collect();
            writeln!(
                formatter,
                "\n{}: the server executed {} batches of {:.1} rows on average ({}); per request {:.0} us queue, {:.0} us \
                 input, {:.0} us infer, {:.0} us output",
                self.level,
                statistics.executions,
                statistics.mean_batch,
                batches.join(" "),
                statistics.queue_us,
                statistics.compute_input_us,
                statistics.compute_infer_us,
                statistics.compute_output_us,
            )?;
        }
        if self.requests_per_second - self.goodput_per_second > 0.05 {
            writeln!(formatter, "{}: goodput {:.1}/s", self.level, self.goodput_per_second)?;
        }
        if let Some(lag) = self.send_lag_us.as_ref().filter(|lag| lag.p99 > 1_000.0) {
            writeln!(
                formatter,
                "{}: requests were sent up to {} late at p99 (included in the latencies): the generator or its \
                 connections could not keep up",
                self.level,
                time(lag.p99)
            )?;
        }
        for (kind, error) in &self.errors {
            writeln!(formatter, "{}: {} x {kind}: {}", self.level, error.count, error.first)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_matter() {
        assert_eq!(time(97.4), "97 us");
        assert_eq!(time(1_821.0), "1.82 ms");
        assert_eq!(time(250_000.0), "250 ms");
        assert_eq!(time(12_000_000.0), "12.0 s");
    }
}
