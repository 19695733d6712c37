//! Where a version comes from, as its run tells: metrics, parameters, training data, Git commit. Pure but for one GET.
//!
//! Best effort by contract: a run that was deleted, or may not be read, costs its facts and not the pull.

use std::collections::BTreeMap;

use serde_json::Value;

use super::server::MlflowServer;
use super::server_error::Question;
use crate::SourceError;

const MOST_FACTS: usize = 500;
const LONGEST_FACT_BYTES: usize = 4096;

/// Facts of the run `run_id`, by stable keys: `metric.NAME`, `param.NAME`, `git.commit`, `git.remote`, `git.branch`,
/// `dataset.NAME.digest`, `dataset.NAME.source`.
///
/// # Errors
/// Only what would also fail the rest of a pull: a server that cannot be reached, or is none.
pub(super) async fn of_run(server: &MlflowServer, run_id: &str) -> Result<BTreeMap<String, String>, SourceError> {
    if run_id.is_empty() {
        return Ok(BTreeMap::new());
    }
    match server.get(&["runs", "get"], &[("run_id", run_id)], Question::Plain("run of the version")).await {
        Ok(answer) => Ok(facts(&answer["run"])),
        Err(error) if error.is_transient() => Err(error),
        Err(_) => Ok(BTreeMap::new()),
    }
}

fn facts(run: &Value) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |key: String, value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return,
        };
        if facts.len() < MOST_FACTS && key.len() + text.len() <= LONGEST_FACT_BYTES {
            facts.insert(key, text);
        }
    };
    let data = &run["data"];
    for (kind, list) in [("metric", &data["metrics"]), ("param", &data["params"])] {
        for entry in list.as_array().into_iter().flatten() {
            add(format!("{kind}.{}", entry["key"].as_str().unwrap_or_default()), &entry["value"]);
        }
    }
    for tag in data["tags"].as_array().into_iter().flatten() {
        let key = match tag["key"].as_str() {
            Some("mlflow.source.git.commit") => "git.commit",
            Some("mlflow.source.git.repoURL") => "git.remote",
            Some("mlflow.source.git.branch") => "git.branch",
            Some("mlflow.user") => "user",
            _ => continue,
        };
        add(key.to_owned(), &tag["value"]);
    }
    for input in run["inputs"]["dataset_inputs"].as_array().into_iter().flatten() {
        let dataset = &input["dataset"];
        let name = dataset["name"].as_str().unwrap_or_default();
        add(format!("dataset.{name}.digest"), &dataset["digest"]);
        add(format!("dataset.{name}.source"), &dataset["source"]);
    }
    facts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn facts_have_stable_keys() {
        let run = json!({
            "data": {
                "metrics": [{"key": "auc", "value": 0.91}, {"key": "loss", "value": "NaN"}],
                "params": [{"key": "trees", "value": "100"}],
                "tags": [{"key": "mlflow.source.git.commit", "value": "aa"}, {"key": "mlflow.runName", "value": "x"}],
            },
            "inputs": {"dataset_inputs": [{"dataset": {"name": "flights", "digest": "a552dd8d", "source": "{}"}}]},
        });
        let read: Vec<_> = facts(&run).into_iter().collect();
        let expected = [
            ("dataset.flights.digest", "a552dd8d"),
            ("dataset.flights.source", "{}"),
            ("git.commit", "aa"),
            ("metric.auc", "0.91"),
            ("metric.loss", "NaN"),
            ("param.trees", "100"),
        ];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(facts(&json!({"data": {"metrics": 1}})).is_empty());
    }
}
