//! `kill -9` at random points, a full disk, a torn log: what was acknowledged is there, once, and nothing is half done.
//!
//! The process that is killed is this test program itself, started again for the one test that is marked as ignored.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hanok_state::{
    EngineFailure, ErrorCode, OutcomeReceipt, ReadFrom, Sequence, StateError, StateStore, StoreSettings, Transaction,
};
use serde_json::json;

use crate::conformance::values::{at, event, machine, numbers_below, outcome, put, served, transaction, write};

const KILLS: usize = 120;

/// Names the file to the process that is started to be killed.
const FILE: &str = "HANOK_STATE_KILL_TEST_FILE";

fn open(path: &Path) -> Result<StateStore, StateError> {
    // A short interval, so that flushes are among what is interrupted.
    let served_flush_interval = Duration::from_millis(1);
    StateStore::open_sqlite(path, StoreSettings { served_flush_interval, ..StoreSettings::default() })
}

/// A decision as the controller makes it: record, machine and traffic in one.
fn step(step: u64) -> Transaction {
    Transaction {
        resources: vec![write("traffic", step, vec![put("flight_delay", json!({ "step": step }))])],
        machines: vec![machine("flight_delay", step, Some(json!({ "step": step })))],
        events: vec![event(&format!("step-{step}"))],
        ..transaction()
    }
}

/// Commits and says so, line by line, until it is killed.
#[test]
#[ignore = "this is the process that the other test kills"]
fn commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let store = open(Path::new(&path)).unwrap();
    let mut next = store.machine("rollout", "flight_delay").wait().unwrap().map_or(0, |machine| machine.version.0);
    let mut output = std::io::stdout().lock();
    // The test program has begun a line of its own.
    writeln!(output).unwrap();
    loop {
        store.record_served(vec![served(&format!("r{next}"), at(0))], at(0)).unwrap();
        store.commit(step(next)).wait().unwrap();
        writeln!(output, "step {next}").unwrap();
        output.flush().unwrap();
        let receipt = store.record_outcomes(vec![outcome(&format!("r{next}"), 1.0, at(0))], at(0)).wait().unwrap();
        assert!(!matches!(receipt[0], OutcomeReceipt::Invalid(_)));
        writeln!(output, "outcome {next}").unwrap();
        output.flush().unwrap();
        next += 1;
    }
}

fn start_child(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::commits_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads what the child has acknowledged, kills it after `lines` and a little, and reads the rest.
fn acknowledged(mut child: Child, lines: u64, little: Duration) -> Vec<String> {
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    let is_ours = |line: &String| line.starts_with("step ") || line.starts_with("outcome ");
    while (said.len() as u64) < lines {
        let line = output.next().expect("the child ended by itself").unwrap();
        said.extend(Some(line).filter(is_ours));
    }
    // The instant of the kill is what is random here; nothing waits for anything to happen meanwhile.
    let until = Instant::now() + little;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    said.extend(output.map_while(Result::ok).filter(is_ours));
    child.wait().unwrap();
    said
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut random = numbers_below(0x9111_DEAD);
    let mut steps = 0;
    let mut outcomes = HashSet::new();
    for kill in 0..KILLS {
        let little = Duration::from_micros(random(4_000));
        let said = acknowledged(start_child(&path), random(12), little);
        for line in said {
            let (what, number) = line.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            if what == "step" {
                assert_eq!(number, steps.max(number), "kill {kill}: a step was taken twice");
                steps = number + 1;
            } else {
                outcomes.insert(number);
            }
        }
        let found = check(&open(&path).unwrap(), steps);
        assert!(found <= steps + 1, "kill {kill}: {found} steps, {steps} acknowledged");
        steps = found;
    }
    assert!(steps > KILLS as u64, "only {steps} steps in {KILLS} kills");
    let store = open(&path).unwrap();
    check_outcomes(&store, &outcomes);
    store.verify().wait().unwrap();
    eprintln!("{KILLS} kills, {steps} steps, {} outcomes acknowledged", outcomes.len());
}

/// All parts of the store tell of the same number of steps, at least those acknowledged. Returns it.
fn check(store: &StateStore, acknowledged: u64) -> u64 {
    let steps = store.machine("rollout", "flight_delay").wait().unwrap().map_or(0, |machine| machine.version.0);
    assert!(steps >= acknowledged, "{acknowledged} steps were acknowledged, {steps} are there");
    let traffic = store.resources("traffic", None).wait().unwrap();
    assert_eq!(traffic.revision.0, steps);
    if let Some(last) = steps.checked_sub(1) {
        assert_eq!(traffic.resources[0].document, json!({ "step": last }));
    }
    let mut after = Sequence::NONE;
    loop {
        // A gap or a wrong order is an error of the page itself.
        let page = store.journal(ReadFrom::After(after), 1_000).wait().unwrap();
        for record in &page.records {
            assert_eq!(record.event.id, format!("step-{}", record.sequence.0 - 1));
        }
        after = page.next;
        if page.records.is_empty() {
            break;
        }
    }
    assert_eq!(after.0, steps);
    steps
}

/// Each acknowledged outcome is known, and each known one is in at most one pair.
fn check_outcomes(store: &StateStore, acknowledged: &HashSet<u64>) {
    for number in acknowledged {
        let again = vec![outcome(&format!("r{number}"), 1.0, at(0))];
        let receipt = store.record_outcomes(again, at(0)).wait().unwrap();
        assert_eq!(receipt, [OutcomeReceipt::Duplicate], "outcome {number}");
    }
    let mut joined = HashSet::new();
    let mut after = Sequence::NONE;
    loop {
        let page = store.pairs(ReadFrom::After(after), 1_000).wait().unwrap();
        for pair in &page.records {
            assert!(joined.insert(pair.served.request_id.clone()), "{} was joined twice", pair.served.request_id);
        }
        after = page.next;
        if page.records.is_empty() {
            break;
        }
    }
    assert!(!joined.is_empty());
}

/// A log that ends anywhere, or ends in rubbish, as after a loss of power: a prefix of the commits, never half of one.
#[test]
fn a_torn_log_is_a_prefix_of_the_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = open(&path).unwrap();
    for number in 0..40 {
        store.commit(step(number)).wait().unwrap();
    }
    let database = fs::read(&path).unwrap();
    let log = fs::read(folder.path().join("state.db-wal")).unwrap();
    drop(store);
    let mut random = numbers_below(0x7042);
    let mut seen = HashSet::new();
    for case in 0..60 {
        let torn = tempfile::tempdir().unwrap();
        let path = torn.path().join("state.db");
        let end = usize::try_from(random(log.len() as u64 + 1)).unwrap();
        let mut tail = log[..end].to_vec();
        if case % 2 == 0 {
            tail.extend((end..log.len()).map(|_| u8::try_from(random(256)).unwrap()));
        }
        fs::write(&path, &database).unwrap();
        fs::write(torn.path().join("state.db-wal"), tail).unwrap();
        let store = open(&path).unwrap();
        seen.insert(check(&store, 0));
        store.verify().wait().unwrap();
    }
    assert!(seen.len() > 5, "too few different ends: {seen:?}");
}

