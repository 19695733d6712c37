//! Runs `hanok bench` as a child and reads its report: the one load generator for the server, floors and peers.

use std::process::Command;

use serde_json::Value;

use crate::{Options, Problem};

/// One run of the generator; one or more levels.
#[derive(Clone, Debug)]
pub(crate) struct Load<'a> {
    /// `http://...` or `grpc://...`.
    pub(crate) server: String,
    /// The server's process, to measure its CPU time and memory and those of its children.
    pub(crate) pid: u32,
    /// Model.
    pub(crate) model: &'a str,
    /// Closed or open loop and anything else: `["--concurrency", "1,8"]`.
    pub(crate) arguments: Vec<String>,
}

/// What one level gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Server CPU microseconds per request.
    pub(crate) cpu_us: f64,
    /// Answers per second.
    pub(crate) rate: f64,
    /// Answers in time per second.
    pub(crate) goodput: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency in microseconds.
    pub(crate) p99_us: f64,
    /// The server's resident memory at the end.
    pub(crate) resident_bytes: f64,
}

/// Offers the load for the options' time; gives one result per level.
///
/// Errors of requests are a [`Problem`] unless `errors_allowed`.
pub(crate) fn measure(options: &Options, load: &Load<'_>, errors_allowed: bool) -> Result<Vec<Measured>, Problem> {
    let program = options.generator.as_ref().unwrap_or(&options.hanok);
    let mut command = Command::new(program);
    command
        .args(["bench", load.model, "--server", &load.server, "--pid", &load.pid.to_string(), "--json", "-"])
        .args(["--warmup", "300ms", "--duration", &format!("{}s", options.seconds)])
        .args(&load.arguments);
    let output = command.output().map_err(|error| format!("cannot start the load generator ({command:?}): {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the load generator failed on `{}`: {}", load.model, text.trim()));
    }
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the load generator's report cannot be read: {error}"))?;
    let levels = report["levels"].as_array().map(Vec::as_slice).unwrap_or_default();
    levels.iter().map(|level| read(level, load.model, errors_allowed)).collect()
}

fn read(level: &Value, model: &str, errors_allowed: bool) -> Result<Measured, Problem> {
    let errors = level["errors"].as_object();
    if let Some((kind, error)) = errors.and_then(|errors| errors.iter().next()).filter(|_| !errors_allowed) {
        return Err(format!("`{model}` at {} gave errors: {kind}: {error}", level["level"]));
    }
    let number =
        |value: &Value| value.as_f64().ok_or_else(|| format!("the report of `{model}` lacks a figure: {level}"));
    Ok(Measured {
        cpu_us: number(&level["server_cpu_us_per_request"])?,
        rate: number(&level["requests_per_second"])?,
        goodput: number(&level["goodput_per_second"])?,
        p50_us: number(&level["latency_us"]["p50"])?,
        p99_us: number(&level["latency_us"]["p99"])?,
        resident_bytes: number(&level["server_resident_bytes"])?,
    })
}
