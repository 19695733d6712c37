//! `kill -9` while the embedded store writes: what was acknowledged is there, and no row is half there.
//!
//! The process that is killed is this test program itself, started again for the one test that is marked as ignored.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use hanok_features::{EmbeddedStore, KeyValue, OnlineStore as _, StoreRead, Value, ValueRef, WriteRow};

use crate::child::Process;
use crate::declarations::{declare, push_key, read_of};

const KILLS: u32 = 40;
const KEYS: i64 = 50;

/// Names the file to the process that is started to be killed.
const FILE: &str = "HANOK_FEATURES_KILL_TEST_FILE";

fn set() -> hanok_features::FeatureSet {
    declare("embedded: {path: unused}", &[("weather", "hour", "{name: low, type: int64}, {name: high, type: string}")])
}

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path, &[Arc::clone(set().view("weather").unwrap())]).unwrap()
}

fn rows(step: i64) -> Vec<WriteRow> {
    let set = set();
    let row = |hour: i64| {
        let mut read = read_of(&set, "weather");
        push_key(&mut read, &[KeyValue::Int(hour)]);
        let values = vec![Some(Value::Int64(step)), Some(Value::String(step.to_string()))];
        WriteRow { key: read.keys.get(0).unwrap().to_vec(), event_micros: step, values }
    };
    (0..KEYS).map(row).collect()
}

/// Writes and says so, line by line, until it is killed.
#[tokio::test]
#[ignore = "this is the process that the other test kills"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&path));
    let first = held(&store).await.map_or(0, |step| step + 1);
    let mut output = std::io::stdout();
    // The test program has begun a line of its own.
    writeln!(output).unwrap();
    for step in first.. {
        assert_eq!(store.write("weather", &rows(step)).await.unwrap(), 50);
        writeln!(output, "step {step}").unwrap();
        output.flush().unwrap();
    }
}

/// The step that every key has; a write is one transaction.
async fn held(store: &EmbeddedStore) -> Option<i64> {
    let set = set();
    let mut read = read_of(&set, "weather");
    (0..KEYS).for_each(|hour| push_key(&mut read, &[KeyValue::Int(hour)]));
    let columns = store.read(&StoreRead { views: vec![read] }).await.unwrap().remove(0);
    let (low, high) = (columns.column(0).unwrap(), columns.column(1).unwrap());
    let first = low.value(0)?;
    let ValueRef::Int64(step) = first else { panic!("{first:?}") };
    for row in 0..low.len() {
        assert_eq!(low.value(row), Some(first));
        assert_eq!(high.value(row), Some(ValueRef::String(&step.to_string())));
        assert_eq!(low.event_micros(row), Some(step));
    }
    Some(step)
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.db");
    let mut last = -1;
    for kill in 0..KILLS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["kill::writes_until_it_is_killed", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        let mut process = Process::spawn(command.env(FILE, &path).stdout(Stdio::piped()));
        let output = process.child().stdout.take().unwrap();
        let steps = BufReader::new(output).lines().map_while(Result::ok);
        let mut steps = steps.filter_map(|line| line.strip_prefix("step ")?.parse::<i64>().ok());
        // Somewhere in the writing after so many acknowledged ones.
        for _ in 0..=kill % 7 {
            last = steps.next().unwrap();
        }
        process.signal("KILL");
        last = steps.last().unwrap_or(last);
        process.child().wait().unwrap();
        let found = held(&open(&path)).await.unwrap();
        assert!(found == last || found == last + 1, "acknowledged {last}, found {found}");
    }
}
