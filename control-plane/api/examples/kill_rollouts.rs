//! Kills a control plane with SIGKILL at random points while it steers rollouts, and counts what was lost or doubled.
//!
//! `kill_rollouts parent KILLS SEED` serves requests through a real router, offers it on an admin port, starts itself as
//! `kill_rollouts child FOLDER ADDRESS`, a control plane over that one remote runtime, kills it KILLS times and starts it
//! again each time. Whenever a rollout is over, the next one goes the other way. At the end it reads the store and prints
//! one line of JSON: every decision must be there once, in order and without a gap, in the journal, among the decisions
//! and in the state, and every record that the runtime gave counted exactly once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a measuring program that fails by panicking, prints its figures and exports nothing"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanok_api::{
    AdminSettings, ControlPlane, ControlSettings, RemoteRuntime, RemoteSettings, RuntimeAdmin, RuntimePort,
};
use hanok_state::{PAGE_RECORDS, ReadFrom, Sequence, StateStore, StoreSettings};
use serde_json::{Value, json};

#[path = "../tests/control/http_client.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod http_client;
#[path = "../tests/control/router_runtime.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod router_runtime;

use router_runtime::RouterRuntime;

const STEPS: usize = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child", folder, address] => runtime.block_on(child(Path::new(folder), address)),
        ["parent", kills, seed] => runtime.block_on(parent(kills.parse().unwrap(), seed.parse().unwrap())),
        _ => panic!("expected `parent KILLS SEED`"),
    }
}

/// A control plane that runs until it is killed, or until its parent is gone. Prints its address when it serves.
async fn child(folder: &Path, address: &str) {
    let store = StateStore::open_sqlite(&folder.join("state.db"), StoreSettings::default()).unwrap();
    let remote = RemoteRuntime::new(RemoteSettings {
        name: "remote".to_owned(),
        address: address.to_owned(),
        token: None,
        attempt: Duration::from_secs(2),
        retries: 2,
        first_wait: Duration::from_millis(2),
        seed: u64::from(std::process::id()),
    });
    let settings = ControlSettings {
        tick: Duration::from_millis(5),
        checkpoint: Duration::from_millis(300),
        ..ControlSettings::default()
    };
    let plane = ControlPlane::start(settings, vec![Arc::new(remote.unwrap())], store).await.unwrap();
    println!("{}", plane.address());
    let parent_is_gone = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(parent_is_gone.await);
}

