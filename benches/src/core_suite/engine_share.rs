//! Real image networks: throughput through the server over that of the same engine in a bare loop.
//!
//! Both have one instance with one thread and batch size 1, so that the load generator has a processor to itself; they
//! run in turn. The bare loop is a child process that loads the model as the server does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::generator::{Load, measure};
use crate::model_repository::{ModelRepository, parameter};
use crate::server::{Engine, RunningServer};
use crate::{Options, Problem};

/// Least seconds of a measurement: a large network gives few answers in less. Not more: a machine whose speed changes
/// within a round tells nothing in that round.
const LEAST_SECONDS: f64 = 1.5;
/// Rounds for each that is asked for: many short ones, whose median a few disturbed ones do not move.
const ROUNDS_EACH: u32 = 3;

const NETWORKS: [(&str, f64); 2] = [("squeezenet", 0.95), ("resnet50", 0.98)];

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let options = &Options { seconds: options.seconds.max(LEAST_SECONDS), ..options.clone() };
    let figure = |&(model, least): &(&str, f64)| {
        let name = format!("{model} through the server over the bare engine, batch 1");
        match rounds(options, model) {
            Ok(rounds) => Figure::of(name, "", Target::AtLeast(least), rounds),
            Err(problem) => Figure::skipped(name, "", Target::AtLeast(least), &problem),
        }
    };
    NETWORKS.iter().map(figure).collect()
}

fn rounds(options: &Options, model: &str) -> Result<Vec<f64>, Problem> {
    let repository = ModelRepository::new(model)?;
    let settings =
        format!("instance_group [ {{ count: 1 kind: KIND_CPU }} ]\n{}", parameter("intra_op_thread_count", "1"));
    repository.add_copy(&options.test_models, model, &settings)?;
    let server = RunningServer::hanok(options, repository.path(), Engine::OnnxRuntime)?;
    if !server.has_model(model) {
        return Err(server.child.explain(&format!("did not load `{model}`")));
    }
    let arguments = ["--concurrency", "2", "--encoding", "binary"].map(str::to_owned).to_vec();
    let load = Load { server: server.http()?, pid: server.child.id(), model, arguments };
    let folder = repository.path().join(model);
    let mut bare = BareLoop::start(options, &folder)?;
    let mut shares = Vec::new();
    let rounds = options.rounds * ROUNDS_EACH;
    for round in 0..rounds {
        eprintln!("  {model}, round {} of {rounds}", round + 1);
        let served = || Ok::<_, Problem>(measure(options, &load, false)?.first().map_or(0.0, |level| level.rate));
        // Bare, served, served, bare: a machine that grows slower meanwhile slows both alike.
        let first = bare.rate(options.seconds)?;
        let served = served()? + served()?;
        shares.push(served / (first + bare.rate(options.seconds)?));
    }
    Ok(shares)
}

/// The engine in a process of its own, which executes when it is told to.
struct BareLoop {
    process: Child,
    lengths: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl BareLoop {
    fn start(options: &Options, folder: &Path) -> Result<Self, Problem> {
        let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let mut command = Command::new(program);
        let (switch, value) = hanok_backend_onnxruntime::TELEMETRY_SWITCH;
        command.env(switch, value).arg("bare-loop").arg(folder).args(["--batch", "1"]);
        if let Some(library) = &options.onnxruntime_library {
            command.arg("--library").arg(library);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("cannot start the bare loop: {error}"))?;
        let (Some(lengths), Some(reports)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the bare loop has no pipes".to_owned());
        };
        Ok(Self { process, lengths, reports: BufReader::new(reports) })
    }

    /// Rows per second over so many seconds.
    fn rate(&mut self, seconds: f64) -> Result<f64, Problem> {
        let failed = |error: std::io::Error| format!("the bare loop failed: {error}");
        writeln!(self.lengths, "{seconds}").and_then(|()| self.lengths.flush()).map_err(failed)?;
        let mut line = String::new();
        self.reports.read_line(&mut line).map_err(failed)?;
        let report: Value =
            serde_json::from_str(&line).map_err(|_| "the bare loop ended early; its error is above".to_owned())?;
        report["rows_per_second"].as_f64().ok_or_else(|| "the bare loop gave no figure".to_owned())
    }
}

impl Drop for BareLoop {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
