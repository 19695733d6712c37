//! `hanok bench`: load for one model of any v2 server, and what came of it.
//!
//! Closed loop (a fixed number of requests in flight) or open loop (arrivals by a schedule, latency counted from the
//! scheduled instant, so that a stalled server cannot hide). One generator thread, so that the generator's own cost
//! stays small and known. It verifies that answers are successes, not what they contain.

mod arrivals;
mod connection;
mod grpc_connection;
mod http_connection;
mod load;
mod payload;
mod process;
mod recorder;
mod report;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use self::arrivals::Spacing;
use self::load::{Level, LoadPlan};
use self::payload::DataSource;
use self::report::{BenchReport, LevelReport};
use super::error::CommandError;
use crate::client::{Client, Encoding, InputArgument, Protocol, ServerAddress, ShapeArgument};

/// Arguments of `hanok bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {
    /// The model's name.
    model: String,

    /// The server: http://HOST:PORT or grpc://HOST:PORT; without it the standard port on this machine.
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// The protocol, where --server does not say it.
    #[arg(long, value_enum)]
    protocol: Option<ProtocolChoice>,

    /// How tensors travel on HTTP; without it binary where the server announces it.
    #[arg(long, value_enum)]
    encoding: Option<EncodingChoice>,

    /// The model's version; without it the server chooses.
    #[arg(long = "version", id = "model_version", value_name = "VERSION")]
    version: Option<String>,

    /// Closed loop: requests in flight; several levels run one after the other. The default is 1.
    #[arg(long, short, value_name = "COUNT,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Vec<u32>,

    /// Open loop: requests per second; several levels run one after the other.
    #[arg(long, short, value_name = "RATE,...", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,

    /// Open loop: how arrivals are spaced.
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Spacing,

    /// How long each level is measured, such as 5s or 500ms.
    #[arg(long, short, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,

    /// How long each level runs before it is measured.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    warmup: Duration,

    /// Connections: on gRPC shared by all requests (default 1); on HTTP the most that an open loop opens (default 512).
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: Option<u32>,

    /// Rows per request.
    #[arg(long, short, value_name = "ROWS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,

    /// An input as for `hanok infer`: NAME=JSON or NAME=@FILE; inputs that are not given are generated.
    #[arg(long, short, value_name = "NAME=VALUE")]
    input: Vec<InputArgument>,

    /// All dimensions of an input whose shape the model leaves open, such as image:1,3,224,224.
    #[arg(long, value_name = "NAME:DIMENSIONS")]
    shape: Vec<ShapeArgument>,

    /// What generated inputs hold.
    #[arg(long, value_enum, default_value = "random")]
    data: DataSource,

    /// Seed of generated inputs and of Poisson arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Give every request this time-out (the v2 parameter `timeout`).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    request_timeout: Option<Duration>,

    /// Count as goodput only answers within this time (from the scheduled arrival in an open loop).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    goodput: Option<Duration>,

    /// Process of a server on this machine: its CPU time per request and memory are measured, its children included.
    #[arg(long)]
    pid: Option<u32>,

    /// Write the report as JSON to this file; `-` writes it to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ProtocolChoice {
    /// HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EncodingChoice {
    /// The binary tensor extension.
    Binary,
    /// JSON lists.
    Json,
}

/// Most gRPC calls in flight in an open loop.
const MOST_CALLS: u32 = 4096;

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 5s, 500ms or 2m, actual `{text}`");
    let digits = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit.trim() {
        "" | "s" => number,
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "m" => number * 60.0,
        _ => return Err(expected()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| expected())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e7 => Ok(rate),
        _ => Err(format!("expected requests per second above 0 and at most 10000000, actual `{text}`")),
    }
}

