//! Versions: numbering, content, facts, what is the same, what is refused.

use hanok_registry::{
    Action, Digest, ErrorCode, GitCommit, RegistrySettings, Signature, Stage, TensorSignature, TrainingData,
    VersionFacts, VersionFilter, VersionName,
};

use crate::bench::{Bench, actor, files_below, local, meant, origin, to};

#[test]
fn a_folder_becomes_a_version_with_its_facts() {
    let bench = Bench::new(RegistrySettings::default());
    let source = bench.folder.path().join("flights");
    std::fs::create_dir_all(source.join("data")).unwrap();
    std::fs::write(source.join("model.onnx"), b"network").unwrap();
    std::fs::write(source.join("data/weights"), b"weights").unwrap();
    std::fs::write(source.join("data/copy"), b"weights").unwrap();
    let tensor = |name: &str, shape: &[i64]| TensorSignature {
        name: name.into(),
        data_type: "FP32".into(),
        shape: shape.into(),
    };
    let facts = VersionFacts {
        signature: Some(Signature { inputs: vec![tensor("x", &[-1, 4])], outputs: vec![tensor("y", &[-1])] }),
        metrics: [("auc".to_owned(), 0.75), ("loss".to_owned(), 0.1 + 0.2)].into(),
        training_data: Some(TrainingData { reference: "s3://flights/2013.parquet".into(), digest: None }),
        git: Some(GitCommit { commit: "a".repeat(40), remote: Some("https://example.org/flights".into()) }),
        tags: [("team".to_owned(), "flights".to_owned())].into(),
        ..VersionFacts::default()
    };
    let registered = bench.registry.add("flights", &local(&source), &facts, &actor("ann", 7)).unwrap();
    assert!(registered.new);
    assert_eq!(registered.version.name, VersionName { model: "flights".into(), number: 1 });
    assert_eq!((registered.version.bytes, registered.version.registered_by.as_str()), (21, "ann"));
    let record = bench.registry.record(&meant("flights")).unwrap();
    assert_eq!(record.version.facts, facts);
    assert_eq!(record.manifest.files().keys().collect::<Vec<_>>(), ["data/copy", "data/weights", "model.onnx"]);
    assert_eq!(record.manifest.files()["data/weights"].digest, Digest::of(b"weights"));
    assert_eq!(record.manifest.digest(), record.version.digest);
    // The same content lies there once.
    assert_eq!(files_below(&bench.root().join("blobs")).len(), 2);
    assert_eq!(files_below(&bench.root().join("staging")).len(), 0);
    let log = bench.registry.log(None, 0, 10).unwrap();
    assert_eq!(
        log.iter().map(|entry| entry.action).collect::<Vec<_>>(),
        [Action::ModelCreated, Action::VersionRegistered]
    );
    assert_eq!(log.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_same_content_from_the_same_source_is_the_same_version() {
    let bench = Bench::new(RegistrySettings::default());
    assert!(bench.pulled("m", 1, b"one", 1).unwrap().new);
    let again = bench.pulled("m", 1, b"one", 2).unwrap();
    assert_eq!((again.new, again.version.name.number), (false, 1));
    // Another source, another version; another model, a numbering of its own.
    assert_eq!(bench.pulled("m", 2, b"one", 3).unwrap().version.name.number, 2);
    assert_eq!(bench.pulled("n", 1, b"one", 3).unwrap().version.name.number, 1);
    assert_eq!(files_below(&bench.root().join("blobs")).len(), 1);
}

#[test]
fn other_facts_from_this_machine_are_another_version() {
    let bench = Bench::new(RegistrySettings::default());
    let add = |auc: f64| {
        let facts = VersionFacts { metrics: [("auc".to_owned(), auc)].into(), ..VersionFacts::default() };
        let registered = bench.register("m", &[("f", b"1")], &facts, 1).unwrap();
        (registered.new, registered.version.name.number)
    };
    assert_eq!(add(0.5), (true, 1));
    assert_eq!(add(0.6), (true, 2), "what was told is not lost");
    assert_eq!(add(0.5), (false, 1));
    assert_eq!(files_below(&bench.root().join("blobs")).len(), 1);
}

#[test]
fn versions_are_found_by_what_they_were_made_of() {
    let bench = Bench::new(RegistrySettings::default());
    let data = |reference: &str| Some(TrainingData { reference: reference.into(), digest: Some("d1".into()) });
    let git = Some(GitCommit { commit: "abcdef0123".repeat(4), remote: None });
    let tagged = VersionFacts { tags: [("team".to_owned(), "a".to_owned())].into(), ..origin("m", 7) };
    bench
        .register("m", &[("f", b"1")], &VersionFacts { training_data: data("s3://x"), ..VersionFacts::default() }, 1)
        .unwrap();
    bench.register("m", &[("f", b"2")], &VersionFacts { training_data: data("s3://y"), git, ..tagged }, 1).unwrap();
    bench.registry.promote(&meant("m/2"), to(Stage::Staging), &actor("ann", 2)).unwrap();
    let found = |filter: &VersionFilter| -> Vec<u64> {
        let versions = bench.registry.versions(None).unwrap();
        versions.iter().filter(|version| filter.matches(version)).map(|version| version.name.number).collect()
    };
    let all = VersionFilter::default();
    assert_eq!(found(&all), [1, 2]);
    assert_eq!(found(&VersionFilter { training_data: Some("s3://x".into()), ..all.clone() }), [1]);
    assert_eq!(found(&VersionFilter { training_data: Some("d1".into()), ..all.clone() }), [1, 2]);
    assert_eq!(found(&VersionFilter { git_commit: Some("ABCDEF".into()), ..all.clone() }), [2]);
    assert_eq!(found(&VersionFilter { git_commit: Some("bcdef".into()), ..all.clone() }), [0_u64; 0]);
    assert_eq!(found(&VersionFilter { tags: [("team".into(), "a".into())].into(), ..all.clone() }), [2]);
    assert_eq!(found(&VersionFilter { tags: [("team".into(), "b".into())].into(), ..all.clone() }), [0_u64; 0]);
    assert_eq!(found(&VersionFilter { origin: Some("mlflow://m/".into()), ..all.clone() }), [2]);
    assert_eq!(found(&VersionFilter { stage: Some(hanok_registry::Stage::None), ..all }), [1]);
}

#[test]
fn what_breaks_a_rule_leaves_nothing() {
    let settings = RegistrySettings { max_files: 2, max_version_bytes: 10, quota_bytes: None };
    let bench = Bench::new(settings);
    let refused = |model: &str, files: &[(&str, &[u8])], facts: &VersionFacts| {
        bench.register(model, files, facts, 1).unwrap_err()
    };
    let plain = VersionFacts::default();
    for name in ["../x", "a/b", "", "a b", "x\0"] {
        assert_eq!(refused(name, &[("f", b"1")], &plain).code(), ErrorCode::InvalidArgument, "{name:?}");
    }
    for path in ["../x", "/etc/passwd", "a//b", "a\\b", "..", "a\nb", ""] {
        assert_eq!(refused("m", &[(path, b"1")], &plain).code(), ErrorCode::InvalidArgument, "{path:?}");
    }
    assert_eq!(refused("m", &[], &plain).code(), ErrorCode::InvalidArgument);
    assert_eq!(refused("m", &[("a", b"1"), ("a", b"2")], &plain).code(), ErrorCode::InvalidArgument);
    assert_eq!(refused("m", &[("a", b"1"), ("a/b", b"2")], &plain).code(), ErrorCode::InvalidArgument);
    assert_eq!(refused("m", &[("a", b"1"), ("b", b"2"), ("c", b"3")], &plain).code(), ErrorCode::ResourceExhausted);
    let large = refused("m", &[("a", b"123456"), ("b", b"12345")], &plain);
    assert_eq!(large.to_string(), "expected at most 10 bytes of a version, got 11");
    let orphan = VersionFacts { parents: vec![VersionName { model: "m".into(), number: 9 }], ..plain };
    assert_eq!(refused("m", &[("a", b"1")], &orphan).code(), ErrorCode::NotFound);
    assert!(bench.registry.models().unwrap().is_empty());
    assert!(files_below(&bench.root().join("blobs")).is_empty());
    assert!(files_below(&bench.root().join("staging")).is_empty());
    assert!(bench.registry.log(None, 0, 10).unwrap().is_empty());
}

#[test]
fn a_folder_with_a_link_is_refused() {
    let bench = Bench::new(RegistrySettings::default());
    let source = bench.folder.path().join("m");
    std::fs::create_dir(&source).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", source.join("model.onnx")).unwrap();
    let error = bench.registry.add("m", &local(&source), &VersionFacts::default(), &actor("ann", 1)).unwrap_err();
    assert_eq!(error.to_string(), "path: expected plain files and folders, `model.onnx` is neither");
    let missing = bench.registry.add("m", &local(&source.join("none")), &VersionFacts::default(), &actor("ann", 1));
    assert_eq!(missing.unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn lineage_is_followed_both_ways() {
    let bench = Bench::new(RegistrySettings::default());
    let made = |model: &str, bytes: &[u8], parents: &[&str]| {
        let parents = parents.iter().map(|parent| bench.version(parent).name).collect();
        let facts = VersionFacts { parents, ..VersionFacts::default() };
        bench.register(model, &[("f", bytes)], &facts, 1).unwrap();
    };
    made("base", b"1", &[]);
    made("tuned", b"2", &["base/1"]);
    made("tuned", b"3", &["base/1", "tuned/1"]);
    made("quantised", b"4", &["tuned/2"]);
    let steps = |reference: &str| {
        let lineage = bench.registry.record(&meant(reference)).unwrap().lineage;
        let text = |steps: Vec<hanok_registry::LineageStep>| {
            steps.iter().map(|step| format!("{}<{}", step.child, step.parent)).collect::<Vec<_>>()
        };
        (text(lineage.ancestors), text(lineage.descendants))
    };
    let all = ["quantised/1<tuned/2", "tuned/1<base/1", "tuned/2<base/1", "tuned/2<tuned/1"];
    assert_eq!(steps("quantised"), (all.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(steps("base"), (vec![], all.map(str::to_owned).to_vec()));
    assert_eq!(steps("tuned/1").0, ["tuned/1<base/1"]);
}

#[test]
fn two_processes_may_register_at_once() {
    let bench = Bench::new(RegistrySettings::default());
    let other = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    std::thread::scope(|scope| {
        for (registry, name) in [(&bench.registry, "ann"), (&other, "bob")] {
            scope.spawn(move || {
                for number in 0..20_u32 {
                    let mut import = registry.import().unwrap();
                    let mut file = import.file("f").unwrap();
                    file.write(format!("{name} {number}").as_bytes()).unwrap();
                    import.finish(file).unwrap();
                    import.register("m", &origin(name, number), &actor(name, 1)).unwrap();
                    // Collecting sweeps; what the other has under way must stay.
                    registry.collect(&hanok_registry::CollectRequest::default(), &actor(name, 1)).unwrap();
                }
            });
        }
    });
    let versions = bench.registry.versions(Some("m")).unwrap();
    assert_eq!(versions.iter().map(|version| version.name.number).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    let report = bench.registry.verify().unwrap();
    assert_eq!((report.versions, report.orphans, report.problems), (40, 0, vec![]));
}
