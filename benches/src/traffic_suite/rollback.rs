//! A candidate that starts to fail under live load: how long until nobody reaches it any more.

use std::time::{Duration, Instant};

use serde_json::json;

use super::controlled::{Controlled, StateFolder, resource};
use crate::figure::{Figure, Target};
use crate::generator::{Load, measure};
use crate::model_repository::ModelRepository;
use crate::{Options, Problem};

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let name = "a candidate that fails at once, 10 % of the traffic: time from apply to weight 0";
    let further = "requests that it failed until then";
    let rounds: Result<Vec<(f64, f64)>, Problem> = (0..options.rounds).map(|_| once(options)).collect();
    match rounds {
        Ok(rounds) => vec![
            Figure::of(name, "s", Target::AtMost(2.0), rounds.iter().map(|(seconds, _)| *seconds).collect()),
            Figure::of(further, "", Target::Information, rounds.iter().map(|(_, failed)| *failed).collect()),
        ],
        Err(problem) => vec![Figure::skipped(name, "s", Target::AtMost(2.0), &problem)],
    }
}

fn once(options: &Options) -> Result<(f64, f64), Problem> {
    let (repository, state) = (ModelRepository::new("rollback")?, StateFolder::new("rollback")?);
    repository.add_integers("stable", "identity")?;
    repository.add_integers("failing", "fail")?;
    let controlled = Controlled::start(options, repository.path(), &state)?;
    let traffic = json!({ "arms": [
        { "name": "baseline", "weight": 100 },
        { "name": "canary", "model": "failing", "weight": 0 },
    ]});
    let rollout = json!({
        "traffic": "stable", "baseline": "baseline", "candidate": "canary",
        "steps": [{ "weight": 10, "minimum_duration_seconds": 3600 }],
        "metrics": [{ "name": "errors", "kind": "error_rate" }],
        "alpha_rollback": 0.01,
    });
    let resources = [resource("Traffic", "stable", &traffic), resource("Rollout", "canary", &rollout)];
    let arguments = ["--rate", "2000", "--arrivals", "poisson", "--input", "INPUT0=-1"].map(str::to_owned).to_vec();
    let load =
        Load { server: controlled.server.http()?, pid: controlled.server.child.id(), model: "stable", arguments };
    let generator = Options { seconds: 6.0, ..options.clone() };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| measure(&generator, &load, true));
        controlled.wait_until("the load", Duration::from_secs(10), |controlled| {
            let answered = controlled.server.metric("nv_inference_request_success", "model=\"stable\"").unwrap_or(0.0);
            Ok((answered > 200.0).then_some(()))
        })?;
        let begun = Instant::now();
        controlled.apply(&resources)?;
        controlled.wait_until("the rollback", Duration::from_secs(30), |controlled| {
            Ok((controlled.phase("canary")? == "rolled_back").then_some(()))
        })?;
        controlled.wait_until("weight 0", Duration::from_secs(5), |controlled| {
            let table = controlled.get("/v1/status")?;
            Ok((table["runtimes"][0]["in_step"] == true).then_some(()))
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        let failed = controlled.arm_counts("stable")?.get(&("canary".to_owned(), "server_error".to_owned())).copied();
        running.join().map_err(|_| "the load generator's thread panicked".to_owned())??;
        let after = controlled.arm_counts("stable")?.get(&("canary".to_owned(), "server_error".to_owned())).copied();
        if after != failed {
            return Err(format!(
                "the candidate failed {after:?} requests in the end, {failed:?} when its weight was 0"
            ));
        }
        Ok((seconds, failed.unwrap_or(0.0)))
    })
}
