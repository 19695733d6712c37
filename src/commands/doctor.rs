//! `hanok doctor`: what was found on this machine, what serves what, what is missing and how to get it.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::error::CommandError;
use crate::app;
use crate::gpus;
use crate::onnx_engine::{GET_ONNXRUNTIME, OnnxEngine};
use crate::settings::{BackendSetting, Surroundings, backend_setting, by_backend};

/// Flags of `hanok doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    /// Setting of a backend, as for `hanok serve`
    #[arg(long = "backend-config", value_name = "BACKEND,KEY=VALUE", value_parser = backend_setting)]
    settings: Vec<BackendSetting>,
}

/// Prints the findings.
#[allow(clippy::print_stdout, reason = "the findings are this command's output")]
pub(crate) fn run(arguments: &DoctorArguments) -> Result<ExitCode, CommandError> {
    let surroundings = Surroundings::read();
    let settings = by_backend(&arguments.settings);
    let engine = Arc::new(OnnxEngine::choose(&settings, &surroundings, None)?);
    engine.check_required()?;

    println!("hanok {} on {} processors", env!("CARGO_PKG_VERSION"), surroundings.processors);
    println!("\nBackends");
    for (name, backend) in app::backends(&settings, &engine).offered() {
        let stands_in = if name == backend.name() { String::new() } else { format!("   served by {}", backend.name()) };
        println!("  {name}{stands_in}");
    }
    println!("\n{}", engine.summary());

    println!("\nONNX Runtime was looked for in");
    for tried in &engine.search.tried {
        println!("  {}: {}", tried.place, tried.path.display());
    }
    match (&engine.search.found, engine.failure()) {
        (Some(found), None) => println!("  found: {}", found.path.display()),
        (Some(found), Some(failure)) => {
            println!("  found and not usable: {}\n    {failure}", found.path.display());
        }
        (None, _) => println!("  not found. To get it: {}", GET_ONNXRUNTIME),
    }
    println!("\nDevices");
    for line in gpus::findings(&gpus::look()) {
        println!("  {line}");
    }
    if let Some(onnxruntime) = engine.onnxruntime() {
        match onnxruntime.cuda_provider() {
            Ok(()) => println!("  ONNX Runtime's CUDA provider can be used"),
            Err(error) => println!("  {}", error.message()),
        }
    }
    Ok(ExitCode::SUCCESS)
}
