//! Folders that are not as the registry left them: a lost database, and files that others have put there.

use std::fs;

use hanok_registry::{CollectRequest, ErrorCode, Registry, RegistrySettings};

use crate::bench::{Bench, actor, files_below};

#[test]
fn files_without_their_database_are_not_taken_for_leftovers() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let root = bench.root();
    let database = root.join("registry.sqlite");
    let whole = bench.folder.path().join("backup");
    drop(bench.registry);
    fs::copy(&database, &whole).unwrap();
    let refused = || {
        assert!(hanok_registry::is_registry(&root));
        let error = Registry::open(&root, RegistrySettings::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DataLoss);
        assert!(error.to_string().contains("restore registry.sqlite from a backup"), "{error}");
        assert_eq!(files_below(&root.join("blobs")).len(), 1);
    };
    fs::remove_file(&database).unwrap();
    refused();
    assert!(!database.exists(), "and none is made");
    fs::write(&database, "").unwrap();
    refused();
    // A database without a table, as one has it whose log was lost.
    let empty = rusqlite::Connection::open(&database).unwrap();
    empty.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 0; VACUUM").unwrap();
    drop(empty);
    assert!(fs::metadata(&database).unwrap().len() > 0);
    refused();
    fs::copy(&whole, &database).unwrap();
    let registry = Registry::open(&root, RegistrySettings::default()).unwrap();
    assert_eq!(registry.verify().unwrap().problems, []);
    assert_eq!(registry.versions(Some("m")).unwrap().len(), 1);
}

#[test]
fn strangers_among_the_files_are_passed_over_and_told() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let digest = hanok_registry::Digest::of(b"misplaced").hex();
    let group = format!("blobs/{}", &hanok_registry::Digest::of(b"one").hex()[..2]);
    let mut strays = vec![
        "blobs/.DS_Store".to_owned(),
        format!("{group}/.nfs0001"),
        format!("{group}/{digest}"),
        "holds/.DS_Store".to_owned(),
        "staging/.nfs0001".to_owned(),
    ];
    strays.sort();
    for stray in &strays {
        fs::write(bench.root().join(stray), "").unwrap();
    }
    let registry = Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    assert_eq!(registry.models().unwrap().len(), 1);
    let report = registry.verify().unwrap();
    assert_eq!((report.strays, report.orphans, report.problems), (strays.clone(), 0, vec![]));
    let everything = CollectRequest { quota_bytes: Some(0), ..CollectRequest::default() };
    let collected = registry.collect(&everything, &actor("ann", 2)).unwrap();
    assert_eq!(collected.evicted.len(), 1);
    assert!(strays.iter().all(|stray| bench.root().join(stray).exists()), "what is not ours is not removed");
}
