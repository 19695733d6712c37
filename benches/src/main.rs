//! Runs a suite of measurements by name, and holds the processes that the suites start besides the server.
//!
//! Not the load generator: that is `hanok bench`, the one that users run. The invariant: every figure comes from the
//! run that prints it; nothing is quoted from another machine or another day.

mod bare_loop;
mod child;
mod core_suite;
mod cuda_suite;
mod figure;
mod floor_grpc;
mod floor_http;
mod generator;
mod machine;
mod model_repository;
mod overload;
mod peers_suite;
mod record;
mod registry_suite;
mod server;
mod suite;
mod traffic_suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a suite or one of its parts could not be run; a text for the person who started it.
pub(crate) type Problem = String;

/// Measures the server, its floors and its peers.
#[derive(Debug, Parser)]
#[command(name = "benches/run")]
struct Arguments {
    #[command(subcommand)]
    suite: Suite,
}

/// Where things are and how long to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The server under test.
    #[arg(long, default_value = "target/release/hanok")]
    hanok: PathBuf,
    /// The program whose `bench` command makes the load; without it the server under test.
    #[arg(long)]
    generator: Option<PathBuf>,
    /// The example models.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Models built by `tests/models/collect.py`.
    #[arg(long, env = "HANOK_TEST_MODELS", default_value = ".hanok/test-models")]
    test_models: PathBuf,
    /// The ONNX Runtime library; without it the server's own search decides.
    #[arg(long, env = "ORT_DYLIB_PATH")]
    onnxruntime_library: Option<PathBuf>,
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Measure only the parts, or peers, whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the record goes.
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,
}

impl Options {
    /// Whether the server under test is there; tells how to get it.
    fn require_server(&self) -> Result<(), Problem> {
        if self.hanok.is_file() {
            return Ok(());
        }
        let place = self.hanok.display();
        Err(format!("there is no server at `{place}`: build it with `cargo build --release`, or name it with --hanok"))
    }

    /// Whether `--only` lets this part be measured.
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| part.contains(only.as_str()))
    }
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Every figure of the serving core against its target; exit status 0 when all hold.
    Core(Options),
    /// Splits, shadows and rollouts: what they cost, and whether verdicts keep their promises.
    Traffic(Options),
    /// GPUs: kernels and networks against the processors, and what serving costs there; needs benches/gpu/make_pack.
    Cuda(Options),
    /// The registry: whether what was registered is kept, whoever is killed.
    Registry(Options),
    /// The server beside every peer that is installed, and the ratios; `--only` names peers.
    Peers(peers_suite::PeersArguments),
    /// (Internal) the least an HTTP server must do.
    #[command(hide = true)]
    FloorHttp,
    /// (Internal) the least a gRPC server must do.
    #[command(hide = true)]
    FloorGrpc,
    /// (Internal) ONNX Runtime in a loop, without a server.
    #[command(hide = true)]
    BareLoop(bare_loop::BareLoopArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().suite {
        Suite::Core(options) => suite::run("core", &core_suite::PARTS, &options),
        Suite::Traffic(options) => suite::run("traffic", &traffic_suite::PARTS, &options),
        Suite::Cuda(options) => suite::run("cuda", &cuda_suite::PARTS, &options),
        Suite::Registry(options) => suite::run("registry", &registry_suite::PARTS, &options),
        Suite::Peers(arguments) => peers_suite::run(&arguments),
        Suite::FloorHttp => floor_http::serve().map(|()| ExitCode::SUCCESS),
        Suite::FloorGrpc => floor_grpc::serve().map(|()| ExitCode::SUCCESS),
        Suite::BareLoop(arguments) => bare_loop::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("error: {problem}");
        ExitCode::FAILURE
    })
}
