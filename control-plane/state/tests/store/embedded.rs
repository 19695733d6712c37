//! The embedded store meets every clause, and answers for its file.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hanok_state::{EngineFailure, ErrorCode, ReadFrom, Sequence, StateError, StateStore, StoreSettings, Transaction};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::conformance::Place;
use crate::conformance::values::{at, committed, event, machine, transaction};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn refusal(&self) -> StateError {
        StateStore::open_sqlite(&self.path(), StoreSettings::default()).unwrap_err()
    }

    fn failure(&self) -> EngineFailure {
        match self.refusal() {
            StateError::Engine(failure, _) => failure,
            other => panic!("{other:?}"),
        }
    }
}

impl Place for Folder {
    fn open(&self, settings: StoreSettings) -> StateStore {
        StateStore::open_sqlite(&self.path(), settings).unwrap()
    }
}

#[test]
fn meets_every_clause() {
    crate::conformance::run(|_| Box::new(Folder::new()));
}

#[test]
fn files_are_the_owners_alone() {
    let folder = Folder::new();
    fs::write(folder.path(), "").unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o644)).unwrap();
    let store = folder.open(StoreSettings::default());
    committed(store.commit(Transaction { events: vec![event("a")], ..transaction() }));
    let mut modes: Vec<_> = fs::read_dir(folder.0.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().permissions().mode() & 0o777))
        .collect();
    modes.sort();
    let names = ["state.db", "state.db-shm", "state.db-wal", "state.db.lock"];
    assert_eq!(modes, names.map(|name| (name.to_owned(), 0o600)));
}

#[test]
fn a_second_owner_is_refused_until_the_first_is_gone() {
    let folder = Folder::new();
    let store = folder.open(StoreSettings::default());
    assert_eq!(folder.failure(), EngineFailure::Locked);
    assert_eq!(folder.refusal().code(), ErrorCode::Unavailable);
    drop(store);
    folder.open(StoreSettings::default());
}

#[test]
fn a_foreign_writer_is_waited_for_and_then_named() {
    let folder = Folder::new();
    let store = folder.open(StoreSettings::default());
    let foreign = Connection::open(folder.path()).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.append(vec![event("a")], None, at(0)).wait().unwrap_err();
    assert_eq!((error.code(), error.to_string().contains('/')), (ErrorCode::Unavailable, false), "{error:?}");
    foreign.execute_batch("ROLLBACK").unwrap();
    store.append(vec![event("a")], None, at(0)).wait().unwrap();
}

#[test]
fn a_newer_layout_is_refused_untouched() {
    let folder = Folder::new();
    drop(folder.open(StoreSettings::default()));
    let foreign = Connection::open(folder.path()).unwrap();
    foreign.execute_batch("INSERT INTO layouts VALUES (99)").unwrap();
    drop(foreign);
    assert_eq!(folder.failure(), EngineFailure::NewerLayout { known: 1, found: 99 });
    let text = folder.refusal().to_string();
    assert!(text.contains("newer version") && text.contains("99"), "{text}");
}

#[test]
fn anothers_database_is_refused_untouched() {
    let folder = Folder::new();
    let foreign = Connection::open(folder.path()).unwrap();
    foreign.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)").unwrap();
    drop(foreign);
    assert_eq!(folder.failure(), EngineFailure::NotAStateStore);
    let tables: i64 = Connection::open(folder.path())
        .unwrap()
        .query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn damage_is_named() {
    let folder = Folder::new();
    let store = folder.open(StoreSettings::default());
    for number in 0..200 {
        let events = vec![event(&number.to_string())];
        let machines = vec![machine(&number.to_string(), 0, Some(json!("x".repeat(500))))];
        committed(store.commit(Transaction { events, machines, ..transaction() }));
    }
    drop(store);
    let whole = fs::read(folder.path()).unwrap();
    let damage = |offset: u64, bytes: &[u8]| {
        fs::write(folder.path(), &whole).unwrap();
        let mut file = OpenOptions::new().write(true).open(folder.path()).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    };
    // Its header is not that of a database.
    damage(0, b"garbage, not a database header");
    assert_eq!(folder.failure(), EngineFailure::Corrupt);
    assert_eq!(folder.refusal().code(), ErrorCode::Internal);
    // Its end is missing.
    fs::write(folder.path(), &whole[..whole.len() / 2]).unwrap();
    let found = StateStore::open_sqlite(&folder.path(), StoreSettings::default());
    let found = found.and_then(|store| store.verify().wait());
    assert_eq!(found.unwrap_err().code(), ErrorCode::Internal);
    // Every page in turn: opening, reading or at the latest verifying says so, and nothing panics.
    for page in 1..whole.len() as u64 / 4_096 {
        damage(page * 4_096, &[0xA5; 64]);
        let found = StateStore::open_sqlite(&folder.path(), StoreSettings::default());
        let found = found.and_then(|store| {
            store.journal(ReadFrom::After(Sequence::NONE), 1_000).wait()?;
            store.verify().wait()
        });
        assert_eq!(found.unwrap_err().code(), ErrorCode::Internal, "page {page}");
    }
}

#[test]
fn answers_tasks_as_well_as_threads() {
    let folder = Folder::new();
    let store = folder.open(StoreSettings::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let appended = runtime.block_on(async {
        let calls: Vec<_> =
            (0..100).map(|number| store.append(vec![event(&number.to_string())], None, at(0))).collect();
        let mut appended = 0;
        for call in calls {
            appended += call.await.unwrap().len();
        }
        appended
    });
    assert_eq!(appended, 100);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let folder = Folder::new();
    let store = folder.open(StoreSettings { queue_calls: 1, ..StoreSettings::default() });
    // Hold the writer on a foreign lock, so that calls pile up.
    let foreign = Connection::open(folder.path()).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let calls: Vec<_> = (0..200).map(|number| store.append(vec![event(&number.to_string())], None, at(0))).collect();
    foreign.execute_batch("ROLLBACK").unwrap();
    let answers: Vec<_> = calls.into_iter().map(|call| call.wait()).collect();
    let refused = answers.iter().filter(|answer| **answer == Err(StateError::QueueFull { limit: 1 })).count();
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(refused > 0 && refused + done == 200, "{refused} refused, {done} done");
    let page = store.journal(ReadFrom::After(Sequence::NONE), 1_000).wait().unwrap();
    assert_eq!(page.records.len(), done, "what was refused is not there");
}