/// Runs the command.
pub(crate) async fn run(arguments: BenchArguments) -> Result<ExitCode, CommandError> {
    let address = address(&arguments)?;
    let mut client = Client::new(&address)?;
    let version = arguments.version.as_deref();
    let named = arguments.input.iter().filter_map(InputArgument::name);
    let contract = client.contract_with(&arguments.model, version, named).await?;
    let inputs = payload::inputs(&arguments, &contract)?;
    let call = crate::client::InferenceCall {
        model: arguments.model.clone(),
        version: arguments.version.clone(),
        inputs,
        ..Default::default()
    };
    let encoding = match (address.protocol, arguments.encoding) {
        (Protocol::Grpc, Some(EncodingChoice::Json)) => {
            return Err(CommandError::input("gRPC carries no JSON: leave --encoding out, or use an http:// address"));
        }
        (Protocol::Http, Some(EncodingChoice::Json)) => Encoding::Json,
        (Protocol::Http, None) => client.encoding().await,
        _ => Encoding::Binary,
    };
    client.use_encoding(encoding);
    client.infer(&call).await?;
    let payload = payload::prepare(&call, &address, encoding, arguments.request_timeout)?;
    let mut report = BenchReport::new(&arguments.model, &address, encoding, arguments.batch, payload.bytes());
    let levels = levels(&arguments);
    for (index, &level) in levels.iter().enumerate() {
        let plan = LoadPlan {
            level,
            warmup: arguments.warmup,
            duration: arguments.duration,
            connections: connections(&arguments, address.protocol, level),
            in_flight: match address.protocol {
                Protocol::Http => connections(&arguments, address.protocol, level),
                Protocol::Grpc => MOST_CALLS,
            },
            goodput: arguments.goodput,
            pid: arguments.pid,
            seed: arguments.seed,
        };
        // Servers without statistics are measured all the same.
        let before = client.statistics(&arguments.model, version).await.ok();
        let title = format!("{} of {}: {level}", index + 1, levels.len());
        let outcome = with_progress(&title, plan.warmup + plan.duration, load::spawn(plan, payload.clone())?).await?;
        let after = client.statistics(&arguments.model, version).await.ok();
        let statistics = after.zip(before).map(|(after, before)| after.since(&before));
        report.levels.push(LevelReport::new(level, outcome, statistics));
    }
    write_report(&report, arguments.json.as_deref())?;
    let answered = report.levels.iter().all(|level| level.requests > 0);
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address(arguments: &BenchArguments) -> Result<ServerAddress, CommandError> {
    let chosen = match arguments.protocol {
        Some(ProtocolChoice::Grpc) => Protocol::Grpc,
        _ => Protocol::Http,
    };
    let text = arguments.server.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
    let text = if text.contains("://") { text } else { format!("{}://{text}", chosen.name()) };
    let address: ServerAddress = text.parse().map_err(CommandError::Input)?;
    if arguments.protocol.is_some() && address.protocol != chosen {
        let chosen = chosen.name();
        return Err(CommandError::input(format!("--protocol {chosen} contradicts --server {address}: leave one out")));
    }
    Ok(address)
}

fn levels(arguments: &BenchArguments) -> Vec<Level> {
    let closed = arguments.concurrency.iter().map(|&concurrency| Level::Closed { concurrency });
    let open = arguments.rate.iter().map(|&rate| Level::Open { rate, spacing: arguments.arrivals });
    let levels: Vec<Level> = closed.chain(open).collect();
    if levels.is_empty() { vec![Level::Closed { concurrency: 1 }] } else { levels }
}

fn connections(arguments: &BenchArguments, protocol: Protocol, level: Level) -> u32 {
    match (protocol, level) {
        // HTTP/1.1 carries one request at a time on a connection.
        (Protocol::Http, Level::Closed { concurrency }) => concurrency,
        (Protocol::Http, Level::Open { .. }) => arguments.connections.unwrap_or(512),
        (Protocol::Grpc, _) => arguments.connections.unwrap_or(1),
    }
}

/// Waits for a level; on a terminal with a bar that only reads the clock, so that it costs the measurement nothing.
async fn with_progress(
    title: &str,
    expected: Duration,
    outcome: impl Future<Output = Result<load::Outcome, CommandError>>,
) -> Result<load::Outcome, CommandError> {
    if !std::io::stderr().is_terminal() {
        return outcome.await;
    }
    let total = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
    let style =
        ProgressStyle::with_template("{prefix} [{wide_bar}] {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style).with_prefix(title.to_owned());
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    tokio::pin!(outcome);
    let result = loop {
        tokio::select! {
            result = &mut outcome => break result,
            _ = tick.tick() => {
                let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                bar.set_position(elapsed.min(total));
            }
        }
    };
    bar.finish_and_clear();
    result
}

fn write_report(report: &BenchReport, file: Option<&std::path::Path>) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    let json = || serde_json::to_string_pretty(report).map_err(|error| CommandError::failed(error.to_string()));
    match file {
        Some(path) if path.as_os_str() == "-" => return Ok(writeln!(out, "{}", json()?)?),
        Some(path) => std::fs::write(path, json()? + "\n").map_err(|error| {
            CommandError::failed(format!("cannot write the report to `{}`: {error}; name another file", path.display()))
        })?,
        None => {}
    }
    Ok(write!(out, "{report}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "5h", "-1s", "1e99"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rate("0.5"), Ok(0.5));
        assert!(rate("0").is_err() && rate("NaN").is_err() && rate("fast").is_err());
    }
}