/// Xorshift: which moments are hit, from the seed alone.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn now_millis() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn start_child(folder: &Path, runtime: SocketAddr) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .arg(folder)
        .arg(format!("http://{runtime}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().expect("the child told no address"))
}

/// Declares rollout `number`: even ones from `a` to `b`, odd ones back. Weights stay below the whole.
fn declaration(number: u64) -> String {
    let (baseline, candidate) = if number.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
    let steps: Vec<Value> =
        (1..=STEPS).map(|step| json!({ "weight": step as f64 * 3.0, "minimum_samples": 250 })).collect();
    let resource = |kind: &str, name: &str, spec: Value| json!({ "apiVersion": "hanok.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    let arms = json!([{ "name": "a", "weight": 100 }, { "name": "b", "weight": 0 }]);
    let traffic = resource("Traffic", "m", json!({ "arms": arms }));
    let metrics = json!([{ "name": "errors", "kind": "error_rate" }]);
    let spec = json!({
        "traffic": "m", "baseline": baseline, "candidate": candidate, "steps": steps, "metrics": metrics,
        // Both arms are alike: that one is rolled back by chance is not what is measured here.
        "alpha_rollback": 1e-9,
    });
    let rollout = resource("Rollout", &format!("r{number:04}"), spec);
    if number == 0 { json!([traffic, rollout]) } else { json!([rollout]) }.to_string()
}

async fn parent(kills: u32, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let served = RouterRuntime::new("served", now_millis());
    let admin = AdminSettings::default();
    let offered = RuntimeAdmin::start(&admin, Arc::clone(&served) as Arc<dyn RuntimePort>).await.unwrap();
    let mut moments = Moments(seed.max(1));
    let (mut killed, mut number, mut declared, mut finished) = (0, 0, false, Vec::new());
    let started = Instant::now();
    let (mut child, mut address) = start_child(folder.path(), offered.address());
    let mut dies_at = Instant::now() + Duration::from_millis(moments.next(200));
    while killed < kills || declared {
        assert!(started.elapsed() < Duration::from_secs(1_200), "took too long");
        if killed < kills && Instant::now() >= dies_at {
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
            (child, address) = start_child(folder.path(), offered.address());
            dies_at = Instant::now() + Duration::from_millis(moments.next(200));
        }
        let wanted = number;
        let asked = tokio::task::spawn_blocking(move || ask(address, wanted, declared)).await.unwrap();
        match asked {
            Some(Asked::Declared) => declared = true,
            Some(Asked::Running) => {
                served.serve("m", 150, now_millis(), None, &|_| (0.01, 1_000));
            }
            Some(Asked::Over) => {
                finished.push(number);
                number += 1;
                declared = false;
            }
            // Just starting: the next look will tell.
            None => tokio::task::yield_now().await,
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let store = StateStore::open_sqlite(&folder.path().join("state.db"), StoreSettings::default()).unwrap();
    let figures = check(&store, &finished, killed).await;
    println!("{figures}");
    offered.stop().await;
    std::process::exit(i32::from(figures["lost"] != 0 || figures["doubled"] != 0));
}

enum Asked {
    Declared,
    Running,
    Over,
}

/// Declares the rollout if that is to be done, or looks at it. A key makes the declaration happen once, whatever is lost.
fn ask(address: SocketAddr, number: u64, declared: bool) -> Option<Asked> {
    if !declared {
        let key = format!("declare-{number}");
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let answer = http_client::send(address, "POST", "/v1/apply", &headers, &declaration(number)).ok()?;
        assert_eq!(answer.status, 200, "{answer:?}");
        return Some(Asked::Declared);
    }
    let answer = http_client::send(address, "GET", &format!("/v1/rollouts/r{number:04}"), &[], "").ok()?;
    if answer.status != 200 {
        return None;
    }
    match serde_json::from_str::<Value>(&answer.body).ok()?["phase"].as_str() {
        Some("pending") => None,
        Some("promoted") => Some(Asked::Over),
        Some(other) => panic!("rollout {number} ended as {other}"),
        None => Some(Asked::Running),
    }
}

/// What is in the store against what must be there.
async fn check(store: &StateStore, finished: &[u64], kills: u32) -> Value {
    store.verify().await.unwrap();
    let mut recorded: Vec<(String, String)> = Vec::new();
    let mut after = Sequence(0);
    loop {
        let page = store.journal(ReadFrom::After(after), PAGE_RECORDS).await.unwrap();
        let decisions = page.records.iter().filter(|record| record.event.event_type.starts_with("io.hanok.rollout."));
        recorded.extend(decisions.map(|record| (record.event.id.clone(), record.event.event_type.clone())));
        if page.next >= page.last {
            break;
        }
        after = page.next;
    }
    let (mut lost, mut doubled, mut decided, mut records) = (0, 0, 0, 0);
    for number in finished {
        let machine = store.machine("rollout", &format!("r{number:04}")).await.unwrap().unwrap();
        let run = machine.state["run"].as_str().unwrap().to_owned();
        let of_run: Vec<&(String, String)> =
            recorded.iter().filter(|(id, _)| id.starts_with(&format!("{run}/"))).collect();
        let stored = store.machines("rollout-decision", &format!("{run}/"), PAGE_RECORDS).await.unwrap();
        let stored: Vec<_> =
            stored.into_iter().filter(|machine| machine.name.starts_with(&format!("{run}/"))).collect();
        // Start, an advance to each further step, promotion.
        for (place, action) in
            std::iter::once("start").chain(vec!["advance"; STEPS - 1]).chain(std::iter::once("promote")).enumerate()
        {
            let wanted = (format!("{run}/{place:06}"), format!("io.hanok.rollout.{action}"));
            let times = of_run.iter().filter(|found| ***found == wanted).count();
            let kept = stored.iter().filter(|machine| machine.name == wanted.0).count();
            lost += usize::from(times == 0) + usize::from(kept == 0);
            doubled += times.saturating_sub(1) + kept.saturating_sub(1);
        }
        doubled += of_run.len().saturating_sub(STEPS + 1) + stored.len().saturating_sub(STEPS + 1);
        decided += of_run.len();
        // Every record between its start and its end, exactly once.
        let at = |place: &str| machine.state[place]["remote"]["position"].as_u64().unwrap();
        let (first, position) = (at("started_behind"), at("positions"));
        let state = &machine.state["body"]["rollout"]["state"];
        let counted = ["baseline", "candidate"].map(|arm| state[arm]["requests"].as_u64().unwrap()).iter().sum::<u64>();
        lost += usize::try_from((position - first).saturating_sub(counted)).unwrap();
        doubled += usize::try_from(counted.saturating_sub(position - first)).unwrap();
        records += counted;
    }
    let newest = store.resources("traffic", None).await.unwrap();
    let last = finished.last().unwrap();
    let weights: Vec<u64> = newest.resources[0].document["table"]["models"]["m"]["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| arm["weight_basis_points"].as_u64().unwrap())
        .collect();
    let expected = if last.is_multiple_of(2) { [0, 10_000] } else { [10_000, 0] };
    assert_eq!(weights, expected);
    json!({ "kills": kills, "rollouts": finished.len(), "decisions": decided, "records": records, "lost": lost, "doubled": doubled })
}
