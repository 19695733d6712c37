//! Models that come from a real MLflow server: how soon an alias that moves is served, and what is left of pulls that are
//! killed. The harness is that of the tests, which starts the server.

use std::process::Command;

use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::{Options, Problem};

/// Pulls that are killed.
const KILLS: u32 = 200;

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let mut figures = alias(options);
    figures.extend(kills(options));
    figures
}

fn alias(options: &Options) -> Vec<Figure> {
    let told = run(options, "alias");
    let moves = told.as_ref().map_err(Clone::clone).and_then(|told| {
        let moves: Vec<f64> = told["moves"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        if moves.is_empty() { Err(format!("the harness told no `moves`: {told}")) } else { Ok(moves) }
    });
    let worst = moves.as_ref().map_err(Clone::clone).map(|moves| moves.iter().copied().fold(0.0, f64::max));
    let failures = told.as_ref().map_err(Clone::clone).map(|told| told["failures"].as_f64().unwrap_or(f64::NAN));
    let median = "alias move in MLflow to first canary request, median of 10";
    vec![
        match moves {
            Ok(moves) => Figure::of(median, "s", Target::AtMost(2.0), moves),
            Err(problem) => Figure::skipped(median, "s", Target::AtMost(2.0), &problem),
        },
        figure("alias move in MLflow to first canary request, the slowest of 10", "s", Target::AtMost(2.0), worst),
        figure("requests that failed meanwhile", "", Target::AtMost(0.0), failures),
    ]
}

fn kills(options: &Options) -> Vec<Figure> {
    let told = run(options, "kills");
    let field = |name: &str| -> Result<f64, Problem> {
        let told = told.as_ref().map_err(Clone::clone)?;
        told[name].as_f64().ok_or_else(|| format!("the harness told no `{name}`: {told}"))
    };
    vec![
        figure(&format!("pulled versions lost over {KILLS} kills of pulls"), "", Target::AtMost(0.0), field("lost")),
        figure(&format!("files left half written over {KILLS} kills of pulls"), "", Target::AtMost(0.0), field("half")),
        figure("of these pulls, killed before they ended", "", Target::Information, field("at_work")),
        figure("duration of a pull of 4 MiB that is not killed", "s", Target::Information, field("pull_seconds")),
    ]
}

fn figure(name: &str, unit: &'static str, target: Target, measured: Result<f64, Problem>) -> Figure {
    match measured {
        Ok(value) => Figure::of(name, unit, target, vec![value]),
        Err(problem) => Figure::skipped(name, unit, target, &problem),
    }
}

fn run(options: &Options, part: &str) -> Result<Value, Problem> {
    let hanok = options.hanok.canonicalize().map_err(|error| format!("the server cannot be found: {error}"))?;
    let mut command = Command::new("../.venv/bin/python");
    command.current_dir("tests").args(["-m", "registry.pull_figures", part]).env("HANOK_BINARY", hanok);
    let output = command.output().map_err(|error| format!("the tests' Python cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| {
        let reason = String::from_utf8_lossy(&output.stderr);
        format!("the harness failed: {}", reason.lines().last().unwrap_or_default())
    })
}
