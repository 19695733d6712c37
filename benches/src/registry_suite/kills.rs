//! kill -9 of processes that register, lay out, evict and collect: the harness is an example of the registry's crate, whose
//! tests run it, too.

use std::process::Command;

use serde_json::Value;

use crate::figure::{Figure, Target};
use crate::{Options, Problem};

/// Processes that are killed.
const KILLS: u32 = 200;
/// Which moments are hit: the same in every run, as far as the machine is the same.
const SEED: u32 = 20_260_501;

/// The figures, measured or skipped.
pub(super) fn figures(_: &Options) -> Vec<Figure> {
    let names = [
        format!("registrations and exports lost over {KILLS} kills with kill -9"),
        format!("files left half written, or by nobody, over {KILLS} kills"),
    ];
    let figure = |name: &str, target, measured: Result<f64, Problem>| match measured {
        Ok(value) => Figure::of(name, "", target, vec![value]),
        Err(problem) => Figure::skipped(name, "", target, &problem),
    };
    let told = run();
    let field = |name: &str| -> Result<f64, Problem> {
        let told = told.as_ref().map_err(Clone::clone)?;
        told[name].as_f64().ok_or_else(|| format!("the harness told no `{name}`: {told}"))
    };
    vec![
        figure(&names[0], Target::AtMost(0.0), field("lost")),
        figure(&names[1], Target::AtMost(0.0), field("half")),
        figure("of these, killed in the middle of something", Target::Information, field("killed_at_work")),
        figure("registrations acknowledged meanwhile", Target::Information, field("acknowledged")),
        figure("versions laid out meanwhile", Target::Information, field("exported")),
    ]
}

/// What the harness tells; it also ends with a failure when something was lost or left, and that is in what it tells.
fn run() -> Result<Value, Problem> {
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "--package", "hanok-registry", "--example", "kill_imports", "--"]);
    command.args(["parent".to_owned(), KILLS.to_string(), SEED.to_string()]);
    let output = command.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or_else(|| {
        format!("the harness failed: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default())
    })
}
