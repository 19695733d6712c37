//! Databases that are not ours, and folders that operations left.

use std::fs;

use hanok_registry::{ErrorCode, Registry, RegistryError, RegistrySettings, StorageFailure};

use crate::bench::{Bench, files_below};

fn refusal(path: &std::path::Path) -> RegistryError {
    Registry::open(path, RegistrySettings::default()).unwrap_err()
}

#[test]
fn what_is_not_a_registry_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("registry.sqlite");
    fs::write(&database, "<html>").unwrap();
    assert_eq!(refusal(folder.path()).code(), ErrorCode::DataLoss);
    fs::remove_file(&database).unwrap();
    let foreign = rusqlite::Connection::open(&database).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(foreign);
    let error = refusal(folder.path());
    assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::Unsupported, "the database is not a registry"));
    assert!(error.operator_detail().unwrap().contains("1 objects"));
}

#[test]
fn a_newer_layout_is_refused() {
    let bench = Bench::new(RegistrySettings::default());
    let database = rusqlite::Connection::open(bench.root().join("registry.sqlite")).unwrap();
    database.execute_batch("INSERT INTO layouts VALUES (7)").unwrap();
    let RegistryError::Storage(failure, _) = refusal(&bench.root()) else { panic!("opened") };
    assert_eq!(failure, StorageFailure::NewerLayout { known: 2, found: 7 });
}

#[test]
fn a_registry_from_before_revisions_is_brought_up_to_date() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let database = rusqlite::Connection::open(bench.root().join("registry.sqlite")).unwrap();
    database.execute_batch("DROP TABLE revisions; DELETE FROM layouts WHERE version = 2").unwrap();
    drop(database);
    let opened = Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    assert_eq!(opened.versions(Some("m")).unwrap(), [bench.version("m/1")]);
    let revision = hanok_registry::Digest::of(b"revision");
    assert_eq!(opened.pulled("m", "mlflow://m/1", &revision).unwrap(), None);
}

#[test]
fn what_was_left_is_swept_at_open() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let kept = hanok_registry::Digest::of(b"one").hex();
    let left = hanok_registry::Digest::of(b"left").hex();
    let place = bench.root().join("blobs").join(&left[..2]);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(&left), b"left").unwrap();
    let staging = bench.root().join("staging/1-0");
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("0"), b"half").unwrap();
    // A name that means nothing is what a kill while writing the intent leaves.
    fs::write(staging.join("intent"), format!("{left}\n{kept}\n{}", &left[..20])).unwrap();
    // Somebody's who is alive stays.
    let import = bench.registry.import().unwrap();
    Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    assert!(!staging.exists());
    assert!(!place.join(&left).exists());
    assert_eq!(fs::read_dir(bench.root().join("staging")).unwrap().count(), 1);
    drop(import);
    assert_eq!(fs::read_dir(bench.root().join("staging")).unwrap().count(), 0);
    assert!(bench.registry.verify().unwrap().problems.is_empty());
    assert_eq!(files_below(&bench.root().join("blobs")).len(), 1);
}

#[test]
fn a_failing_database_leaves_no_files() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let database = rusqlite::Connection::open(bench.root().join("registry.sqlite")).unwrap();
    database.execute_batch("CREATE TRIGGER no BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'full'); END").unwrap();
    assert_eq!(bench.pulled("m", 2, b"two", 2).unwrap_err().code(), ErrorCode::Internal);
    assert_eq!(files_below(&bench.root().join("blobs")).len(), 1);
    assert_eq!(files_below(&bench.root().join("staging")).len(), 0);
    database.execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(bench.pulled("m", 2, b"two", 2).unwrap().version.name.number, 2);
}
