//! PostgreSQL meets every clause, with several replicas at once, and keeps what it acknowledged when it crashes.

use std::sync::atomic::{AtomicBool, Ordering};

use hanok_state::{
    CommitOutcome, EngineFailure, ErrorCode, LeaseAnswer, MachineVersion, OutcomeReceipt, ReadFrom, Sequence,
    StateError, StateStore, StoreSettings, Transaction,
};
use serde_json::json;

use crate::cluster::Cluster;
use crate::conformance::Place;
use crate::conformance::values::{at, committed, event, machine, outcome, served, transaction};

struct Schema {
    connection: String,
    name: String,
}

impl Place for Schema {
    fn open(&self, settings: StoreSettings) -> StateStore {
        StateStore::connect_postgres(&self.connection, &self.name, settings).unwrap()
    }
}

fn schema(cluster: &Cluster, name: &str) -> Schema {
    Schema { connection: cluster.connection(), name: name.to_owned() }
}

/// One server for all of it: making one takes longer than the tests.
#[test]
fn meets_every_clause_and_those_of_a_shared_server() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    crate::conformance::run(|name| Box::new(schema(&cluster, name)));
    replicas_share_one_truth(&schema(&cluster, "replicas"));
    only_the_lease_holder_acts(&schema(&cluster, "lease"));
    replicas_may_start_at_once(&cluster);
    what_cannot_be_used_is_refused(&cluster);
    acknowledged_survives_crashes(&mut cluster);
}

/// Two replicas hammer one counter, one cursor's worth of journal, and one window of outcomes.
fn replicas_share_one_truth(place: &Schema) {
    const ADDITIONS: u64 = 50;
    let first = place.open(StoreSettings::default());
    committed(first.commit(Transaction { machines: vec![machine("sum", 0, Some(json!(0)))], ..transaction() }));
    std::thread::scope(|scope| {
        for replica in 0..3 {
            scope.spawn(move || {
                let store = place.open(StoreSettings::default());
                for addition in 0..ADDITIONS {
                    while !add_one(&store, &format!("{replica}-{addition}")) {}
                }
                // Everybody reports the same outcomes.
                let outcomes = (0..100).map(|id| outcome(&format!("r{id}"), 1.0, at(0))).collect();
                store.record_outcomes(outcomes, at(0)).wait().unwrap();
            });
        }
        scope.spawn(move || {
            let store = place.open(StoreSettings::default());
            store.record_served((0..100).map(|id| served(&format!("r{id}"), at(0))).collect(), at(0)).unwrap();
        });
    });
    let sum = first.machine("rollout", "sum").wait().unwrap().unwrap();
    assert_eq!((sum.state, sum.version), (json!(3 * ADDITIONS), MachineVersion(3 * ADDITIONS + 1)));
    let page = first.journal(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap();
    assert_eq!(page.records.len() as u64, 3 * ADDITIONS);
    let pairs = first.pairs(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap();
    let mut ids: Vec<_> = pairs.records.iter().map(|pair| pair.served.request_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), pairs.records.len()), (100, 100));
    first.verify().wait().unwrap();
}

fn add_one(store: &StateStore, id: &str) -> bool {
    let present = store.machine("rollout", "sum").wait().unwrap().unwrap();
    let sum = present.state.as_u64().unwrap() + 1;
    let next = Transaction {
        machines: vec![machine("sum", present.version.0, Some(json!(sum)))],
        events: vec![event(id)],
        ..transaction()
    };
    match store.commit(next).wait() {
        Ok(CommitOutcome::Committed(_)) => true,
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::Conflict, "{error:?}");
            false
        }
    }
}

