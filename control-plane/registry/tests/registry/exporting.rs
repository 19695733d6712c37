//! Versions in a model repository.

use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;

use hanok_registry::{ErrorCode, RegistrySettings, VersionFacts};

use crate::bench::{Bench, at, files_below, meant};

#[test]
fn a_version_is_laid_out_once_and_whole() {
    let bench = Bench::new(RegistrySettings::default());
    let files: [(&str, &[u8]); 2] = [("model.onnx", b"network"), ("config.pbtxt", b"max_batch_size: 8")];
    bench.register("m", &files, &VersionFacts::default(), 1).unwrap();
    bench
        .register("m", &[("model.onnx", b"second"), ("config.pbtxt", files[1].1)], &VersionFacts::default(), 2)
        .unwrap();
    bench.register("m", &[("model.onnx", b"third"), ("config.pbtxt", b"other")], &VersionFacts::default(), 3).unwrap();
    let repository = bench.folder.path().join("models");
    let export = |reference: &str, name| bench.registry.export(&meant(reference), &repository, name, at(4));
    let first = export("m/1", None).unwrap();
    assert_eq!((first.new, first.path), (true, repository.join("m/1")));
    assert!(!export("m/1", None).unwrap().new, "it is there already");
    assert!(export("m/2", None).unwrap().new);
    assert_eq!(fs::read(repository.join("m/2/model.onnx")).unwrap(), b"second");
    assert_eq!(fs::read(repository.join("m/config.pbtxt")).unwrap(), files[1].1);
    assert!(!repository.join("m/1/config.pbtxt").exists());
    let error = export("m/3", None).unwrap_err();
    assert_eq!(error.to_string(), "configuration `m/config.pbtxt` exists already with other content");
    assert!(!repository.join("m/3").exists());
    assert!(export("m/3", Some("renamed")).unwrap().path.ends_with("renamed/3"));
    assert_eq!(export("m/3", Some("../up")).unwrap_err().code(), ErrorCode::InvalidArgument);
    fs::write(repository.join("m/1/model.onnx"), b"edited").unwrap();
    assert_eq!(export("m/1", None).unwrap_err().code(), ErrorCode::AlreadyExists);
    let names: Vec<_> = fs::read_dir(&repository).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
}

#[test]
fn a_damaged_file_is_not_laid_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"network", 1).unwrap();
    let blobs = crate::bench::files_below(&bench.root().join("blobs"));
    fs::set_permissions(&blobs[0], fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&blobs[0], b"netwark").unwrap();
    let repository = bench.folder.path().join("models");
    let error = bench.registry.export(&meant("m"), &repository, None, at(2)).unwrap_err();
    assert!(error.to_string().starts_with("`model.onnx` is not what was promised"), "{error}");
    assert!(!repository.exists(), "it made the folder, and takes it away again");
    fs::create_dir(&repository).unwrap();
    bench.registry.export(&meant("m"), &repository, None, at(2)).unwrap_err();
    assert_eq!(fs::read_dir(&repository).unwrap().count(), 0);
}

#[test]
fn the_configuration_can_be_left_to_the_caller() {
    let bench = Bench::new(RegistrySettings::default());
    for (number, text) in [(1, "max_batch_size: 1"), (2, "max_batch_size: 2")] {
        let files: [(&str, &[u8]); 2] = [("model.onnx", b"network"), ("config.pbtxt", text.as_bytes())];
        bench.register("m", &files, &VersionFacts::default(), number).unwrap();
    }
    bench.register("m", &[("model.onnx", b"bare")], &VersionFacts::default(), 3).unwrap();
    let repository = bench.folder.path().join("models");
    for number in 1..=3 {
        let reference = meant(&format!("m/{number}"));
        assert!(bench.registry.export_files(&reference, &repository, None, at(4)).unwrap().new);
        let own = bench.registry.configuration(&reference, at(4)).unwrap();
        assert_eq!(own, (number < 3).then(|| format!("max_batch_size: {number}")));
    }
    assert!(!repository.join("m/config.pbtxt").exists() && !repository.join("m/1/config.pbtxt").exists());
    assert!(!bench.registry.export_files(&meant("m/2"), &repository, None, at(5)).unwrap().new);
}

