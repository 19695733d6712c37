//! Measures the time from the record that decides to weight 0 in the runtime's table, in one process.
//!
//! `time_to_rollback [ROLLOUTS [TICK]]` prints one line of JSON, the tick in milliseconds; exit status 1 when the largest
//! is above 100 ms.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a measuring program that fails by panicking, prints its figures and exports nothing"
)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanok_api::{ControlPlane, ControlSettings, RuntimePort};
use hanok_state::{StateStore, StoreSettings};
use serde_json::json;

#[path = "../tests/control/http_client.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod http_client;
#[path = "../tests/control/router_runtime.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod router_runtime;

use router_runtime::RouterRuntime;

/// What is promised.
const TARGET: Duration = Duration::from_millis(100);

fn now_millis() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::main]
async fn main() {
    let rollouts: u32 = std::env::args().nth(1).map_or(20, |count| count.parse().unwrap());
    let mut settings = ControlSettings::default();
    if let Some(tick) = std::env::args().nth(2) {
        settings.tick = Duration::from_millis(tick.parse().unwrap());
    }
    let tick = settings.tick;
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open_sqlite(&folder.path().join("state.db"), StoreSettings::default()).unwrap();
    let runtime = RouterRuntime::new("local", 1);
    let ports = vec![Arc::clone(&runtime) as Arc<dyn RuntimePort>];
    let plane = ControlPlane::start(settings, ports, store).await.unwrap();
    let mut times = Vec::new();
    for number in 0..rollouts {
        let arms = json!([{ "name": "a", "weight": 100 }, { "name": "b", "weight": 0 }]);
        let resource = |kind: &str, name: String, spec: serde_json::Value| json!({ "apiVersion": "hanok.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        let spec = json!({
            "traffic": "m", "baseline": "a", "candidate": "b",
            "steps": [{ "weight": 20, "minimum_samples": 1_000_000 }],
            "metrics": [{ "name": "errors", "kind": "error_rate" }],
        });
        let body = json!([
            resource("Traffic", "m".to_owned(), json!({ "arms": arms })),
            resource("Rollout", format!("r{number}"), spec),
        ])
        .to_string();
        let address = plane.address();
        let applied = tokio::task::spawn_blocking(move || {
            http_client::send(address, "POST", "/v1/apply", &[("content-type", "application/json")], &body)
        });
        assert_eq!(applied.await.unwrap().unwrap().status, 200);
        while runtime.weight("m", "b") != 2_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        runtime.serve("m", 2_000, now_millis(), None, &|_| (0.0, 1));
        // At different places between two ticks.
        tokio::time::sleep(Duration::from_millis(u64::from(number) * 37 % 100)).await;
        runtime.serve("m", 1_000, now_millis(), None, &|arm| if arm == "b" { (0.9, 1) } else { (0.0, 1) });
        let decided = Instant::now();
        while runtime.weight("m", "b") != 0 {
            assert!(decided.elapsed() < Duration::from_secs(10), "no rollback");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        times.push(decided.elapsed());
    }
    plane.stop().await;
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (median, most) = (millis(times[times.len() / 2]), millis(times[times.len() - 1]));
    println!(
        "{}",
        json!({ "tick_milliseconds": tick.as_secs_f64() * 1_000.0, "rollouts": rollouts, "median_milliseconds": median, "most_milliseconds": most })
    );
    std::process::exit(i32::from(times[times.len() - 1] > TARGET));
}
