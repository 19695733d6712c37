//! Versions in a model repository.

use std::fs;

use hanok_registry::{ErrorCode, RegistrySettings, VersionFacts};

use crate::bench::{Bench, at, meant};

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
    assert_eq!(fs::read_dir(&repository).unwrap().count(), 0);
}
