//! Verifying, evicting, collecting.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hanok_registry::{
    AliasExpectation, BlobProblem, CollectRequest, Digest, ErrorCode, RegistrySettings, Stage, VersionFacts, difference,
};

use crate::bench::{Bench, actor, at, files_below, meant, origin, to};

fn blob(bench: &Bench, bytes: &[u8]) -> std::path::PathBuf {
    let name = Digest::of(bytes).hex();
    bench.root().join("blobs").join(&name[..2]).join(name)
}

#[test]
fn damage_is_found_and_healed_by_the_same_content() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"network", 1).unwrap();
    bench.pulled("m", 2, b"other", 1).unwrap();
    let report = bench.registry.verify().unwrap();
    assert_eq!((report.versions, report.blobs, report.bytes, report.orphans), (2, 2, 12, 0));
    assert!(report.problems.is_empty());
    let place = blob(&bench, b"network");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&place, b"netwark").unwrap();
    fs::remove_file(blob(&bench, b"other")).unwrap();
    let name = |number: &str| bench.version(number).name;
    let path = "model.onnx".to_owned();
    let differs = BlobProblem::Differs {
        version: name("m/1"),
        path: path.clone(),
        expected: Digest::of(b"network"),
        actual: Digest::of(b"netwark"),
    };
    let missing = BlobProblem::Missing { version: name("m/2"), path };
    assert_eq!(bench.registry.verify().unwrap().problems, [differs, missing]);
    assert!(!bench.pulled("m", 1, b"network", 2).unwrap().new);
    assert!(!bench.pulled("m", 2, b"other", 2).unwrap().new);
    assert!(bench.registry.verify().unwrap().problems.is_empty());
}

#[test]
fn the_quota_evicts_what_was_not_used_for_longest_and_never_what_is_in_use() {
    let bench = Bench::new(RegistrySettings { quota_bytes: Some(40), ..RegistrySettings::default() });
    let content = |seed: u8| vec![seed; 10];
    for number in 1..=4_u8 {
        bench.pulled("m", number.into(), &content(number), number.into()).unwrap();
    }
    // 1 is used again, 2 has an alias, 3 is held.
    drop(bench.registry.hold(&meant("m/1"), at(9)).unwrap());
    bench.registry.set_alias("m", "champion", Some(2), AliasExpectation::Absent, &actor("ann", 9)).unwrap();
    let (_, hold) = bench.registry.hold(&meant("m/3"), at(3)).unwrap();
    bench.pulled("m", 5, &content(5), 10).unwrap();
    let present = || -> Vec<u64> {
        let versions = bench.registry.versions(Some("m")).unwrap();
        versions.iter().filter(|version| version.present).map(|version| version.name.number).collect()
    };
    assert_eq!(present(), [1, 2, 3, 5]);
    assert!(!blob(&bench, &content(4)).exists());
    // Somebody in another process holds it just as well.
    let other = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    let request =
        CollectRequest { quota_bytes: Some(0), in_use: BTreeSet::from([bench.version("m/5").digest]), dry_run: true };
    let planned = other.collect(&request, &actor("bob", 11)).unwrap();
    assert_eq!(planned.evicted.iter().map(|name| name.number).collect::<Vec<_>>(), [1]);
    assert_eq!((planned.bytes_before, planned.bytes_after), (40, 30));
    assert_eq!(present(), [1, 2, 3, 5], "a dry run changes nothing");
    assert_eq!(
        other.collect(&CollectRequest { dry_run: false, ..request }, &actor("bob", 11)).unwrap().evicted,
        planned.evicted
    );
    assert_eq!(present(), [2, 3, 5]);
    let evicted = bench.registry.hold(&meant("m/1"), at(12)).unwrap_err();
    assert_eq!(evicted.code(), ErrorCode::FailedPrecondition);
    assert_eq!(evicted.to_string(), "the files of `m/1` were evicted; pull `mlflow://m/1` to have them again");
    assert!(bench.registry.promote(&meant("m/1"), to(Stage::Production), &actor("ann", 12)).is_err());
    // It comes back as what it was.
    drop(hold);
    let again = bench.pulled("m", 1, &content(1), 13).unwrap();
    assert_eq!((again.new, again.version.name.number, again.version.present), (false, 1, true));
    assert!(bench.registry.verify().unwrap().problems.is_empty());
    // What was added from this machine has no source to come back from: it is never evicted.
    bench.register("own", &[("f", &[9; 10])], &VersionFacts::default(), 14).unwrap();
    let everything = CollectRequest { quota_bytes: Some(0), ..CollectRequest::default() };
    bench.registry.collect(&everything, &actor("ann", 15)).unwrap();
    assert!(bench.version("own").present);
    assert_eq!(present(), [2]);
    let full = bench.register("m", &[("f", &[7; 25])], &VersionFacts::default(), 16).unwrap_err();
    assert_eq!(full.to_string(), "expected at most 40 bytes in the registry, got 45");
}

#[test]
fn what_is_brought_into_use_meanwhile_is_not_evicted() {
    let bench = Bench::new(RegistrySettings::default());
    let other = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    let everything = CollectRequest { quota_bytes: Some(0), ..CollectRequest::default() };
    let mut kept = 0;
    for number in 1..=100_u32 {
        let name = bench.pulled("m", number, &number.to_le_bytes(), 1).unwrap().version.name;
        let start = std::sync::Barrier::new(2);
        let in_use = std::thread::scope(|scope| {
            let collecting = scope.spawn(|| {
                start.wait();
                other.collect(&everything, &actor("ann", 2)).unwrap();
            });
            start.wait();
            let promoted = bench.registry.promote(&name.clone().into(), to(Stage::Production), &actor("ann", 2));
            collecting.join().unwrap();
            promoted.is_ok()
        });
        // Either it came too late and was told so, or it serves.
        let version = bench.registry.version(&name.into()).unwrap();
        assert_eq!((version.present, version.stage == Stage::Production), (in_use, in_use), "{version:?}");
        kept += u32::from(in_use);
    }
    assert!(kept > 0, "somebody must come in time");
    assert!(bench.registry.verify().unwrap().problems.is_empty());
}

