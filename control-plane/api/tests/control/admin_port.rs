//! The admin port against callers who err or mean harm, and against its own document.

use std::sync::Arc;

use hanok_api::{AdminSettings, ControlPlane, ControlSettings, RuntimeAdmin, RuntimePort, openapi_document};
use hanok_state::{StateStore, StoreSettings};

use crate::bench::{Bench, TRAFFIC, rollout};
use crate::http_client::{send, send_raw};
use crate::router_runtime::RouterRuntime;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_route_answers_and_no_other_does() {
    let bench = Bench::start().await;
    let bandit =
        "apiVersion: hanok.dev/v1\nkind: Bandit\nmetadata: {name: b}\nspec: {traffic: t, floor: 5, reward: success}\n";
    let experiment = "apiVersion: hanok.dev/v1\nkind: Experiment\nmetadata: {name: x}\nspec:\n  {traffic: u, control: a, \
                      metrics: [{name: e, source: error, better: lower}]}\n";
    let pair = |name: &str| {
        format!(
            "apiVersion: hanok.dev/v1\nkind: Traffic\nmetadata: {{name: {name}}}\nspec:\n  arms: [{{name: a, weight: 50}}, {{name: b, weight: 50}}]\n"
        )
    };
    let all =
        [TRAFFIC.to_owned(), rollout("x", &[5.0], 10), bandit.to_owned(), experiment.to_owned(), pair("t"), pair("u")];
    bench.apply(&all.join("---\n").replace("metadata: {name: b}", "metadata: {name: x}")).await;
    let runtime = RouterRuntime::new("offered", 3);
    let offered =
        RuntimeAdmin::start(&AdminSettings::default(), Arc::clone(&runtime) as Arc<dyn RuntimePort>).await.unwrap();
    let document = bench.get("/v1/openapi.json").await;
    assert_eq!(document, openapi_document());
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::BTreeSet::new();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes += 1;
            assert!(ids.insert(operation["operationId"].to_string()), "{operation}");
            let places = path.matches('{').count();
            let declared = operation["parameters"].as_array().unwrap();
            assert_eq!(declared.iter().filter(|one| one["in"] == "path").count(), places, "{path}");
            let path = path.replace("{kind}", "Traffic").replace("{name}", "x").replace("Traffic/x", "Traffic/t");
            let address = if path.starts_with("/v1/runtime/") { offered.address() } else { bench.address() };
            let method = method.to_uppercase();
            let answer = tokio::task::spawn_blocking(move || {
                send(address, &method, &path, &[], "").map(|answer| (path, answer))
            });
            let (path, answer) = answer.await.unwrap().unwrap();
            // What needs a body says so; nothing says that it isn't there.
            if !(200..300).contains(&answer.status) {
                let code = answer.code();
                assert!(
                    !["no-such-route", "not-offered", "method-not-allowed", "internal"].contains(&code.as_str()),
                    "{path}: {answer:?}"
                );
            }
        }
    }
    assert_eq!(routes, 51);
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v1/rollouts/", 404),
        ("GET", "/v1/rollouts/a%2fb", 404),
        ("GET", "/v1/apply", 405),
        ("PATCH", "/v1/status", 405),
        ("GET", "/v1/runtime/table", 404),
        ("GET", "/v1/status?x=1", 400),
        ("GET", "/v1/journal?limit=0", 400),
        ("GET", "/v1/journal?limit=1001", 400),
        ("GET", "/v1/journal?limit=99999999999999999999", 400),
        ("GET", "/v1/resources/Nothing", 404),
        ("GET", "/v1/resources/Traffic/none", 404),
    ] {
        let answer = bench.call(method, path, &[], "").await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        answer.code();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_hostile_bodies_are_refused() {
    let bench = Bench::start().await;
    let yaml = [("content-type", "application/yaml")];
    let laughs = (0..9).fold("a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        let (before, now) = ((b'a' + level) as char, (b'b' + level) as char);
        format!("{text}{now}: &{now} [{}]\n", vec![format!("*{before}"); 9].join(","))
    });
    let deep = "[".repeat(20_000);
    let duplicate = TRAFFIC.replace("spec:", "kind: Rollout\nspec:");
    for body in ["", "%%%", "a: b: c", "- - -\n  : :", "kind: Traffic", "42", "\"text\"", &laughs, &deep, &duplicate] {
        let answer = bench.call("POST", "/v1/apply", &yaml, body).await;
        let empty = body.is_empty();
        assert_eq!(answer.status, if empty { 200 } else { 422 }, "{body:.40}: {answer:?}");
    }
    for body in ["{", "{\"a\":", "nul", "[1,2", &format!("{}1{}", "[".repeat(200), "]".repeat(200)), "{\"kind\": 5}"] {
        let answer = bench.call("POST", "/v1/apply", &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status, 422, "{body:.40}: {answer:?}");
    }
    let large = format!("# {}\n", "x".repeat(2 << 20));
    assert_eq!(bench.call("POST", "/v1/apply", &yaml, &large).await.code(), "too-large");
    let many = TRAFFIC.to_owned() + &"---\n{}\n".repeat(300);
    assert_eq!(bench.call("POST", "/v1/apply", &yaml, &many).await.status, 422);
    for body in ["", "5", "[]", "{\"request_id\": \"a\"", "\"x\""] {
        let answer = bench.call("POST", "/v1/outcomes", &[], body).await;
        let refused = answer.status == 400 || answer.json()["receipts"][0]["status"] == "invalid";
        assert!(refused, "{body}: {answer:?}");
    }
    let address = bench.address();
    let raw = tokio::task::spawn_blocking(move || {
        // A body that is announced larger than any may be is refused without being read.
        let huge = format!(
            "POST /v1/outcomes HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n{}",
            "x".repeat(9 << 20)
        );
        assert_eq!(send_raw(address, huge.as_bytes()).map(|answer| answer.status).unwrap_or(413), 413);
        let many = format!("GET /v1/status HTTP/1.1\r\nHost: {address}\r\n{}\r\n", "a: b\r\n".repeat(20_000));
        assert_eq!(send_raw(address, many.as_bytes()).map(|answer| answer.status).unwrap_or(431), 431);
    });
    raw.await.unwrap();
    // It is there still.
    assert_eq!(bench.get("/v1/status").await["revision"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_than_the_loopback_needs_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open_sqlite(&folder.path().join("state.db"), StoreSettings::default()).unwrap();
    let admin = AdminSettings { listen: "0.0.0.0:0".parse().unwrap(), ..AdminSettings::default() };
    let settings = ControlSettings { admin: admin.clone(), ..ControlSettings::default() };
    let refused = ControlPlane::start(settings, Vec::new(), store.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("admin token"), "{refused}");
    let short = AdminSettings { token: Some("short".to_owned()), ..admin.clone() };
    let settings = ControlSettings { admin: short, ..ControlSettings::default() };
    assert!(ControlPlane::start(settings, Vec::new(), store.clone()).await.is_err());
    let token = "sixteen bytes or more";
    let settings = ControlSettings {
        admin: AdminSettings { token: Some(token.to_owned()), ..admin },
        ..ControlSettings::default()
    };
    let plane = ControlPlane::start(settings, Vec::new(), store).await.unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], plane.address().port()));
    let statuses = tokio::task::spawn_blocking(move || {
        let bearer = format!("Bearer {token}");
        [vec![], vec![("authorization", "Bearer wrong wrong wrong wrong")], vec![("authorization", bearer.as_str())]]
            .map(|headers| send(address, "GET", "/v1/status", &headers, "").unwrap().status)
    });
    assert_eq!(statuses.await.unwrap(), [401, 401, 200]);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_journal_have_a_durable_place() {
    let mut bench = Bench::start().await;
    bench.apply(TRAFFIC).await;
    bench.apply(&TRAFFIC.replace("weight: 100", "weight: 99").replace("weight: 0", "weight: 1")).await;
    let registered = bench.call("PUT", "/v1/cursors/audit", &[], "").await.json();
    assert_eq!(registered["position"], 0);
    let page = bench.get("/v1/journal?cursor=audit&limit=1").await;
    assert_eq!(
        (page["events"].as_array().unwrap().len(), page["next"].as_u64(), page["last"].as_u64()),
        (1, Some(1), Some(2))
    );
    assert_eq!(page["events"][0]["specversion"], "1.0");
    let moved = bench.call("POST", "/v1/cursors/audit", &[], "{\"expected\": 0, \"to\": 1}").await;
    assert_eq!(moved.status, 200, "{moved:?}");
    bench.restart().await;
    assert_eq!(bench.get("/v1/journal?cursor=audit").await["events"][0]["id"], "revision/2");
    let stale = bench.call("POST", "/v1/cursors/audit", &[], "{\"expected\": 0, \"to\": 1}").await;
    assert_eq!((stale.status, stale.code().as_str()), (409, "conflict"));
    assert_eq!(bench.get("/v1/cursors").await["cursors"][0]["name"], "audit");
    assert_eq!(bench.call("DELETE", "/v1/cursors/audit", &[], "").await.status, 200);
    assert_eq!(bench.call("GET", "/v1/journal?cursor=audit", &[], "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shadows_of_every_runtime_are_shown_and_one_that_is_gone_is_told() {
    let bench = Bench::start().await;
    let answer = bench.get("/v1/shadows?model=flight_delay&examples=3").await;
    assert_eq!(answer["runtimes"][0]["shadows"][0]["public_model"], "flight_delay");
    for wrong in ["examples=101", "examples=-1", "example=3"] {
        assert_eq!(
            bench.call("GET", &format!("/v1/shadows?{wrong}"), &[], "").await.code(),
            "invalid-argument",
            "{wrong}"
        );
    }
    bench.runtime.set_reachable(false);
    let answer = bench.get("/v1/shadows").await;
    assert!(answer["runtimes"][0]["error"].as_str().unwrap().contains("cut"), "{answer}");
}