/// Replicas steal the lease from each other as fast as they can; every act is by the newest token, in order.
fn only_the_lease_holder_acts(place: &Schema) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for replica in ["a", "b"] {
            let done = &done;
            scope.spawn(move || {
                let store = place.open(StoreSettings::default());
                while !done.load(Ordering::Relaxed) {
                    let LeaseAnswer::Granted(grant) =
                        store.acquire_lease("controller", replica, 1, at(0)).wait().unwrap()
                    else {
                        continue;
                    };
                    for act in 0..20 {
                        let mut record = event(&format!("{}-{act}", grant.token));
                        record.data = Some(json!(grant.token.0));
                        let acting = Transaction { lease: Some(grant.clone()), events: vec![record], ..transaction() };
                        match store.commit(acting).wait() {
                            Ok(_) => {}
                            Err(StateError::Fenced { current, .. }) => {
                                assert!(current > grant.token.0);
                                break;
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    if grant.token.0 > 30 {
                        done.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let store = place.open(StoreSettings::default());
    let page = store.journal(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap();
    let tokens: Vec<u64> =
        page.records.iter().map(|record| record.event.data.as_ref().unwrap().as_u64().unwrap()).collect();
    assert!(tokens.windows(2).all(|pair| pair[0] <= pair[1]), "an old token acted after a new one: {tokens:?}");
    assert!(tokens.last().is_some_and(|last| *last > 20), "{tokens:?}");
}

fn replicas_may_start_at_once(cluster: &Cluster) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| schema(cluster, "together").open(StoreSettings::default()));
        }
    });
}

fn what_cannot_be_used_is_refused(cluster: &Cluster) {
    let connect = |connection: &str, schema: &str| {
        StateStore::connect_postgres(connection, schema, StoreSettings::default()).unwrap_err()
    };
    let connection = cluster.connection();
    for schema in ["", "Robert'); DROP", "a.b", &"x".repeat(64)] {
        assert_eq!(connect(&connection, schema).code(), ErrorCode::InvalidArgument);
    }
    assert_eq!(connect("not a connection", "a").code(), ErrorCode::InvalidArgument);
    assert_eq!(connect("host=/nonexistent user=hanok", "a").code(), ErrorCode::Unavailable);
    assert!(matches!(connect(&format!("{connection} sslmode=require"), "a"), StateError::Engine(..)));
    let mut client = postgres::Client::connect(&connection, postgres::NoTls).unwrap();
    schema(cluster, "newer").open(StoreSettings::default());
    client.batch_execute("INSERT INTO newer.layouts VALUES (99)").unwrap();
    let refused = connect(&connection, "newer");
    assert!(
        matches!(refused, StateError::Engine(EngineFailure::NewerLayout { known: 1, found: 99 }, _)),
        "{refused:?}"
    );
}

/// The server crashes while a replica commits. What was acknowledged is there; what was not is settled by asking again.
fn acknowledged_survives_crashes(cluster: &mut Cluster) {
    let place = schema(cluster, "crash");
    let store = place.open(StoreSettings::default());
    let mut step = 0;
    for crash in 0..5 {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| {
                let mut unanswered = None;
                while unanswered.is_none() && !stop.load(Ordering::Relaxed) {
                    match store.commit(crash_step(step)).wait() {
                        Ok(_) => step += 1,
                        Err(error) => unanswered = Some(error.code()),
                    }
                }
                unanswered
            });
            while store
                .machine("rollout", "crash")
                .wait()
                .is_ok_and(|found| found.is_none_or(|machine| machine.version.0 < (crash + 1) * 20))
            {}
            cluster.crash();
            let unanswered = acting.join().unwrap();
            assert!(matches!(unanswered, Some(ErrorCode::OutcomeUnknown | ErrorCode::Unavailable)), "{unanswered:?}");
        });
        cluster.boot();
        // The same handle connects again; the step in doubt happens once, whether it had happened or not.
        store.commit(crash_step(step)).wait().unwrap();
        step += 1;
        let version = store.machine("rollout", "crash").wait().unwrap().unwrap().version;
        assert_eq!(version, MachineVersion(step));
    }
    let page = store.journal(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap();
    let ids: Vec<_> = page.records.iter().map(|record| record.event.id.clone()).collect();
    assert_eq!(ids, (0..step).map(|step| format!("step-{step}")).collect::<Vec<_>>());
    let receipt = store.record_outcomes(vec![outcome("a", 1.0, at(0))], at(0)).wait().unwrap();
    assert_eq!(receipt, [OutcomeReceipt::Held]);
    store.verify().wait().unwrap();
}

fn crash_step(step: u64) -> Transaction {
    Transaction {
        machines: vec![machine("crash", step, Some(json!(step)))],
        events: vec![event(&format!("step-{step}"))],
        ..transaction()
    }
}