#[test]
fn content_that_two_versions_have_goes_with_the_last() {
    let bench = Bench::new(RegistrySettings::default());
    let shared: &[u8] = &[1; 100];
    bench.register("m", &[("a", shared), ("b", b"x")], &crate::bench::origin("m", 1), 1).unwrap();
    bench.register("m", &[("a", shared), ("b", b"y")], &crate::bench::origin("m", 2), 2).unwrap();
    let collect = |quota| {
        let request = CollectRequest { quota_bytes: Some(quota), ..CollectRequest::default() };
        bench.registry.collect(&request, &actor("ann", 3)).unwrap()
    };
    assert_eq!(collect(101).bytes_after, 101);
    assert!(blob(&bench, shared).exists());
    assert_eq!(collect(0).bytes_after, 0);
    assert!(files_below(&bench.root().join("blobs")).is_empty());
}

#[test]
fn what_nobody_needs_is_collected() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let stray = blob(&bench, b"stray");
    fs::create_dir_all(stray.parent().unwrap()).unwrap();
    fs::write(&stray, b"stray").unwrap();
    assert_eq!(bench.registry.verify().unwrap().orphans, 1);
    let collected = bench.registry.collect(&CollectRequest::default(), &actor("ann", 2)).unwrap();
    assert_eq!((collected.orphans, collected.evicted.len()), (1, 0));
    assert!(!stray.exists());
}

#[test]
fn verifying_while_others_register_and_evict_finds_nothing() {
    let bench = Bench::new(RegistrySettings { quota_bytes: Some(100), ..RegistrySettings::default() });
    let other = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let verifying = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(std::sync::atomic::Ordering::Acquire) || rounds == 0 {
                let report = other.verify().unwrap();
                assert_eq!((report.orphans, report.problems), (0, vec![]));
                rounds += 1;
            }
        });
        for number in 1..=60_u32 {
            bench.pulled("m", number, &[7; 30].map(|byte: u32| (byte + number).to_le_bytes()[0]), 1).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        verifying.join().unwrap();
    });
    assert_eq!(bench.registry.versions(None).unwrap().iter().filter(|version| version.present).count(), 3);
}

#[test]
fn marks_that_nobody_holds_are_removed() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    bench.pulled("m", 2, b"two", 1).unwrap();
    drop(bench.registry.hold(&meant("m/1"), at(2)).unwrap());
    let (_, hold) = bench.registry.hold(&meant("m/2"), at(2)).unwrap();
    let marks = || files_below(&bench.root().join("holds")).len();
    assert_eq!(marks(), 2);
    bench.registry.collect(&CollectRequest::default(), &actor("ann", 3)).unwrap();
    assert_eq!(marks(), 1);
    let everything = CollectRequest { quota_bytes: Some(0), ..CollectRequest::default() };
    bench.registry.collect(&everything, &actor("ann", 3)).unwrap();
    assert_eq!((bench.version("m/1").present, bench.version("m/2").present), (false, true));
    drop(hold);
}

#[test]
fn two_versions_are_compared() {
    let bench = Bench::new(RegistrySettings::default());
    let facts = |auc: f64| VersionFacts { metrics: [("auc".to_owned(), auc)].into(), ..VersionFacts::default() };
    bench.register("m", &[("a", b"1"), ("same", b"s")], &facts(0.5), 1).unwrap();
    bench.register("m", &[("b", b"1"), ("same", b"s")], &facts(0.6), 2).unwrap();
    let [one, two] = ["m/1", "m/2"].map(|reference| bench.registry.record(&meant(reference)).unwrap());
    let found = difference((&one.version, &one.manifest), (&two.version, &two.manifest));
    assert_eq!(found.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        serde_json::to_value(&found.facts).unwrap(),
        serde_json::json!([
            {"fact": "metrics.auc", "before": 0.5, "after": 0.6}
        ])
    );
}

/// A version that goes leaves what it shares with the one that comes in; that is nobody's, should the one fail to come in.
#[test]
fn what_is_left_for_a_version_that_does_not_come_in_is_not_forgotten() {
    let bench = Bench::new(RegistrySettings { quota_bytes: Some(20), ..RegistrySettings::default() });
    bench.register("m", &[("shared", b"12345678"), ("own", b"abcdefgh")], &origin("m", 1), 1).unwrap();
    let mut import = bench.registry.import().unwrap();
    for (path, bytes) in [("shared", b"12345678"), ("own", b"ijklmnop")] {
        let mut file = import.file(path).unwrap();
        file.write(bytes).unwrap();
        import.finish(file).unwrap();
    }
    // In the place of the note of what is about to appear.
    let staging = fs::read_dir(bench.root().join("staging")).unwrap().next().unwrap().unwrap().path();
    fs::create_dir(staging.join("intent")).unwrap();
    import.register("m", &origin("m", 2), &actor("ann", 2)).unwrap_err();
    let report = bench.registry.verify().unwrap();
    assert_eq!((report.orphans, report.versions, report.problems.len()), (0, 1, 0), "{report:?}");
}
