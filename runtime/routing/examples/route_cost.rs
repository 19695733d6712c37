//! Prints what one lookup and one observation cost, in nanoseconds on one thread: `cargo run --release --example route_cost`.
//!
//! Each figure is the median of 15 rounds of 200,000 calls.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement prints and fails loudly"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use hanok_routing::observation::{Latency, Observation, OutcomeKind, observation_stream};
use hanok_routing::{
    PlainFacts, Reason, RequestNumbers, RequestedVersion, Router, SequenceFact, SequenceIdFact, Snapshot, TrafficTable,
};

const CALLS: u32 = 200_000;
const ROUNDS: usize = 15;

const TABLE: &str = r#"{
  "version": 1,
  "models": {
    "split": {
      "arms": [{"name": "stable", "version": 1, "weight_basis_points": 9000},
               {"name": "canary", "version": 2, "weight_basis_points": 1000}]
    },
    "shadowed": {
      "arms": [{"name": "stable", "version": 1, "weight_basis_points": 10000}],
      "shadow": [{"target": {"version": {"version": 2}}, "share_basis_points": 10000, "compare": "close"}]
    },
    "sticky": {
      "arms": [{"name": "stable", "version": 1, "weight_basis_points": 9000},
               {"name": "canary", "version": 2, "weight_basis_points": 1000}],
      "sticky": {"header": "x-user"}
    },
    "rules": {
      "arms": [{"name": "stable", "version": 1, "weight_basis_points": 9000},
               {"name": "canary", "version": 2, "weight_basis_points": 1000}],
      "rules": [
        {"when": {"header": "x-user"}, "matches": {"exact": "nobody"}, "arm": "canary"},
        {"when": {"header": "x-user"}, "matches": {"prefix": "test-"}, "arm": "canary"},
        {"when": {"header": "x-user"}, "matches": {"regex": "^bot-[0-9]+$"}, "arm": "canary"}
      ]
    }
  }
}"#;

fn median_ns(mut call: impl FnMut(u64)) -> f64 {
    let mut figures: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            for index in 0..CALLS {
                call(u64::from(index) + round as u64 * u64::from(CALLS));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    figures[ROUNDS / 2]
}

fn report(what: &str, nanoseconds: f64) {
    println!("{what:<48} {nanoseconds:>8.1} ns");
}

fn routed(router: &Router, model: &str, version: RequestedVersion<'_>, facts: &PlainFacts<'_>) {
    black_box(router.route(black_box(model), version, black_box(facts)).unwrap());
}

fn main() {
    let table: TrafficTable = serde_json::from_str(TABLE).unwrap();
    let router = Router::default();
    let numbers = RequestNumbers::new(42);
    let any = RequestedVersion::Any;
    let headers = [("x-request-id", &b"0189-abcd"[..]), ("x-user", b"user-1234567")];
    let plain = PlainFacts { headers: &headers, ..PlainFacts::default() };
    report("empty table", median_ns(|_| routed(&router, "other", any, &plain)));
    router.tables().compare_and_set(0, table.clone()).unwrap();
    report("no entry for the model", median_ns(|_| routed(&router, "other", any, &plain)));
    report("explicit version", median_ns(|_| routed(&router, "split", RequestedVersion::Number(1), &plain)));
    report(
        "a request number",
        median_ns(|_| {
            black_box(numbers.draw());
        }),
    );
    let numbered = |number| PlainFacts { number, ..plain };
    report("weights, number included", median_ns(|_| routed(&router, "split", any, &numbered(numbers.draw()))));
    report("weights and one shadow", median_ns(|_| routed(&router, "shadowed", any, &numbered(numbers.draw()))));
    report("sticky header", median_ns(|_| routed(&router, "sticky", any, &plain)));
    report(
        "three rules (exact, prefix, regex), none matches",
        median_ns(|index| {
            routed(&router, "rules", any, &numbered(index));
        }),
    );
    let health = router.tables().in_force();
    health.health("split").unwrap().admit(1, 0);
    report(
        "weights with an ejected arm",
        median_ns(|index| {
            routed(&router, "split", any, &numbered(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }),
    );
    health.health("split").unwrap().admit(1, 10_000);
    report(
        "sequence, pinned, one of 10,000 live",
        median_ns(|index| {
            let id = SequenceIdFact::Number(index % 10_000 + 1);
            let sequence = Some(SequenceFact { id, start: false, end: false });
            routed(&router, "split", any, &PlainFacts { sequence, now_microseconds: index, ..plain });
        }),
    );
    report(
        "sequence of one request (start and end)",
        median_ns(|index| {
            let sequence = Some(SequenceFact { id: SequenceIdFact::Number(index + 1), start: true, end: true });
            routed(&router, "split", any, &PlainFacts { sequence, now_microseconds: index, ..plain });
        }),
    );
    observe(&router);
    compile(&table);
}

fn observe(router: &Router) {
    let decision = router.route("split", RequestedVersion::Any, &PlainFacts::default()).unwrap();
    let model: Arc<str> = "split".into();
    let record = |request_id: Box<str>, index: u64| Observation {
        request_id,
        arm: decision.arm.clone(),
        model: Arc::clone(&model),
        version: 1,
        probability_basis_points: decision.probability_basis_points,
        reason: Reason::Weight,
        table_version: decision.table_version,
        sticky_key_hash: 0,
        segment: None,
        outcome: OutcomeKind::Success,
        latency: Latency::default(),
        finished_microseconds: index,
    };
    println!("one observation is {} bytes", size_of::<Observation>());
    let rounds = ROUNDS * CALLS as usize;
    let (sender, mut reader) = observation_stream(1, rounds);
    report("observation made and pushed, no id", median_ns(|index| sender.push(record(Box::default(), index))));
    let mut batch = Vec::new();
    let start = Instant::now();
    while reader.drain(&mut batch, 8_192) > 0 {
        batch.clear();
    }
    report("observation drained, batches of 8,192", start.elapsed().as_secs_f64() * 1e9 / rounds as f64);
    report(
        "observation with an id of 36 bytes",
        median_ns(|index| {
            sender.push(record("0189d6f0-7b1e-7cc3-98c4-dc0c0c07398f".into(), index));
        }),
    );
    report("observation dropped by a full ring", median_ns(|index| sender.push(record(Box::default(), index))));
    assert_eq!(reader.counts().dropped, u64::from(CALLS) * ROUNDS as u64);
}

fn compile(table: &TrafficTable) {
    let entry = &table.models["split"];
    let models = (0..1_000).map(|index| (format!("model-{index}"), entry.clone())).collect();
    let large = TrafficTable { version: 1, models };
    let start = Instant::now();
    black_box(Snapshot::compile(large, None).expect("a valid table"));
    println!("{:<48} {:>8.2} ms", "compiling a table of 1,000 models", start.elapsed().as_secs_f64() * 1e3);
}
