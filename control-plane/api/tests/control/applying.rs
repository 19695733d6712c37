//! Apply, plan, rollback, conflicts and repetition.

use serde_json::json;

use crate::bench::{Bench, TRAFFIC, rollout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_applied_is_in_force_and_stays_so_after_a_restart() {
    let mut bench = Bench::start().await;
    let answer = bench.apply(TRAFFIC).await;
    assert_eq!((&answer["revision"], &answer["changed"]), (&json!(1), &json!(true)));
    assert_eq!(answer["plan"]["changes"][0]["action"], "created");
    // Version 2 takes 2,000 bytes and does not serve yet.
    assert_eq!(answer["plan"]["memory"]["needed_bytes"], 3_000);
    assert_eq!(answer["plan"]["memory"]["not_loaded_bytes"], 2_000);
    assert!(answer["plan"]["warnings"][0].as_str().unwrap().contains("does not serve"), "{answer}");
    assert_eq!(bench.runtime.weight("flight_delay", "stable"), 10_000);
    // The same again is nothing.
    let again = bench.apply(TRAFFIC).await;
    assert_eq!((&again["revision"], &again["changed"]), (&json!(1), &json!(false)));
    bench.restart().await;
    assert_eq!(bench.runtime.weight("flight_delay", "stable"), 10_000);
    assert_eq!(bench.get("/v1/status").await["revision"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing_and_shows_the_fields() {
    let bench = Bench::start().await;
    bench.apply(TRAFFIC).await;
    let changed = TRAFFIC.replace("weight: 100", "weight: 90").replace("weight: 0", "weight: 10");
    let yaml = [("content-type", "application/yaml")];
    let planned = bench.call("POST", "/v1/apply?dry_run=true", &yaml, &changed).await.json();
    let paths: Vec<&str> = planned["plan"]["changes"][0]["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| difference["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["spec.arms[0].weight", "spec.arms[1].weight"]);
    assert_eq!(planned["revision"], 1);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    // A misspelt flag must not apply.
    let misspelt = bench.call("POST", "/v1/apply?dryrun=true", &yaml, &changed).await;
    assert_eq!((misspelt.status, misspelt.code().as_str()), (400, "invalid-argument"));
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollback_restores_an_earlier_revision_as_a_new_one() {
    let bench = Bench::start().await;
    bench.apply(TRAFFIC).await;
    let changed = TRAFFIC.replace("weight: 100", "weight: 75").replace("weight: 0", "weight: 25");
    bench.apply(&changed).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 2_500);
    let stale = bench.call("POST", "/v1/rollback", &[("if-match", "\"1\"")], "{\"revision\": 1}").await;
    assert_eq!((stale.status, stale.code().as_str()), (412, "revision-mismatch"));
    let back = bench.call("POST", "/v1/rollback", &[("if-match", "\"2\"")], "{\"revision\": 1}").await;
    assert_eq!(back.status, 200, "{back:?}");
    assert!(back.headers.contains("etag: \"3\""), "{}", back.headers);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    let revisions = bench.get("/v1/revisions").await;
    assert_eq!(revisions["revisions"][0]["revision"], 3);
    assert_eq!(revisions["revisions"][0]["restores"], 1);
    let missing = bench.call("POST", "/v1/rollback", &[], "{\"revision\": 77}").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "not-found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_a_key_happens_once() {
    let mut bench = Bench::start().await;
    let keyed = [("content-type", "application/yaml"), ("idempotency-key", "deploy-17")];
    let first = bench.call("POST", "/v1/apply", &keyed, TRAFFIC).await;
    // In between somebody else applies, and the control plane restarts.
    let changed = TRAFFIC.replace("weight: 100", "weight: 60").replace("weight: 0", "weight: 40");
    bench.apply(&changed).await;
    bench.restart().await;
    let again = bench.call("POST", "/v1/apply", &keyed, TRAFFIC).await;
    assert_eq!((first.status, first.json()), (again.status, again.json()));
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 4_000);
    let other = bench.call("POST", "/v1/apply", &keyed, &changed).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency-key-reused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_is_told_and_nothing_is_applied() {
    let bench = Bench::start().await;
    let yaml = format!(
        "{TRAFFIC}---\n{}---\napiVersion: hanok.dev/v2\nkind: Trafic\nmetadata: {{name: 'a b'}}\nspec: {{}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: Traffic\nmetadata: {{name: other}}\nspec:\n  armz: []\n  arms:\n    \
         - {{name: a, weight: 50.005}}\n    - {{name: b, weight: 60, colour: red}}\n",
        rollout("r", &[5.0], 10),
    );
    let answer = bench.call("POST", "/v1/apply", &[("content-type", "application/yaml")], &yaml).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "invalid-declaration"));
    let problems = answer.json()["problems"].clone();
    let told: Vec<(u64, &str)> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["document"].as_u64().unwrap(), problem["path"].as_str().unwrap()))
        .collect();
    for expected in [(2, "apiVersion"), (2, "kind"), (2, "metadata.name"), (3, "spec.armz"), (3, "spec.arms[0].weight")]
    {
        assert!(told.contains(&expected), "{expected:?} is not in {told:?}");
    }
    assert!(told.iter().any(|(document, path)| *document == 3 && path.ends_with("colour")), "{told:?}");
    assert_eq!(bench.get("/v1/status").await["revision"], 0);
    // References are checked when the documents are right.
    let lost = rollout("r", &[5.0], 10).replace("traffic: flight_delay", "traffic: nowhere");
    let answer = bench.call("POST", "/v1/apply", &[("content-type", "application/yaml")], &lost).await;
    let problem = answer.json()["problems"][0].clone();
    assert_eq!((&problem["document"], &problem["path"]), (&json!(0), &json!("spec.traffic")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prune_removes_what_is_not_declared_and_a_rollout_under_way_is_safe() {
    let bench = Bench::start().await;
    let comparison =
        "---\napiVersion: hanok.dev/v1\nkind: Comparison\nmetadata: {name: close}\nspec: {otherwise: argmax}\n";
    bench.apply(&format!("{TRAFFIC}{comparison}---\n{}", rollout("r", &[5.0, 50.0], 1_000))).await;
    bench.tick().await;
    assert_eq!(bench.phase("r").await, json!({ "running": { "step": 0 } }));
    let yaml = [("content-type", "application/yaml")];
    let pruned = bench.call("POST", "/v1/apply?prune", &yaml, TRAFFIC).await;
    assert_eq!(pruned.status, 422, "{pruned:?}");
    assert!(pruned.body.contains("abort it first"), "{pruned:?}");
    assert_eq!(bench.call("POST", "/v1/rollouts/r/abort", &[], "").await.status, 200);
    let pruned = bench.call("POST", "/v1/apply?prune", &yaml, TRAFFIC).await;
    assert_eq!(pruned.status, 200, "{pruned:?}");
    let kinds: Vec<String> = pruned.json()["plan"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{}/{}", change["kind"].as_str().unwrap(), change["action"].as_str().unwrap()))
        .collect();
    assert_eq!(kinds, ["Comparison/removed", "Rollout/removed"]);
    assert_eq!(bench.get("/v1/resources").await["items"].as_array().unwrap().len(), 1);
}
