//! kill -9 at random points of rollouts: whether a decision is lost or made twice.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::controlled::{Controlled, StateFolder, resource};
use crate::figure::{Figure, Target};
use crate::generator::{Load, measure};
use crate::model_repository::ModelRepository;
use crate::{Options, Problem};

/// Rollouts that are killed once each.
const ROLLOUTS: u32 = 200;
/// Rollouts of one store, one after the other.
const TOGETHER: u32 = 20;

/// The figures, measured or skipped.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let name = format!("steps lost or made twice over {ROLLOUTS} rollouts, each killed with kill -9 at a random point");
    let mut wrong = 0.0;
    let mut kills = 0;
    for group in 0..ROLLOUTS / TOGETHER {
        eprintln!("  rollout {} of {ROLLOUTS}", group * TOGETHER + 1);
        match store(options, group, &mut kills) {
            Ok(found) => wrong += found,
            Err(problem) => return vec![Figure::skipped(name, "", Target::AtMost(0.0), &problem)],
        }
    }
    vec![
        Figure::of(name, "", Target::AtMost(0.0), vec![wrong]),
        Figure::of("of these, killed before the verdict", "", Target::Information, vec![f64::from(kills)]),
    ]
}

/// Rollouts over one store: each is started, killed somewhere, started again and brought to its end.
fn store(options: &Options, group: u32, kills: &mut u32) -> Result<f64, Problem> {
    let (repository, state) = (ModelRepository::new("kills")?, StateFolder::new(&format!("kills-{group}"))?);
    repository.add_integers("stable", "identity")?;
    repository.add_integers("failing", "fail")?;
    let mut wrong = 0.0;
    for number in 0..TOGETHER {
        let name = format!("rollout-{group}-{number}");
        // Spread over the life of a rollout, which takes about half a second; the same in every run.
        let until_kill = Duration::from_millis(u64::from((group * TOGETHER + number) * 7919 % 600));
        let controlled = Controlled::start(options, repository.path(), &state)?;
        let traffic = json!({ "arms": [
            { "name": "baseline", "weight": 100 },
            { "name": "canary", "model": "failing", "weight": 0 },
        ]});
        let steps = json!([{ "weight": 5, "minimum_samples": 5 }, { "weight": 20, "minimum_samples": 10 }, { "weight": 50, "minimum_samples": 20000 }]);
        let rollout = json!({
            "traffic": "stable", "baseline": "baseline", "candidate": "canary", "steps": steps,
            "metrics": [{ "name": "errors", "kind": "error_rate" }], "alpha_rollback": 0.0001,
        });
        let resources = [resource("Traffic", "stable", &traffic), resource("Rollout", &name, &rollout)];
        let arguments = ["--concurrency", "2", "--input", "INPUT0=-1"].map(str::to_owned).to_vec();
        let generator = Options { seconds: 0.5, ..options.clone() };
        let load = |controlled: &Controlled| -> Result<Load<'static>, Problem> {
            Ok(Load {
                server: controlled.server.http()?,
                pid: controlled.server.child.id(),
                model: "stable",
                arguments: arguments.clone(),
            })
        };
        controlled.apply(&resources)?;
        let first = load(&controlled)?;
        let over = std::thread::scope(|scope| -> Result<bool, Problem> {
            // The generator loses its server: that is the point.
            scope.spawn(|| drop(measure(&Options { seconds: 0.7, ..options.clone() }, &first, true)));
            std::thread::sleep(until_kill);
            let over = controlled.phase(&name).is_ok_and(|phase| phase == "rolled_back");
            controlled.server.child.kill_now();
            Ok(over)
        })?;
        *kills += u32::from(!over);
        drop(controlled);
        let again = Controlled::start(options, repository.path(), &state)?;
        let second = load(&again)?;
        std::thread::scope(|scope| -> Result<(), Problem> {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let (generator, second) = (&generator, &second);
            let running = scope.spawn(move || {
                while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                    drop(measure(generator, second, true));
                }
            });
            let ended = again.wait_until("the rollback", Duration::from_secs(20), |again| {
                Ok((again.phase(&name)? == "rolled_back").then_some(()))
            });
            drop(stop);
            drop(running.join());
            ended
        })?;
        wrong += faults(&again, &name)?;
    }
    Ok(wrong)
}

/// Decisions of a rollout that are missing, doubled or out of order, by its explanation and by the journal.
fn faults(controlled: &Controlled, name: &str) -> Result<f64, Problem> {
    let explained = controlled.get(&format!("/v1/rollouts/{name}/explain"))?;
    let told = explained.as_array().ok_or("the explanation is no list of decisions")?;
    let decisions: Vec<&Value> = told.iter().map(|one| &one["decision"]).collect();
    let numbers: Vec<u64> = decisions.iter().filter_map(|decision| decision["sequence"].as_u64()).collect();
    let gaps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    let mut ids = BTreeSet::new();
    let (mut after, mut doubled, mut recorded) = (0, 0, 0);
    loop {
        let page = controlled.get(&format!("/v1/journal?after={after}&limit=1000"))?;
        let events = page["events"].as_array().cloned().unwrap_or_default();
        if events.is_empty() {
            break;
        }
        for event in events {
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            recorded +=
                usize::from(id.contains(name) && decisions.iter().any(|one| one["id"] == Value::String(id.clone())));
            doubled += usize::from(!ids.insert((event["source"].to_string(), id)));
        }
        after = page["next"].as_u64().unwrap_or(0);
        if Some(after) == page["last"].as_u64() {
            break;
        }
    }
    let lost = decisions.len().abs_diff(recorded) + usize::from(decisions.is_empty());
    #[allow(clippy::cast_precision_loss, reason = "a handful")]
    Ok((gaps + doubled + lost) as f64)
}
