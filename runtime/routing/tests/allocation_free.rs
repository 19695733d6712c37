//! A lookup outside a sequence allocates nothing, and neither does pushing an observation: counted by the allocator.

#![allow(unsafe_code, reason = "a global allocator that counts is an unsafe trait")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hanok_routing::observation::{Latency, Observation, OutcomeKind, observation_stream};
use hanok_routing::{FactValue, PlainFacts, RequestNumbers, RequestedVersion, Router, TrafficTable};

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TABLE: &str = r#"{
  "version": 1,
  "models": {
    "m": {
      "arms": [
        {"name": "stable", "version": 1, "weight_basis_points": 6000},
        {"name": "canary", "version": 2, "weight_basis_points": 3000},
        {"name": "third", "version": 3, "weight_basis_points": 1000}
      ],
      "sticky": {"STICKY": "key"},
      "rules": [
        {"when": {"header": "x-tenant"}, "matches": {"exact": "acme"}, "arm": "canary"},
        {"when": {"parameter": "tier"}, "matches": {"prefix": "gold"}, "arm": "third"},
        {"when": "identity", "matches": {"regex": "^svc-[a-z]+[0-9]{2,5}$"}, "arm": "stable"}
      ],
      "labels": {"blue": 1},
      "shadow": [
        {"target": {"version": {"version": 8}}, "share_basis_points": 10000, "compare": "c"},
        {"target": {"version": {"version": 9}}, "share_basis_points": 5000, "compare": "c"}
      ]
    }
  }
}"#;

/// Allocations that `work` makes on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn route_everything(router: &Router, rounds: usize) {
    let numbers = RequestNumbers::new(1);
    let headers = [[("x-tenant", &b"acme"[..])], [("key", b"user-8")], [("x-tenant", b"other")]];
    let parameters = [[("tier", FactValue::from("gold"))], [("key", FactValue::from(12_u64))]];
    let tensor_keys = [("key", FactValue::from(-12_i64))];
    for round in 0..rounds {
        let number = numbers.draw();
        let plain = PlainFacts { number, tensor_keys: &tensor_keys, ..PlainFacts::default() };
        let requests = [
            plain,
            PlainFacts { headers: &headers[round % 3], ..plain },
            PlainFacts { parameters: &parameters[round % 2], ..plain },
            PlainFacts { identity: Some("svc-batch123"), ..plain },
            PlainFacts { identity: Some("somebody"), ..plain },
        ];
        for facts in &requests {
            for version in [RequestedVersion::Any, RequestedVersion::Number(3), RequestedVersion::Label("blue")] {
                router.route("m", version, facts).unwrap();
            }
            router.route("else", RequestedVersion::Any, facts).unwrap();
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn lookups_allocate_nothing() {
    for sticky in ["header", "parameter", "tensor"] {
        let table: TrafficTable = serde_json::from_str(&TABLE.replace("STICKY", sticky)).unwrap();
        let router = Router::default();
        router.tables().compare_and_set(0, table).unwrap();
        // The table's first reader on a thread, and the first match of a regular expression, set themselves up.
        route_everything(&router, 100);
        assert_eq!(allocations(|| route_everything(&router, 10_000)), 0, "{sticky}");
        let snapshot = router.tables().in_force();
        snapshot.health("m").unwrap().admit(1, 0);
        snapshot.health("m").unwrap().admit(2, 500);
        assert_eq!(allocations(|| route_everything(&router, 10_000)), 0, "{sticky}, ejected");
    }
}

#[test]
fn pushing_an_observation_allocates_nothing() {
    let table: TrafficTable = serde_json::from_str(&TABLE.replace("STICKY", "header")).unwrap();
    let router = Router::default();
    router.tables().compare_and_set(0, table).unwrap();
    let (sender, reader) = observation_stream(4, 4_000);
    let model: std::sync::Arc<str> = "m".into();
    let observe = || {
        let decision = router.route("m", RequestedVersion::Any, &PlainFacts::default()).unwrap();
        sender.push(Observation {
            request_id: Box::default(),
            arm: decision.arm,
            model: model.clone(),
            version: 1,
            probability_basis_points: decision.probability_basis_points,
            reason: decision.reason,
            table_version: decision.table_version,
            sticky_key_hash: decision.sticky_key_hash,
            segment: None,
            outcome: OutcomeKind::Success,
            latency: Latency::default(),
            finished_microseconds: 1,
        });
    };
    observe();
    assert_eq!(allocations(|| (0..2_000).for_each(|_| observe())), 0);
    let counts = reader.counts();
    assert_eq!((counts.waiting, counts.dropped), (1_000, 1_001), "this thread's ring holds a quarter");
}
