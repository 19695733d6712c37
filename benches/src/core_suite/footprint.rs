//! What the server costs before the first request: time to ready, resident memory at rest, size of the binary.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::figure::{Figure, Target};
use crate::server::{Engine, RunningServer};
use crate::{Options, Problem};

/// Time at rest before memory is read, so that what start-up freed is gone.
const REST: Duration = Duration::from_secs(1);

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let figure = |name: &str, unit, target, rounds: Result<Vec<f64>, Problem>| match rounds {
        Ok(rounds) => Figure::of(name, unit, target, rounds),
        Err(problem) => Figure::skipped(name, unit, target, &problem),
    };
    vec![
        figure("start to ready, example models", "ms", Target::AtMost(60.0), ready(options, Engine::Found)),
        figure("start to ready, example models on tract", "ms", Target::Information, ready(options, Engine::Tract)),
        figure("idle memory, example models on tract", "MB", Target::AtMost(30.0), memory(options, Engine::Tract)),
        figure(
            "idle memory, example models on ONNX Runtime",
            "MB",
            Target::AtMost(40.0),
            memory(options, Engine::OnnxRuntime),
        ),
        figure("binary, stripped", "MB", Target::AtMost(60.0), stripped(&options.hanok).map(|size| vec![size])),
    ]
}

fn ready(options: &Options, engine: Engine) -> Result<Vec<f64>, Problem> {
    (0..options.rounds.max(5)).map(|_| Ok(start(options, engine)?.ready_after.as_secs_f64() * 1e3)).collect()
}

fn memory(options: &Options, engine: Engine) -> Result<Vec<f64>, Problem> {
    (0..options.rounds.min(3))
        .map(|_| {
            let server = start(options, engine)?;
            std::thread::sleep(REST);
            let bytes = server.child.resident_bytes().ok_or("the server's memory cannot be read")?;
            Ok(bytes / 1e6)
        })
        .collect()
}

fn start(options: &Options, engine: Engine) -> Result<RunningServer, Problem> {
    let server = RunningServer::hanok(options, &options.models, engine)?;
    // Without its library a server may be up with the models on that engine missing.
    if server.has_model("digits") { Ok(server) } else { Err(server.child.explain("did not load `digits`")) }
}

fn stripped(binary: &Path) -> Result<f64, Problem> {
    let copy = std::env::temp_dir().join(format!("hanok-benches-{}-stripped", std::process::id()));
    let status = Command::new("strip").arg("-o").arg(&copy).arg(binary).status();
    let status = status.map_err(|error| format!("cannot start `strip`: {error}; install binutils"))?;
    let size = std::fs::metadata(&copy).map(|metadata| metadata.len());
    // The copy is in the temporary directory and does no harm there.
    drop(std::fs::remove_file(&copy));
    if !status.success() {
        return Err("`strip` failed on the binary".to_owned());
    }
    let size = size.map_err(|error| format!("the stripped binary cannot be read: {error}"))?;
    Ok(f64::from(u32::try_from(size).unwrap_or(u32::MAX)) / 1e6)
}
