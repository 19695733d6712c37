//! The `hanok` program: reads the command line, starts the runtime, runs one command.
//!
//! The only place that starts a tokio runtime, and the only one that changes the environment, before any thread exists.

mod app;
mod bounded_text;
mod client;
mod clock;
mod commands;
mod control;
mod features;
mod gpus;
mod locked_models;
mod onnx_engine;
mod onnx_signature;
mod pulling;
mod request_traces;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::error::CommandError;

/// Serves machine-learning models behind Triton's protocols, and talks to any server that does.
#[derive(Debug, Parser)]
#[command(name = "hanok", version, propagate_version = true, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a repository of models over HTTP, gRPC and a metrics port
    Serve(Box<commands::serve::ServeArguments>),
    /// Send one inference request to any v2 server and print the answer
    Infer(commands::infer::InferArguments),
    /// List, show, load and unload the models of any v2 server
    Models(commands::models::ModelsArguments),
    /// Measure a model on any v2 server: closed loop by concurrency, open loop by arrival rate
    Bench(commands::bench::BenchArguments),
    /// Declare traffic splits, shadows, rollouts and experiments to a control plane
    Apply(commands::apply::ApplyArguments),
    /// Bring back the declared resources of an earlier revision
    Rollback(commands::apply::RollbackArguments),
    /// List, explain, pause, abort and promote rollouts
    Rollout(commands::rollout::RolloutArguments),
    /// Show the traffic table in force, or go back to the last good one
    Traffic(commands::rollout::TrafficArguments),
    /// Show what is declared in a folder or on a Git branch beside what is in force, put it in force, or check a folder
    Declared(commands::declared::DeclaredArguments),
    /// Register models and versions in the local registry; stages, approvals, aliases, lineage; check and tidy it
    Registry(commands::registry::RegistryArguments),
    /// Fetch a model from MLflow, S3, Google Cloud Storage, Azure, a web server or Git into the local registry
    Pull(Box<commands::pull::PullArguments>),
    /// Pin every model of a repository by digest and source in a lock file, or check a repository against one
    Lock(commands::lock::LockArguments),
    /// Check declared features, write rows, look them up by key; training sets from their past
    Features(commands::features::FeaturesArguments),
    /// Tell what was found on this machine, what serves what, and what is missing
    Doctor(commands::doctor::DoctorArguments),
}

fn main() -> ExitCode {
    app::switch_off_library_telemetry();
    app::bound_free_memory();
    let command_line = CommandLine::parse();
    let result = match command_line.command {
        Command::Serve(arguments) => commands::serve::run(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Registry(arguments) => commands::registry::run(arguments),
        Command::Pull(arguments) => on_one_thread(commands::pull::run(*arguments)),
        Command::Lock(arguments) => commands::lock::run(&arguments),
        Command::Features(arguments) => on_one_thread(commands::features::run(arguments)),
        Command::Infer(arguments) => on_one_thread(commands::infer::run(arguments)),
        Command::Models(arguments) => on_one_thread(commands::models::run(arguments)),
        Command::Bench(arguments) => on_one_thread(commands::bench::run(arguments)),
        Command::Apply(arguments) => on_one_thread(commands::apply::run(arguments)),
        Command::Declared(arguments) => on_one_thread(commands::declared::run(arguments)),
        Command::Rollback(arguments) => on_one_thread(commands::apply::run_rollback(arguments)),
        Command::Rollout(arguments) => on_one_thread(commands::rollout::run(arguments)),
        Command::Traffic(arguments) => on_one_thread(commands::rollout::run_traffic(arguments)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "this is where a command's failure is told")]
            {
                eprintln!("error: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs a client's command: one thread is enough, and cheap.
fn on_one_thread(command: impl Future<Output = Result<ExitCode, CommandError>>) -> Result<ExitCode, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("the asynchronous runtime could not be started: {error}")))?
        .block_on(command)
}