/// A folder on a disk of its own, small enough to be filled.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, kibibytes: u64) -> Option<Self> {
        let size = format!("size={kibibytes}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|answer| answer.status.success()).then(|| Self(folder.to_owned()))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn filler(number: u64) -> Transaction {
    let mut record = event(&format!("filler-{number}"));
    record.data = Some(json!("x".repeat(3_000)));
    Transaction { events: vec![record], ..transaction() }
}

/// Disks of many sizes, so that many different writes are the first to fail.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut refusals = 0;
    for kibibytes in (300..1_500).step_by(52) {
        let Some(disk) = SmallDisk::mount(folder.path(), kibibytes) else {
            eprintln!("skipped: this account may not mount a small disk");
            return;
        };
        let path = folder.path().join("state.db");
        let mut acknowledged = 0;
        let store = match open(&path) {
            Ok(store) => store,
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{kibibytes} KiB: {error:?}");
                continue;
            }
        };
        let refused = loop {
            assert!(acknowledged < 1_000, "{kibibytes} KiB hold no such number of records");
            match store.commit(filler(acknowledged)).wait() {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, StateError::Engine(EngineFailure::DiskFull, refused.operator_detail().unwrap().into()));
        // What is there is served on, and served rows wait for better times.
        let count = |store: &StateStore| {
            store.journal(ReadFrom::After(Sequence(acknowledged.saturating_sub(5))), 1_000).wait().unwrap().last.0
        };
        assert_eq!(count(&store), acknowledged);
        store.record_served((0..200).map(|id| served(&format!("r{id}"), at(0))).collect(), at(0)).unwrap();
        let flushed = store.flush_served().wait();
        // Room again: the same call succeeds, on the same handle.
        disk.remount("size=16m");
        store.commit(filler(acknowledged)).wait().unwrap();
        store.flush_served().wait().unwrap();
        assert_eq!(store.outcome_counts().wait().unwrap().served, 200, "{flushed:?}");
        store.verify().wait().unwrap();
        drop(store);
        let store = open(&path).unwrap();
        assert_eq!(count(&store), acknowledged + 1);
        refusals += 1;
    }
    assert!(refusals > 10, "only {refusals} disks were filled");
}

#[test]
fn a_store_opens_on_a_full_disk_and_commits_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), 4_096) else {
        eprintln!("skipped: this account may not mount a small disk");
        return;
    };
    let path = folder.path().join("state.db");
    open(&path).unwrap().commit(filler(1)).wait().unwrap();
    assert!(!folder.path().join("state.db-shm").exists(), "the last to close it removes the index");
    let mut rest = fs::File::create(folder.path().join("rest")).unwrap();
    while rest.write(&[7; 512]).is_ok_and(|written| written > 0) {}
    let store = open(&path).unwrap();
    let last = |store: &StateStore| store.journal(ReadFrom::After(Sequence(0)), 10).wait().unwrap().last.0;
    assert_eq!(last(&store), 1);
    let refused = store.commit(filler(2)).wait().unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.to_string(), "no space is left for the state store; free some on its disk");
    disk.remount("size=16m");
    store.commit(filler(2)).wait().unwrap();
    store.verify().wait().unwrap();
    assert_eq!(last(&store), 2);
    // Others may read it again.
    let reader = rusqlite::Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let records: i64 = reader.query_row("SELECT COUNT(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(records, 2);
}

#[test]
fn a_read_only_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), 4_096) else {
        eprintln!("skipped: this account may not mount a small disk");
        return;
    };
    let path = folder.path().join("state.db");
    drop(open(&path).unwrap());
    disk.remount("ro");
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, StateError::Engine(EngineFailure::ReadOnly, _)), "{refused:?}");
    assert_eq!(refused.to_string(), "the state store is read-only");
}
