//! What a table costs a request, whether the weights are kept, and whether swaps under load lose anything.

use serde_json::{Value, json};

use super::controlled::{Controlled, StateFolder, resource};
use crate::figure::{Figure, Target};
use crate::floor_http::BINARY_WIDTH;
use crate::generator::{Load, Measured, measure};
use crate::model_repository::ModelRepository;
use crate::{Options, Problem};

/// Share of the canary in the weights figure, in percent.
const CANARY: f64 = 12.5;
/// Length of one slice of the cost figure.
const SLICE_SECONDS: f64 = 0.5;
/// Slices forth and back of one round.
const SLICES_PER_ROUND: u32 = 8;
/// Requests of the weights figure.
const REQUESTS: f64 = 1_000_000.0;
/// Tables of the swap figure.
const SWAPS: u32 = 1_000;

fn repository(name: &str) -> Result<ModelRepository, Problem> {
    let repository = ModelRepository::new(name)?;
    for model in ["plain", "same", "split", "watched"] {
        repository.add_identity(model, BINARY_WIDTH, "max_batch_size: 64\ndynamic_batching { }\n")?;
        repository.add_version(model, 2)?;
    }
    Ok(repository)
}

fn split(canary: f64) -> Value {
    traffic("split", 1, canary)
}

fn traffic(model: &str, baseline: u64, canary: f64) -> Value {
    let arms = json!([
        { "name": "baseline", "version": baseline, "weight": 100.0 - canary },
        { "name": "canary", "version": 2, "weight": canary },
    ]);
    resource("Traffic", model, &json!({ "arms": arms }))
}

/// Only compares, so that the weights stay.
fn watch(model: &str) -> Value {
    let metrics = json!([{ "name": "latency", "source": "latency_milliseconds", "better": "lower" }]);
    let experiment = json!({ "traffic": model, "control": "baseline", "metrics": metrics });
    resource("Experiment", model, &experiment)
}

fn load(controlled: &Controlled, model: &'static str, arguments: &[&str]) -> Result<Load<'static>, Problem> {
    Ok(Load {
        server: controlled.server.http()?,
        pid: controlled.server.child.id(),
        model,
        arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
    })
}

/// What is measured beside a model without a table, on the same server.
const BESIDE: [&str; 3] = ["same", "split", "watched"];

/// Server CPU and p99 with a table over those without, on the same server.
///
/// The figure that routing is judged by has two arms of one version, so that nothing differs but the routing. Two versions
/// also divide the batches, which is told beside it, as is what an experiment costs that watches every request. Slices are
/// short and alternate, forth and back: a machine that grows slower meanwhile slows all alike.
pub(super) fn cost(options: &Options) -> Vec<Figure> {
    let slices = || -> Result<Vec<[Measured; 4]>, Problem> {
        let (repository, state) = (repository("routing")?, StateFolder::new("routing")?);
        let controlled = Controlled::start(options, repository.path(), &state)?;
        controlled.apply(&[
            split(CANARY),
            traffic("same", 2, CANARY),
            traffic("watched", 2, CANARY),
            watch("watched"),
        ])?;
        let short = Options { seconds: SLICE_SECONDS, ..options.clone() };
        let run = |model| {
            let load = load(&controlled, model, &["--concurrency", "8", "--encoding", "binary"])?;
            measure(&short, &load, false)?.first().copied().ok_or_else(|| "no level was measured".to_owned())
        };
        let mut slices = Vec::new();
        for round in 0..options.rounds * SLICES_PER_ROUND {
            eprint!("\r  slice {} of {}", round + 1, options.rounds * SLICES_PER_ROUND);
            let order = ["plain", BESIDE[0], BESIDE[1], BESIDE[2]];
            let forth = order.iter().map(|model| run(model)).collect::<Result<Vec<_>, _>>()?;
            let back = order.iter().rev().map(|model| run(model)).collect::<Result<Vec<_>, _>>()?;
            slices.push(std::array::from_fn(|model| mean(forth[model], back[order.len() - 1 - model])));
        }
        eprintln!();
        Ok(slices)
    };
    let names = [
        "two arms of one version",
        "two arms of two versions, whose batches are smaller",
        "two arms that an experiment watches",
    ];
    let targets = |limit: f64| [Target::AtMost(limit), Target::Information, Target::Information];
    let slices = slices();
    let mut figures = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let (cpu, tail) = (
            format!("server CPU that routing adds, concurrency 8: {name}"),
            format!("p99 with a table over p99 without, concurrency 8: {name}"),
        );
        let (cpu_target, tail_target) = (targets(1.0)[index], targets(1.1)[index]);
        figures.extend(match &slices {
            Ok(slices) => {
                let added = slices.iter().map(|slice| slice[index + 1].cpu_us - slice[0].cpu_us).collect();
                let tails = slices.iter().map(|slice| slice[index + 1].p99_us / slice[0].p99_us).collect();
                [Figure::of(cpu, "us", cpu_target, added), Figure::of(tail, "", tail_target, tails)]
            }
            Err(problem) => {
                [Figure::skipped(cpu, "us", cpu_target, problem), Figure::skipped(tail, "", tail_target, problem)]
            }
        });
    }
    figures
}

