//! What the store costs: `cargo run --release -p hanok-state --example store_cost -- FOLDER [CONNECTION]`.
//!
//! Measures the embedded store in FOLDER, and with the feature `postgres` also the server behind CONNECTION. The floor
//! is what one `fdatasync` of a block costs in the same folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement fails by panicking")]
#![allow(clippy::print_stdout, reason = "this prints a table")]

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hanok_state::{
    Change, CloudEvent, Edit, MachineVersion, MachineWrite, Outcome, OutcomeReceipt, ReadFrom, ResourceWrite, Revision,
    Sequence, ServedRequest, StateStore, StoreSettings, Timestamp, Transaction,
};

const COMMITS: u64 = 1_000;
const SERVED: usize = 400_000;
const OUTCOMES: usize = 100_000;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().expect("a folder to measure in"));
    std::fs::create_dir_all(&folder).unwrap();
    floor(&folder);
    let path = folder.join("measure.db");
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(folder.join(format!("measure.db{suffix}"))).ok();
    }
    measure("sqlite", &StateStore::open_sqlite(&path, StoreSettings::default()).unwrap());
    if let Some(connection) = arguments.next() {
        shared_server(connection.to_str().unwrap());
    }
}

#[cfg(feature = "postgres")]
fn shared_server(connection: &str) {
    let schema = format!("measure_{}", std::process::id());
    measure("postgres", &StateStore::connect_postgres(connection, &schema, StoreSettings::default()).unwrap());
}

#[cfg(not(feature = "postgres"))]
fn shared_server(_connection: &str) {
    println!("postgres: built without the feature");
}

fn floor(folder: &Path) {
    let mut file = File::create(folder.join("floor")).unwrap();
    file.write_all(&vec![0; 4 << 20]).unwrap();
    file.sync_all().unwrap();
    let times = (0..COMMITS).map(|block| {
        let started = Instant::now();
        file.seek(SeekFrom::Start(block % 1_000 * 4_096)).unwrap();
        file.write_all(&[1; 4_096]).unwrap();
        file.sync_data().unwrap();
        started.elapsed()
    });
    let times = times.collect();
    print_quantiles("floor", "write and fdatasync of 4 KiB", times);
}

fn measure(name: &str, store: &StateStore) {
    let times = (0..COMMITS).map(|step| {
        let started = Instant::now();
        store.commit(transaction(step)).wait().unwrap();
        started.elapsed()
    });
    let times = times.collect();
    print_quantiles(name, "commit: record, machine and traffic, one caller", times);

    let started = Instant::now();
    let appends: Vec<_> =
        (0..1_000).map(|number| store.append(vec![event(&format!("a{number}"))], None, now())).collect();
    for append in appends {
        append.wait().unwrap();
    }
    print_rate(name, "appends, a thousand at once (grouped)", 1_000, started.elapsed());

    let started = Instant::now();
    let mut handing_over = Duration::ZERO;
    for batch in 0..SERVED / 500 {
        let rows: Vec<_> = (0..500).map(|row| served(batch * 500 + row)).collect();
        let handed = Instant::now();
        let receipt = store.record_served(rows, now()).unwrap();
        handing_over += handed.elapsed();
        if receipt.no_room > 0 || batch % 40 == 39 {
            store.flush_served().wait().unwrap();
        }
    }
    store.flush_served().wait().unwrap();
    let written = store.outcome_counts().wait().unwrap().served;
    print_rate(name, "served requests, written", written, started.elapsed());
    print_rate(name, "served requests, caller's part", SERVED as u64, handing_over);

    // In an order that is not that of arrival.
    let started = Instant::now();
    let mut joined = 0;
    for batch in 0..OUTCOMES / 1_000 {
        let outcomes = (0..1_000).map(|row| outcome((batch * 1_000 + row) * 7_919 % SERVED)).collect();
        let receipts = store.record_outcomes(outcomes, now()).wait().unwrap();
        joined += receipts.iter().filter(|receipt| matches!(receipt, OutcomeReceipt::Joined(_))).count();
    }
    print_rate(name, "outcomes, a thousand a call, one caller", OUTCOMES as u64, started.elapsed());
    println!("{name:<10} {joined} of {OUTCOMES} outcomes joined");

    let times = (0..500).map(|number| {
        let started = Instant::now();
        store.record_outcomes(vec![outcome(OUTCOMES * 7_919 % SERVED + number)], now()).wait().unwrap();
        started.elapsed()
    });
    let times = times.collect();
    print_quantiles(name, "outcome, one a call, one caller", times);

    let started = Instant::now();
    let mut after = Sequence::NONE;
    loop {
        let page = store.pairs(ReadFrom::After(after), 1_000).wait().unwrap();
        if page.records.is_empty() {
            break;
        }
        after = page.next;
    }
    print_rate(name, "pairs read", after.0, started.elapsed());
    let started = Instant::now();
    store.verify().wait().unwrap();
    println!("{name:<10} {:<52} {:>10.1} ms", "verify", started.elapsed().as_secs_f64() * 1e3);
}

fn print_quantiles(name: &str, what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let quantile = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    println!("{name:<10} {what:<52} p50 {:>7.3} ms  p99 {:>7.3} ms", quantile(50), quantile(99));
}

#[allow(clippy::cast_precision_loss, reason = "a rate of a few digits")]
fn print_rate(name: &str, what: &str, count: u64, took: Duration) {
    println!("{name:<10} {what:<52} {:>10.0} a second", count as f64 / took.as_secs_f64());
}

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_704_067_200_000).unwrap()
}

fn event(id: &str) -> CloudEvent {
    CloudEvent {
        id: id.to_owned(),
        source: "/hanok/rollouts/flight_delay".to_owned(),
        event_type: "io.hanok.rollout.step.advanced".to_owned(),
        subject: Some("canary".to_owned()),
        time: now(),
        data: Some(serde_json::json!({"evidence": [0.012, 0.019, 3.4], "weight": 0.25, "samples": 120_000})),
    }
}

fn transaction(step: u64) -> Transaction {
    let document =
        serde_json::json!({"arms": [{"name": "stable", "weight": 9_000}, {"name": "canary", "weight": step}]});
    let change = Change::Put { kind: "traffic".to_owned(), name: "flight_delay".to_owned(), document };
    Transaction {
        now: now(),
        resources: vec![ResourceWrite {
            collection: "traffic".to_owned(),
            expected: Revision(step),
            author: "rollout".to_owned(),
            edit: Edit::Change(vec![change]),
        }],
        machines: vec![MachineWrite {
            kind: "rollout".to_owned(),
            name: "flight_delay".to_owned(),
            expected: MachineVersion(step),
            state: Some(serde_json::json!({"step": step, "wealth": [1.0, 2.0, 3.0]})),
        }],
        events: vec![event(&format!("step-{step}"))],
        ..Transaction::default()
    }
}

/// Ids as clients make them: 128 random bits in text.
fn request_id(number: usize) -> String {
    let mixed = (number as u128 + 1).wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645);
    format!("{:032x}", mixed ^ (mixed >> 61))
}

fn served(number: usize) -> ServedRequest {
    ServedRequest {
        request_id: request_id(number),
        model: "flight_delay".to_owned(),
        arm: "canary".to_owned(),
        version: 2,
        served_at: now(),
        probability: 0.25,
        segment: None,
    }
}

fn outcome(number: usize) -> Outcome {
    Outcome { request_id: request_id(number), metric: "delayed".to_owned(), value: 1.0, observed_at: now() }
}
