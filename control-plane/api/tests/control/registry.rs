//! The registry over the admin port: what is on record, who may change what, and what refusals look like.

use hanok_registry::{Actor, LocalFiles, Registry, RegistrySettings, VersionFacts};
use hanok_state::Timestamp;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::http_client::HttpAnswer;

const MODELS: &str = "/v1/registry/models";

/// Registers versions with these contents beside the control plane, as a command does.
fn register(bench: &Bench, contents: &[&str]) {
    let registry = Registry::open(&bench.registry_folder(), RegistrySettings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for content in contents {
        std::fs::write(folder.path().join("model.bin"), content).unwrap();
        let files = LocalFiles { path: folder.path().to_owned(), configuration: None };
        let actor = Actor::new("ann", Timestamp::default()).unwrap();
        registry.add("m", &files, &VersionFacts::default(), &actor).unwrap();
    }
}

async fn put(bench: &Bench, path: &str, author: &str, body: Value) -> HttpAnswer {
    bench.call("PUT", &format!("{MODELS}/m/{path}"), &[("x-hanok-author", author)], &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commands_register_is_on_record_here() {
    let bench = Bench::start().await;
    assert_eq!(bench.get(MODELS).await, json!({ "models": [] }));
    register(&bench, &["one", "two"]);
    assert_eq!(bench.get(MODELS).await["models"][0]["versions"], 2);
    assert_eq!(bench.get(&format!("{MODELS}/m/versions")).await["versions"][1]["number"], 2);
    let record = bench.get(&format!("{MODELS}/m/versions/2")).await;
    // printf two | sha256sum
    let two = "sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";
    assert_eq!(record["manifest"]["files"]["model.bin"], json!({ "digest": two, "bytes": 3 }));
    let found = bench.get("/v1/registry/diff?before=m/1&after=m").await;
    assert_eq!(found["difference"]["files"][0]["path"], "model.bin");
    let log = bench.get("/v1/registry/log?model=m&after=1&limit=1").await;
    assert_eq!(log["records"][0]["action"], "version_registered");
    for (path, status) in [
        ("/v1/registry/models/none", 404),
        ("/v1/registry/models/m/versions/3", 404),
        ("/v1/registry/models/m/versions/x", 400),
        ("/v1/registry/models/m/aliases/a", 404),
        ("/v1/registry/models/none/versions", 404),
        ("/v1/registry/diff?before=m/1", 400),
        ("/v1/registry/diff?before=m/1&after=m/1/1", 400),
        ("/v1/registry/log?limit=0", 400),
        ("/v1/registry/log?limit=1001", 400),
        ("/v1/registry/models?x=1", 400),
    ] {
        let answer = bench.call("GET", path, &[], "").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.code();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_waits_for_approvals_and_aliases_for_what_is_expected() {
    let bench = Bench::start().await;
    register(&bench, &["one", "two"]);
    let rule = json!({ "approvals": 1, "four_eyes": true });
    assert_eq!(put(&bench, "rules/production", "ann", rule).await.json()["policy"]["production"]["approvals"], 1);
    let promote = || put(&bench, "versions/1/stage", "ann", json!({ "stage": "production" }));
    let refused = promote().await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "failed-precondition"));
    let detail = "`m/1` is not approved for stage `production`: expected 1 approvals, found 0";
    assert_eq!(refused.json()["detail"], detail);
    for (author, status) in [("ann", 409), ("bob", 200)] {
        let body = json!({ "stage": "production", "verdict": "approved", "checks": { "auc": true } }).to_string();
        let path = format!("{MODELS}/m/versions/1/approvals");
        let approved = bench.call("POST", &path, &[("x-hanok-author", author)], &body).await;
        assert_eq!(approved.json()["approvals"].as_array().unwrap().last().unwrap()["by"], author);
        assert_eq!(promote().await.status, status, "approved by {author}");
    }
    assert_eq!(bench.get(&format!("{MODELS}/m/versions/1")).await["version"]["stage"], "production");

    let moved = |body| put(&bench, "aliases/champion", "cyd", body);
    assert_eq!(moved(json!({ "version": 1, "expected": null })).await.json()["before"], Value::Null);
    let conflict = moved(json!({ "version": 2, "expected": null })).await;
    assert_eq!((conflict.status, conflict.code().as_str()), (409, "conflict"));
    assert_eq!(moved(json!({ "version": 2, "expected": 1 })).await.json()["before"], 1);
    assert_eq!(bench.get(&format!("{MODELS}/m/aliases/champion")).await["version"]["number"], 2);
    let remove = |query: &'static str| {
        let path = format!("{MODELS}/m/aliases/champion{query}");
        let bench = &bench;
        async move { bench.call("DELETE", &path, &[], "").await.status }
    };
    assert_eq!((remove("?expected=1").await, remove("?expected=2").await), (409, 200));
    assert_eq!(moved(json!({ "version": 9 })).await.status, 404);
    assert_eq!(moved(json!({ "version": 1, "expectd": 2 })).await.status, 400, "a misspelt member is no member");
    let path = format!("{MODELS}/m/aliases/champion");
    let conditional = bench.call("PUT", &path, &[("if-match", "\"99\"")], r#"{"version": 1}"#).await;
    assert_eq!((conditional.status, conditional.code().as_str()), (400, "invalid-argument"));
    // Who acted is on record.
    let log = bench.get("/v1/registry/log").await;
    let last = log["records"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["action"].as_str(), last["actor"].as_str()), (Some("alias_moved"), Some("admin")));
}