#[test]
fn what_can_be_had_again_can_be_taken_out() {
    let bench = Bench::new(RegistrySettings::default());
    bench.register("m", &[("model.onnx", b"added here")], &VersionFacts::default(), 1).unwrap();
    bench.pulled("m", 2, b"network", 2).unwrap();
    let repository = bench.folder.path().join("models");
    for reference in ["m/1", "m/2"] {
        bench.registry.export_files(&meant(reference), &repository, None, at(3)).unwrap();
    }
    let name = |number| hanok_registry::VersionName { model: "m".to_owned(), number };
    let withdraw = |number| bench.registry.withdraw(&name(number), &repository, "m").unwrap();
    assert!(!withdraw(1), "nobody else has it");
    fs::write(repository.join("m/2/model.onnx"), b"edited").unwrap();
    assert!(!withdraw(2), "it is not what was laid there");
    fs::write(repository.join("m/2/model.onnx"), b"network").unwrap();
    assert!(withdraw(2) && !repository.join("m/2").exists());
    assert!(!withdraw(2), "it is gone");
    assert!(repository.join("m/1/model.onnx").exists());
    assert!(bench.registry.withdraw(&name(9), &repository, "m").is_err());
    assert!(bench.registry.export_files(&meant("m/2"), &repository, None, at(4)).unwrap().new);
}

/// Two exports that begin at the same moment.
fn at_once<T: Send>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> T + Send) -> [T; 2] {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            start.wait();
            other()
        });
        start.wait();
        [one(), other.join().unwrap()]
    })
}

#[test]
fn of_two_that_bring_other_configurations_at_once_one_is_laid() {
    let [bench, elsewhere] = [0; 2].map(|_| Bench::new(RegistrySettings::default()));
    for bench in [&bench, &elsewhere] {
        for configuration in [b"max_batch_size: 1", b"max_batch_size: 2"] {
            let files: [(&str, &[u8]); 2] = [("model.onnx", b"network"), ("config.pbtxt", configuration)];
            bench.register("m", &files, &VersionFacts::default(), 1).unwrap();
        }
    }
    let same = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    for round in 0..60 {
        // From one registry through two processes' eyes, and from two registries.
        let other = if round % 2 == 0 { &same } else { &elsewhere.registry };
        let repository = bench.folder.path().join(format!("models-{round}"));
        if round % 3 == 0 {
            fs::create_dir_all(repository.join("m")).unwrap();
        }
        let done = at_once(
            || bench.registry.export(&meant("m/1"), &repository, None, at(2)),
            || other.export(&meant("m/2"), &repository, None, at(2)),
        );
        let winner = done.iter().position(Result::is_ok).unwrap();
        let refused = done[1 - winner].as_ref().unwrap_err();
        assert_eq!(refused.to_string(), "configuration `m/config.pbtxt` exists already with other content");
        let laid = fs::read(repository.join("m/config.pbtxt")).unwrap();
        assert_eq!(laid, format!("max_batch_size: {}", winner + 1).into_bytes());
        let mut names: Vec<_> =
            files_below(&repository).iter().map(|path| path.strip_prefix(&repository).unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, [PathBuf::from(format!("m/{}/model.onnx", winner + 1)), PathBuf::from("m/config.pbtxt")]);
    }
}

#[test]
fn the_same_version_twice_at_once_is_laid_once() {
    let bench = Bench::new(RegistrySettings::default());
    let files: [(&str, &[u8]); 2] = [("model.onnx", b"network"), ("config.pbtxt", b"max_batch_size: 8")];
    bench.register("m", &files, &VersionFacts::default(), 1).unwrap();
    let other = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
    for round in 0..40 {
        let repository = bench.folder.path().join(format!("models-{round}"));
        let done = at_once(
            || bench.registry.export(&meant("m/1"), &repository, None, at(2)),
            || other.export(&meant("m/1"), &repository, None, at(2)),
        );
        let new: usize = done.into_iter().map(|exported| usize::from(exported.unwrap().new)).sum();
        assert_eq!(new, 1);
        assert_eq!(files_below(&repository).len(), 2);
    }
}
