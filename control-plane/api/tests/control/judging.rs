//! Rollouts, experiments and bandits from record to table, with outcomes that come late.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bench::{Bench, TRAFFIC, rollout};

fn healthy(_: &str) -> (f64, u64) {
    (0.01, 2_000)
}

/// Serves and ticks until the rollout is over; gives the number of rounds.
async fn until_over(bench: &Bench, name: &str, behaviour: &dyn Fn(&str) -> (f64, u64)) -> u32 {
    for round in 0..400 {
        if bench.phase(name).await.is_string() && bench.phase(name).await != "pending" {
            return round;
        }
        bench.runtime.serve("flight_delay", 500, bench.now(), None, behaviour);
        bench.pass(100).await;
    }
    panic!("rollout `{name}` is not over: {}", bench.phase(name).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_candidate_is_promoted_and_every_decision_explained() {
    let mut bench = Bench::start().await;
    bench.apply(&format!("{TRAFFIC}---\n{}", rollout("r", &[5.0, 25.0, 50.0], 300))).await;
    bench.tick().await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 500);
    bench.runtime.serve("flight_delay", 1_000, bench.now(), None, &healthy);
    bench.pass(100).await;
    // In the middle of it the control plane stops and starts again.
    bench.restart().await;
    until_over(&bench, "r", &healthy).await;
    assert_eq!(bench.phase("r").await, "promoted");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 10_000);
    let text = bench.call("GET", "/v1/rollouts/r/explain", &[("accept", "text/plain")], "").await;
    assert!(text.body.contains("promoted the candidate"), "{}", text.body);
    let decisions = bench.get("/v1/rollouts/r").await["decisions"].as_u64().unwrap();
    let explained = bench.call("GET", "/v1/rollouts/r/explain", &[("accept", "application/json")], "").await.json();
    assert_eq!(explained.as_array().unwrap().len() as u64, decisions);
    let types = bench.event_types().await;
    let expected = ["start", "advance", "advance", "promote"].map(|action| format!("io.hanok.rollout.{action}"));
    let found: Vec<&String> = types.iter().filter(|name| name.starts_with("io.hanok.rollout")).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    let metrics = bench.plane.as_ref().unwrap().render_metrics();
    assert!(metrics.contains("hanok_rollout_candidate_share_basis_points{kind=\"rollout\",name=\"r\""), "{metrics}");
    assert!(metrics.contains("phase=\"promoted\""), "{metrics}");
    // A promoted rollout keeps its weights through an apply that does not touch the traffic.
    bench.apply("apiVersion: hanok.dev/v1\nkind: Comparison\nmetadata: {name: c}\nspec: {otherwise: exact}\n").await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_candidate_is_rolled_back_within_the_tick_that_sees_it() {
    let bench = Bench::start().await;
    bench.apply(&format!("{TRAFFIC}---\n{}", rollout("r", &[10.0, 50.0], 5_000))).await;
    bench.tick().await;
    bench.runtime.serve("flight_delay", 3_000, bench.now(), None, &healthy);
    bench.pass(100).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000);
    bench.runtime.serve("flight_delay", 2_000, bench.now(), None, &|arm| {
        if arm == "canary" { (0.9, 2_000) } else { (0.01, 2_000) }
    });
    // One tick: records, verdict, commit and the runtime's new table.
    bench.tick().await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    assert_eq!(bench.phase("r").await, "rolled_back");
    let text = bench.call("GET", "/v1/rollouts/r/explain", &[("accept", "text/plain")], "").await.body;
    assert!(text.contains("in `errors` the candidate has more events than its share explains"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_that_come_late_and_out_of_order_roll_back() {
    let mut bench = Bench::start().await;
    let labelled = rollout("r", &[50.0], 100_000)
        .replace("{name: errors, kind: error_rate}", "{name: wrong, kind: {label: {better: lower}}}")
        + "  labels: {wrong: {outcome: missed, at_least: 1}}\n";
    bench.apply(&format!("{TRAFFIC}---\n{labelled}")).await;
    bench.tick().await;
    let served: BTreeMap<String, u64> =
        bench.runtime.serve("flight_delay", 2_000, bench.now(), Some("id"), &|_| (0.0, 1));
    assert!(served["canary"] > 900 && served["stable"] > 900, "{served:?}");
    // One outcome comes before its request is known.
    let early = bench
        .call("POST", "/v1/outcomes", &[], "{\"request_id\": \"id-0\", \"metric\": \"missed\", \"value\": 0}")
        .await;
    assert_eq!(early.json()["receipts"][0]["status"], "held");
    bench.pass(600).await;
    bench.restart().await;
    assert_eq!(bench.get("/v1/outcomes").await["served"], 2_000);
    assert_eq!(bench.get("/v1/outcomes").await["joined"], 1);
    // An hour later: most of the candidate's were wrong. The arm of each is what its record said.
    bench.pass(3_600_000).await;
    let journal: Vec<Value> = bench
        .store()
        .pairs(hanok_state::ReadFrom::After(hanok_state::Sequence(0)), 10)
        .await
        .unwrap()
        .records
        .iter()
        .map(|pair| json!(pair.served.arm))
        .collect();
    assert_eq!(journal.len(), 1);
    let mut lines: Vec<String> = (1..2_000)
        .rev()
        .map(|index| json!({ "request_id": format!("id-{index}"), "metric": "missed", "value": 0 }).to_string())
        .collect();
    lines.insert(7, "{not json".to_owned());
    let ndjson = [("content-type", "application/x-ndjson")];
    let half: Vec<String> = lines.drain(..1_000).collect();
    let receipts = bench.call("POST", "/v1/outcomes", &ndjson, &half.join("\n")).await.json();
    assert_eq!(receipts["receipts"][7]["status"], "invalid");
    assert_eq!(receipts["receipts"][8]["status"], "joined");
    // Reported again, nothing is counted twice; with another value it is refused.
    let again = bench.call("POST", "/v1/outcomes", &ndjson, &half[8]).await.json();
    assert_eq!(again["receipts"][0]["status"], "duplicate");
    bench.pass(100).await;
    assert_eq!(bench.phase("r").await, json!({ "running": { "step": 0 } }));
    // The rest, wrong wherever the candidate served: what a job would report that knows the truth.
    let page = bench.store().pairs(hanok_state::ReadFrom::After(hanok_state::Sequence(0)), 1_000).await.unwrap();
    assert_eq!(page.records.len(), 1_000);
    let wrong = bench.runtime.serve("flight_delay", 3_000, bench.now(), Some("later"), &|_| (0.0, 1));
    assert!(wrong["canary"] > 1_300);
    bench.pass(600).await;
    let arms = arms_of(&bench);
    let truth: Vec<String> = arms
        .iter()
        .map(|(id, arm)| {
            let value = u8::from(arm == "canary");
            json!({ "request_id": id, "metric": "missed", "value": value }).to_string()
        })
        .collect();
    bench.call("POST", "/v1/outcomes", &ndjson, &truth.join("\n")).await;
    bench.pass(100).await;
    assert_eq!(bench.phase("r").await, "rolled_back");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
}

/// Ids and arms of the requests called `later-N`, as the runtime still holds them or as they were served.
fn arms_of(bench: &Bench) -> Vec<(String, String)> {
    // The generator is seeded: the arm of each request follows from the records that the runtime kept until now.
    let request = hanok_api::DrainRequest { epoch: 0, after: 0, acknowledged: 0, most: 65_536 };
    let batch = bench.runtime.records.drain(request, 0);
    let arms = batch.records.into_iter().filter_map(|record| match record {
        hanok_api::RuntimeRecord::Request(request) => {
            let observation = request.observation;
            let arm = observation.arm?.name.to_string();
            observation.request_id.starts_with("later-").then(|| (observation.request_id.to_string(), arm))
        }
        _ => None,
    });
    arms.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_experiment_reports_and_a_bandit_moves_to_the_better_arm() {
    let bench = Bench::start().await;
    let even = TRAFFIC.replace("weight: 100", "weight: 50").replace("weight: 0", "weight: 50");
    let experiment = "apiVersion: hanok.dev/v1\nkind: Experiment\nmetadata: {name: e}\nspec:\n  traffic: flight_delay\n  \
                      control: stable\n  metrics:\n    - {name: errors, source: error, better: lower}\n";
    bench.apply(&format!("{even}---\n{experiment}")).await;
    bench.tick().await;
    let worse = |arm: &str| if arm == "canary" { (0.5, 1) } else { (0.05, 1) };
    bench.runtime.serve("flight_delay", 5_000, bench.now(), None, &worse);
    bench.pass(600).await;
    let report = bench.get("/v1/experiments/e").await;
    assert_eq!(report["report"]["comparisons"][0]["verdict"], "worse", "{report}");
    assert_eq!(report["refused_observations"], 0);
    assert!(report["text"].as_str().unwrap().contains("is worse than the control"));
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 5_000);
    // The experiment makes room for a bandit.
    let bandit = "apiVersion: hanok.dev/v1\nkind: Bandit\nmetadata: {name: b}\nspec:\n  traffic: flight_delay\n  \
                  floor: 5\n  reward: success\n  update_seconds: 1\n";
    let yaml = [("content-type", "application/yaml")];
    let both = bench.call("POST", "/v1/apply", &yaml, bandit).await;
    assert_eq!(both.status, 422, "a bandit would move what an experiment holds still: {both:?}");
    let swapped = bench.call("POST", "/v1/apply?prune", &yaml, &format!("{even}---\n{bandit}")).await;
    assert_eq!(swapped.status, 200, "{swapped:?}");
    for _ in 0..5 {
        bench.runtime.serve("flight_delay", 1_000, bench.now(), None, &worse);
        bench.pass(1_000).await;
    }
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 500, "the floor");
    let state = bench.get("/v1/bandits/b").await;
    assert_eq!(state["arms"][1]["weight_basis_points"], 500);
    assert!(bench.event_types().await.contains(&"io.hanok.bandit.weights".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_may_pause_resume_promote_and_abort() {
    let bench = Bench::start().await;
    let manual = rollout("r", &[5.0, 50.0], 100) + "  start: manual\n";
    bench.apply(&format!("{TRAFFIC}---\n{manual}")).await;
    bench.pass(100).await;
    assert_eq!(bench.phase("r").await, "pending");
    let order = async |order: &str| bench.call("POST", &format!("/v1/rollouts/r/{order}"), &[], "").await;
    assert_eq!(order("resume").await.code(), "refused");
    assert_eq!(order("start").await.json()["candidate_share"], 500);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 500);
    assert_eq!(order("pause").await.status, 200);
    bench.runtime.serve("flight_delay", 5_000, bench.now(), None, &healthy);
    bench.pass(100).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 500, "paused");
    assert_eq!(order("resume").await.status, 200);
    bench.pass(100).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 5_000);
    assert_eq!(order("promote").await.status, 200);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 10_000);
    assert_eq!(order("abort").await.code(), "refused");
    assert_eq!(bench.call("POST", "/v1/rollouts/none/pause", &[], "").await.code(), "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_kept_for_outcomes_where_the_traffic_says_so() {
    let bench = Bench::start().await;
    let unobserved = || bench.runtime.is_unobserved("flight_delay");
    bench.apply(TRAFFIC).await;
    bench.runtime.serve("flight_delay", 50, bench.now(), Some("before"), &|_| (0.0, 1));
    bench.pass(600).await;
    assert!(unobserved(), "nobody reads what becomes of the requests");
    assert_eq!(bench.get("/v1/outcomes").await["served"], 0);
    bench.apply(&format!("{TRAFFIC}  join_outcomes: true\n")).await;
    bench.runtime.serve("flight_delay", 50, bench.now(), Some("kept"), &|_| (0.0, 1));
    bench.pass(600).await;
    assert!(!unobserved());
    let outcome = "{\"request_id\": \"kept-7\", \"metric\": \"missed\", \"value\": 1}";
    let receipt = bench.call("POST", "/v1/outcomes", &[], outcome).await.json();
    assert_eq!(receipt["receipts"][0]["status"], "joined");
    assert_eq!(bench.get("/v1/outcomes").await["served"], 50);
    // A judge that reads no labels has requests observed, not kept.
    bench.apply(TRAFFIC).await;
    assert!(unobserved());
    bench.apply(&rollout("r", &[50.0], 100_000)).await;
    bench.runtime.serve("flight_delay", 50, bench.now(), Some("judged"), &|_| (0.0, 1));
    bench.pass(600).await;
    assert!(!unobserved());
    assert_eq!(bench.get("/v1/outcomes").await["served"], 50);
}

/// What served before a judge began is no evidence for it, however much of that waits to be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_served_before_is_none_of_a_judges_business() {
    let mut bench = Bench::start().await;
    let observed = format!("{TRAFFIC}  join_outcomes: true\n");
    bench.apply(&observed).await;
    bench.tick().await;
    // More than two answers hold, read by a control plane that has just started.
    bench.runtime.serve("flight_delay", 140_000, bench.now(), None, &|_| (1.0, 1));
    bench.restart().await;
    bench.apply(&rollout("r", &[50.0], 10_000)).await;
    for _ in 0..5 {
        bench.pass(100).await;
    }
    assert_eq!(bench.phase("r").await, json!({ "running": { "step": 0 } }));
    let requests = async |arm: &str| bench.get("/v1/rollouts/r").await["evidence"][arm]["requests"].as_u64().unwrap();
    assert_eq!((requests("baseline").await, requests("candidate").await), (0, 0));
    bench.runtime.serve("flight_delay", 1_000, bench.now(), None, &healthy);
    bench.pass(100).await;
    assert_eq!(requests("baseline").await + requests("candidate").await, 1_000);
}

/// The same for an experiment, whose declaration makes the controller read again what was not made durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_experiment_counts_from_its_declaration_on() {
    let bench = Bench::start().await;
    let even = TRAFFIC.replace("weight: 100", "weight: 50").replace("weight: 0", "weight: 50");
    bench.apply(&format!("{even}  join_outcomes: true\n")).await;
    bench.pass(10_000).await;
    bench.runtime.serve("flight_delay", 3_000, bench.now(), None, &|_| (1.0, 1));
    bench.pass(10).await;
    let experiment = "apiVersion: hanok.dev/v1\nkind: Experiment\nmetadata: {name: e}\nspec:\n  traffic: flight_delay\n  \
                      control: stable\n  metrics:\n    - {name: errors, source: error, better: lower}\n";
    bench.apply(experiment).await;
    bench.pass(100).await;
    bench.runtime.serve("flight_delay", 1_000, bench.now(), None, &healthy);
    bench.pass(100).await;
    let report = bench.get("/v1/experiments/e").await;
    let served = report["report"]["units"].as_array().unwrap().iter();
    assert_eq!(served.map(|count| count.as_u64().unwrap()).sum::<u64>(), 1_000, "{report}");
}
