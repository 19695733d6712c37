//! Goodput beyond capacity: a model whose service time is known, offered two and five times what it can do.
//!
//! Capacity is measured first, in a closed loop that keeps every batch full; goodput is what is answered within the
//! deadline that each request carries. Source of the figures' shape: the overload table in the project's reliability
//! notes (deadline-aware dropping keeps goodput flat, a bounded queue alone does not).

use std::path::Path;

use crate::figure::{Figure, Target};
use crate::generator::{Load, measure};
use crate::model_repository::{ModelRepository, parameter};
use crate::server::{Engine, RunningServer};
use crate::{Options, Problem};

/// Milliseconds of service per batch.
const SERVICE_MS: u32 = 5;
/// Rows per batch, and so `BATCH / SERVICE_MS` rows per millisecond of capacity.
const BATCH: u32 = 4;
/// Every request's deadline.
const DEADLINE: &str = "100ms";

const FACTORS: [(f64, f64); 2] = [(2.0, 0.95), (5.0, 0.90)];

/// The figures, measured or skipped.
pub(crate) fn figures(options: &Options) -> Vec<Figure> {
    let name = |factor: f64| format!("goodput over capacity at {factor}x offered load");
    match rounds(options) {
        Ok(rounds) => FACTORS
            .iter()
            .zip(rounds)
            .map(|(&(factor, least), rounds)| Figure::of(name(factor), "", Target::AtLeast(least), rounds))
            .collect(),
        Err(problem) => FACTORS
            .iter()
            .map(|&(factor, least)| Figure::skipped(name(factor), "", Target::AtLeast(least), &problem))
            .collect(),
    }
}

fn rounds(options: &Options) -> Result<Vec<Vec<f64>>, Problem> {
    let repository = ModelRepository::new("overload")?;
    let settings = format!("max_batch_size: {BATCH}\ndynamic_batching {{ }}\n");
    repository.add_identity("slow", 4, &(settings + &parameter("execute_delay_ms", &SERVICE_MS.to_string())))?;
    let server = start(options, repository.path())?;
    let load = |arguments: &[String]| -> Result<Load<'static>, Problem> {
        let all = arguments.iter().cloned().chain(["--goodput".to_owned(), DEADLINE.to_owned()]).collect();
        Ok(Load { server: server.http()?, pid: server.child.id(), model: "slow", arguments: all })
    };
    let mut shares = vec![Vec::new(); FACTORS.len()];
    for _ in 0..options.rounds.min(3) {
        let full = [String::from("--concurrency"), (4 * BATCH).to_string()];
        let capacity = measure(options, &load(&full)?, false)?.first().map_or(0.0, |level| level.rate);
        for ((factor, _), shares) in FACTORS.iter().zip(&mut shares) {
            let mut rate = vec!["--rate".to_owned(), format!("{:.1}", capacity * factor)];
            rate.extend(["--request-timeout".to_owned(), DEADLINE.to_owned()]);
            let level = measure(options, &load(&rate)?, true)?;
            shares.extend(level.first().map(|level| level.goodput / capacity));
        }
    }
    Ok(shares)
}

fn start(options: &Options, repository: &Path) -> Result<RunningServer, Problem> {
    RunningServer::hanok(options, repository, Engine::Found)
}