fn mean(one: Measured, other: Measured) -> Measured {
    let middle = |pick: fn(&Measured) -> f64| f64::midpoint(pick(&one), pick(&other));
    Measured { cpu_us: middle(|level| level.cpu_us), p99_us: middle(|level| level.p99_us), ..one }
}

/// A million requests against the weights, and a thousand tables under load.
pub(super) fn weights(options: &Options) -> Vec<Figure> {
    let names = [
        "share of 1,000,000 requests off its weight, in percentage points",
        "requests failed or misrouted during 1,000 table swaps under load",
        "tables swapped under load",
    ];
    let targets = [Target::AtMost(0.1), Target::AtMost(0.0), Target::AtLeast(f64::from(SWAPS))];
    match measured_weights(options) {
        Ok(values) => {
            let figures = names.iter().zip(targets).zip(values);
            figures.map(|((name, target), value)| Figure::of(*name, "", target, vec![value])).collect()
        }
        Err(problem) => {
            names.iter().zip(targets).map(|(name, target)| Figure::skipped(*name, "", target, &problem)).collect()
        }
    }
}

fn measured_weights(options: &Options) -> Result<[f64; 3], Problem> {
    let (repository, state) = (repository("weights")?, StateFolder::new("weights")?);
    let controlled = Controlled::start(options, repository.path(), &state)?;
    controlled.apply(&[split(CANARY)])?;
    let sum = |controlled: &Controlled, of: Option<&str>| -> Result<f64, Problem> {
        let counts = controlled.arm_counts("split")?;
        Ok(counts.iter().filter(|((arm, _), _)| of.is_none_or(|of| of == arm)).map(|(_, count)| count).sum())
    };
    let many = load(&controlled, "split", &["--concurrency", "32", "--encoding", "binary"])?;
    while sum(&controlled, None)? < REQUESTS {
        eprintln!("  {:.0} of {REQUESTS:.0} requests", sum(&controlled, None)?);
        measure(&Options { seconds: 5.0, ..options.clone() }, &many, false)?;
    }
    let off = 100.0 * sum(&controlled, Some("canary"))? / sum(&controlled, None)? - CANARY;

    let before = controlled.arm_counts("split")?;
    let generator = Options { seconds: 1.0, ..options.clone() };
    let mut swapped = 0;
    let failed = std::thread::scope(|scope| -> Result<f64, Problem> {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let load = &many;
        let running = scope.spawn(move || -> Result<(), Problem> {
            // A failed request is a problem of `measure`.
            while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                measure(&generator, load, false)?;
            }
            Ok(())
        });
        for number in 0..SWAPS {
            controlled.apply(&[split(f64::from(number % 100) + 0.5)])?;
            swapped += 1;
        }
        drop(stop);
        let outcome = running.join().map_err(|_| "the load generator's thread panicked".to_owned())?;
        Ok(if outcome.is_ok() { 0.0 } else { 1.0 })
    })?;
    let after = controlled.arm_counts("split")?;
    let known =
        |arm: &str, outcome: &str| ["baseline", "canary"].contains(&arm) && ["success", "cancelled"].contains(&outcome);
    let wrong: f64 = after
        .iter()
        .filter(|((arm, outcome), _)| !known(arm, outcome))
        .map(|(key, count)| count - before.get(key).copied().unwrap_or(0.0))
        .sum();
    Ok([off.abs(), failed + wrong, f64::from(swapped)])
}
