//! Several runtimes, near and far: cuts, restarts, conflicts, and the kill switch.

use std::sync::Arc;
use std::time::Duration;

use hanok_api::{AdminSettings, DrainRequest, PortError, RemoteRuntime, RemoteSettings, RuntimeAdmin, RuntimePort};
use serde_json::{Value, json};

use crate::bench::{Bench, TRAFFIC, rollout};
use crate::router_runtime::RouterRuntime;

const TOKEN: &str = "a token of some length";

fn remote(address: std::net::SocketAddr, token: &str) -> Arc<RemoteRuntime> {
    let settings = RemoteSettings {
        name: "remote".to_owned(),
        address: format!("http://{address}"),
        token: Some(token.to_owned()),
        attempt: Duration::from_secs(2),
        retries: 1,
        first_wait: Duration::from_millis(1),
        seed: 7,
    };
    Arc::new(RemoteRuntime::new(settings).unwrap())
}

async fn runtime_status(bench: &Bench, name: &str) -> Value {
    let status = bench.get("/v1/status").await;
    let runtimes = status["runtimes"].as_array().unwrap();
    runtimes.iter().find(|runtime| runtime["name"] == name).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_runtime_is_steered_like_a_local_one() {
    let far = RouterRuntime::new("far", 99);
    let admin = AdminSettings { token: Some(TOKEN.to_owned()), ..AdminSettings::default() };
    let offered = RuntimeAdmin::start(&admin, Arc::clone(&far) as Arc<dyn RuntimePort>).await.unwrap();
    let wrong = remote(offered.address(), "another token, also long");
    assert_eq!(wrong.table().await.unwrap_err(), PortError::Unauthorised);
    let bench = Bench::with_others(vec![remote(offered.address(), TOKEN)]).await;
    bench.apply(&format!("{TRAFFIC}---\n{}", rollout("r", &[5.0, 50.0], 200))).await;
    bench.tick().await;
    assert_eq!((bench.runtime.weight("flight_delay", "canary"), far.weight("flight_delay", "canary")), (500, 500));
    // Only the remote one has traffic; the verdict is for both.
    far.serve("flight_delay", 6_000, bench.now(), None, &|_| (0.0, 1));
    bench.pass(600).await;
    bench.pass(600).await;
    assert_eq!((bench.runtime.weight("flight_delay", "canary"), far.weight("flight_delay", "canary")), (5_000, 5_000));
    let requests = bench.get("/v1/rollouts/r").await["evidence"]["baseline"]["requests"].as_u64().unwrap();
    assert!(requests > 5_000, "{requests}");
    // What is durable was acknowledged and is forgotten.
    let held = far.records.drain(DrainRequest { epoch: 99, most: 1, ..DrainRequest::default() }, 0);
    assert_eq!((held.first, held.records.len()), (6_001, 0));
    offered.stop().await;
    bench.pass(100).await;
    let status = runtime_status(&bench, "remote").await;
    assert_eq!(status["reachable"], false, "{status}");
    // It keeps serving its last table.
    assert_eq!(far.weight("flight_delay", "canary"), 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_was_cut_off_stops_no_other_and_reconverges() {
    let cut = RouterRuntime::new("cut", 5);
    let bench = Bench::with_others(vec![Arc::clone(&cut) as Arc<dyn RuntimePort>]).await;
    bench.apply(TRAFFIC).await;
    cut.set_reachable(false);
    let changed = TRAFFIC.replace("weight: 100", "weight: 80").replace("weight: 0", "weight: 20");
    bench.apply(&changed).await;
    assert_eq!((bench.runtime.weight("flight_delay", "canary"), cut.weight("flight_delay", "canary")), (2_000, 0));
    bench.pass(100).await;
    assert_eq!(runtime_status(&bench, "cut").await["reachable"], false);
    assert_eq!(runtime_status(&bench, "local").await["reachable"], true);
    cut.set_reachable(true);
    bench.pass(100).await;
    bench.pass(100).await;
    assert_eq!(cut.weight("flight_delay", "canary"), 2_000);
    assert_eq!(runtime_status(&bench, "cut").await["in_step"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stores_table_wins_over_a_runtimes_own_and_that_is_recorded() {
    let bench = Bench::start().await;
    bench.apply(TRAFFIC).await;
    let tables = bench.runtime.router.tables();
    let mut own = tables.in_force().table().clone();
    let in_force = own.version;
    own.version = 40;
    own.models.get_mut("flight_delay").unwrap().arms[0].weight_basis_points = 0;
    own.models.get_mut("flight_delay").unwrap().arms[1].weight_basis_points = 10_000;
    tables.compare_and_set(in_force, own).unwrap();
    bench.pass(100).await;
    bench.pass(100).await;
    assert_eq!(bench.runtime.weight("flight_delay", "stable"), 10_000);
    assert_eq!(tables.version(), 41);
    assert!(bench.event_types().await.contains(&"io.hanok.traffic.conflict".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_goes_back_before_the_rollout_and_is_recorded() {
    let mut bench = Bench::start().await;
    assert_eq!(bench.call("POST", "/v1/traffic/kill-switch", &[], "").await.code(), "refused");
    bench.apply(TRAFFIC).await;
    bench.apply(&rollout("r", &[5.0, 60.0], 100)).await;
    bench.tick().await;
    bench.runtime.serve("flight_delay", 5_000, bench.now(), None, &|_| (0.0, 1));
    bench.pass(100).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 6_000);
    let killed = bench.call("POST", "/v1/traffic/kill-switch", &[("x-hanok-author", "night watch")], "").await;
    assert_eq!(killed.status, 200, "{killed:?}");
    assert_eq!(killed.json()["runtimes_in_force"], 1);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    assert_eq!(bench.phase("r").await, "aborted");
    let types = bench.event_types().await;
    assert!(types.contains(&"io.hanok.traffic.kill_switch".to_owned()), "{types:?}");
    // It holds through ticks and restarts, until somebody applies again.
    bench.restart().await;
    bench.pass(1_000).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    assert_eq!(bench.get("/v1/traffic").await["held"], true);
    bench.apply(&rollout("again", &[7.0], 100)).await;
    bench.tick().await;
    assert_eq!(bench.get("/v1/traffic").await["held"], false);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_arm_health_are_recorded_once() {
    let bench = Bench::start().await;
    bench
        .apply(
            &(TRAFFIC.replace("weight: 100", "weight: 60").replace("weight: 0", "weight: 40")
                + "  outlier_ejection: {consecutive_failures: 5}\n"),
        )
        .await;
    bench
        .runtime
        .serve("flight_delay", 500, bench.now(), None, &|arm| if arm == "canary" { (1.0, 1) } else { (0.0, 1) });
    bench.tick().await;
    bench.pass(100).await;
    let page = bench.get("/v1/journal").await;
    let health: Vec<&Value> =
        page["events"].as_array().unwrap().iter().filter(|event| event["type"] == "io.hanok.arm.health").collect();
    assert_eq!(health.len(), 1, "{page}");
    assert_eq!(health[0]["data"]["to"], "ejected");
    assert_eq!(health[0]["data"]["arm"], json!("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_acts_and_the_other_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = hanok_state::StateStore::open_sqlite(&path, hanok_state::StoreSettings::default()).unwrap();
    let runtime = RouterRuntime::new("shared", 1);
    let replica = async |holder: &str| {
        let lease = hanok_api::LeaseSettings { holder: holder.to_owned(), term: Duration::from_secs(3_600) };
        let settings = hanok_api::ControlSettings {
            tick: Duration::from_secs(86_400),
            patience: Duration::from_secs(5),
            checkpoint: Duration::ZERO,
            lease: Some(lease),
            ..hanok_api::ControlSettings::default()
        };
        let ports = vec![Arc::clone(&runtime) as Arc<dyn RuntimePort>];
        let plane = hanok_api::ControlPlane::start(settings, ports, store.clone()).await.unwrap();
        plane.tick().await;
        plane
    };
    let post = async |address: std::net::SocketAddr, body: String| {
        let sending = tokio::task::spawn_blocking(move || {
            crate::http_client::send(address, "POST", "/v1/apply", &[("content-type", "application/yaml")], &body)
        });
        sending.await.unwrap().unwrap()
    };
    let (first, second) = (replica("first").await, replica("second").await);
    let refused = post(second.address(), TRAFFIC.to_owned()).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "not-leader"));
    assert_eq!(refused.json()["leader"], "first");
    let rollout = format!("{TRAFFIC}---\n{}", rollout("r", &[5.0, 50.0], 100));
    assert_eq!(post(first.address(), rollout).await.status, 200);
    first.tick().await;
    assert_eq!(runtime.weight("flight_delay", "canary"), 500);
    // The second sees it, and does nothing about it.
    second.tick().await;
    assert!(second.render_metrics().contains("hanok_control_revision 1"), "{}", second.render_metrics());
    runtime.serve("flight_delay", 4_000, crate::bench::START, None, &|_| (0.0, 1));
    second.tick().await;
    assert_eq!(runtime.weight("flight_delay", "canary"), 500);
    first.stop().await;
    second.tick().await;
    second.tick().await;
    assert_eq!(runtime.weight("flight_delay", "canary"), 5_000);
    assert_eq!(post(second.address(), TRAFFIC.replace("tell: true", "")).await.status, 200);
    second.stop().await;
}
