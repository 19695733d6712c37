//! Whether a shadow of every request changes the primary's tail, on a model that leaves idle capacity.

use serde_json::json;

use super::controlled::{Controlled, StateFolder, resource};
use crate::figure::{Figure, Target};
use crate::generator::{Load, measure};
use crate::model_repository::{ModelRepository, parameter};
use crate::{Options, Problem};

/// The figure, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let name = "p99 with a shadow of every request over p99 without, 10 ms model at 40 requests a second";
    let target = Target::AtMost(1.01);
    match rounds(options) {
        Ok((rounds, copies)) => vec![
            Figure::of(name, "", target, rounds),
            Figure::of("share of those requests that were compared", "", Target::AtLeast(0.9), vec![copies]),
        ],
        Err(problem) => vec![Figure::skipped(name, "", target, &problem)],
    }
}

fn rounds(options: &Options) -> Result<(Vec<f64>, f64), Problem> {
    let (repository, state) = (ModelRepository::new("shadow")?, StateFolder::new("shadow")?);
    let settings = "max_batch_size: 1\n".to_owned() + &parameter("execute_delay_ms", "10");
    for model in ["plain", "shadowed", "candidate"] {
        repository.add_identity(model, 16, &settings)?;
    }
    let controlled = Controlled::start(options, repository.path(), &state)?;
    let spec = json!({
        "arms": [{ "name": "all", "version": 1, "weight": 100 }],
        "shadow": [{ "target": { "version": { "model": "candidate" } }, "share": 100 }],
    });
    controlled.apply(&[resource("Traffic", "shadowed", &spec)])?;
    let options = &Options { seconds: options.seconds.max(4.0), ..options.clone() };
    let run = |model: &'static str| -> Result<(f64, f64), Problem> {
        let arguments = ["--rate", "40", "--arrivals", "constant", "--encoding", "binary"].map(str::to_owned).to_vec();
        let load = Load { server: controlled.server.http()?, pid: controlled.server.child.id(), model, arguments };
        let levels = measure(options, &load, false)?;
        levels.first().map(|level| (level.p99_us, level.rate)).ok_or_else(|| "no level was measured".to_owned())
    };
    let mut shares = Vec::new();
    for round in 0..options.rounds {
        eprintln!("  round {} of {}", round + 1, options.rounds);
        let (first, second, third, fourth) = (run("plain")?.0, run("shadowed")?.0, run("shadowed")?.0, run("plain")?.0);
        shares.push((second + third) / (first + fourth));
    }
    let answered: f64 = controlled.arm_counts("shadowed")?.values().sum();
    let compared = controlled.server.metric("hanok_shadow_copies_total", "result=\"agreed\"")?;
    Ok((shares, compared / answered))
}
