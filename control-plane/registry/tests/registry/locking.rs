//! Lock files over model repositories: what they pin, how they are written, what they refuse.

use std::fs;

use hanok_registry::{
    ErrorCode, LockFile, LockProblem, RegistrySettings, VersionFacts, check_locked, find_model, find_models,
};

use crate::bench::{Bench, at, meant};

#[test]
fn the_same_models_give_the_same_bytes() {
    let bench = Bench::new(RegistrySettings::default());
    let files: [(&str, &[u8]); 2] = [("model.onnx", b"network"), ("config.pbtxt", b"max_batch_size: 8")];
    bench.register("m", &files, &VersionFacts::default(), 1).unwrap();
    bench.pulled("n", 4, b"other", 1).unwrap();
    let repository = bench.folder.path().join("models");
    for model in ["m", "n"] {
        bench.registry.export(&meant(model), &repository, None, at(2)).unwrap();
    }
    let sources = bench.registry.sources().unwrap();
    let found = find_models([repository.as_path()]).unwrap();
    let lock = LockFile::pin(&found, |model, number, digest| sources.find(model, number, digest));
    // Golden values from a shell: d() { printf %s "$1" | sha256sum | cut -c-64; }
    // printf 'hanok manifest 1\n%s 7 model.onnx\n' "$(d network)" | sha256sum, and alike for the others.
    let expected = r#"{
  "format": "hanok.lock/1",
  "models": {
    "m": {
      "beside": "sha256:79eb36657ae9803cd178d10ec08a73ee3d15602ccedde0e02792af9f77a87f42",
      "versions": {
        "1": {
          "digest": "sha256:fca34928c29597d79f8b1dc28310fb2190f4bd658ced0528c87d0848e439fd51",
          "source": "registry:m/1"
        }
      }
    },
    "n": {
      "versions": {
        "1": {
          "digest": "sha256:9a58a819da47e2f9781a5618af9fe690098f9653bbbcad0b6b6af9f5f44b23dd",
          "source": "mlflow://n/4"
        }
      }
    }
  }
}
"#;
    let path = bench.folder.path().join("hanok.lock");
    fs::write(&path, "what was there before").unwrap();
    lock.write(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(LockFile::read(&path).unwrap(), lock);
    let names: Vec<_> = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing else is left: {names:?}");
    assert_eq!(check_locked(&lock, &found), []);
    assert_eq!(find_model(&repository.join("m")).unwrap().as_ref(), Some(&found["m"]));
    assert_eq!(find_model(bench.folder.path()).unwrap(), None);
}

#[test]
fn what_is_no_lock_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hanok.lock");
    let refused = |text: &str| {
        fs::write(&path, text).unwrap();
        let error = LockFile::read(&path).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{text}");
        error.to_string()
    };
    let whole = r#"{"format": "hanok.lock/1", "models": {"m": {"versions": {"1": {"digest": "sha256:DIGEST"}}}}}"#;
    let whole = whole.replace("DIGEST", &"ab".repeat(32));
    for cut in 0..whole.len() {
        refused(&whole[..cut]);
    }
    assert_eq!(
        refused(&whole.replace("lock/1", "lock/2")),
        "lock file: `hanok.lock`: expected format `hanok.lock/1`, got `hanok.lock/2`"
    );
    assert!(refused(&whole.replace("sha256:ab", "sha256:a")).contains("expected `sha256:` and 64 hexadecimal digits"));
    assert!(refused(&whole.replace("versions", "version")).contains("unknown field `version`"));
    refused("<html></html>");
    fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(LockFile::read(&path).unwrap_err().code(), ErrorCode::InvalidArgument);
    fs::write(&path, &whole).unwrap();
    LockFile::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let error = LockFile::read(&path).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (ErrorCode::NotFound, "lock file `hanok.lock` does not exist")
    );
}

#[test]
fn folders_are_seen_as_the_server_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("m/1")).unwrap();
    let found = find_models([folder.path()]).unwrap();
    let lock = LockFile::pin(&found, |_, _, _| None);
    assert_eq!(check_locked(&lock, &found), [], "a version may have no files");
    fs::write(folder.path().join("m/1/added"), b"").unwrap();
    assert_eq!(check_locked(&lock, &find_models([folder.path()]).unwrap()).len(), 1);
    // Folders that are no models are passed over, as the server does.
    fs::create_dir_all(folder.path().join("notes/2024-old")).unwrap();
    assert_eq!(find_models([folder.path()]).unwrap().len(), 1);
    assert!(find_models([folder.path(), folder.path()]).unwrap_err().to_string().contains("several repositories"));
}

#[test]
fn only_what_is_locked_may_be_served() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"network", 1).unwrap();
    let repository = bench.folder.path().join("models");
    bench.registry.export(&meant("m"), &repository, None, at(2)).unwrap();
    let found = || find_models([repository.as_path()]).unwrap();
    // What lies there has the digest that the registry knows.
    assert_eq!(found()["m"].versions[&1], bench.version("m").digest);
    let sources = bench.registry.sources().unwrap();
    let lock = LockFile::pin(&found(), |model, number, digest| sources.find(model, number, digest));
    assert_eq!(lock.models["m"].versions[&1].source.as_deref(), Some("mlflow://m/1"));
    assert_eq!(check_locked(&lock, &found()), []);
    fs::write(repository.join("m/config.pbtxt"), b"max_batch_size: 1").unwrap();
    let problems = check_locked(&lock, &found());
    assert!(matches!(problems[..], [LockProblem::Differs { version: None, .. }]), "{problems:?}");
    fs::remove_file(repository.join("m/config.pbtxt")).unwrap();
    fs::write(repository.join("m/1/model.onnx"), b"netwark").unwrap();
    fs::create_dir_all(repository.join("m/2")).unwrap();
    fs::create_dir_all(repository.join("stranger/1")).unwrap();
    let told: Vec<String> = check_locked(&lock, &found()).iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("version 1 of model `m`: expected `sha256:"), "{told:?}");
    assert_eq!(
        told[1..],
        ["version 2 of model `m` is not in the lock file", "model `stranger` is not in the lock file"]
    );
    fs::remove_dir_all(&repository).unwrap();
    fs::create_dir(&repository).unwrap();
    assert_eq!(check_locked(&lock, &found()), [LockProblem::Missing { model: "m".to_owned(), version: None }]);
}
