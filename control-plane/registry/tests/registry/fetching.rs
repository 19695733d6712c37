//! Folders that a source or a person has filled: only what was promised becomes a version, and all of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use hanok_registry::{
    Digest, ErrorCode, LocalFiles, Origin, Provenance, RegistryError, RegistrySettings, VersionFacts,
};

use crate::bench::{Bench, actor, files_below, local, meant};

fn fetched(bench: &Bench) -> PathBuf {
    let folder = bench.folder.path().join("fetched");
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::write(folder.join("model.onnx"), b"network").unwrap();
    fs::write(folder.join("data/weights"), b"weights").unwrap();
    folder
}

fn promise(files: &[(&str, &[u8])]) -> Provenance {
    let digests: BTreeMap<String, Digest> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), Digest::of(bytes))).collect();
    let origin = Origin { asked: "mlflow://flights@champion".into(), pinned: "mlflow://flights/7".into() };
    let facts = VersionFacts { tags: [("run".to_owned(), "r1".to_owned())].into(), ..VersionFacts::default() };
    Provenance { origin, revision: Some(Digest::of(b"first")), digests, facts }
}

#[test]
fn what_was_promised_becomes_a_version() {
    let bench = Bench::new(RegistrySettings::default());
    let folder = fetched(&bench);
    let import = |provenance: &Provenance| bench.registry.import_fetched("f", &folder, provenance, &actor("ann", 1));
    let whole = promise(&[("model.onnx", b"network"), ("data/weights", b"weights")]);
    let registered = import(&whole).unwrap();
    assert!(registered.new);
    assert_eq!(registered.version.facts.origin, Some(whole.origin.clone()));
    assert_eq!(registered.version.facts.tags["run"], "r1");
    // Nothing promised, nothing compared; and the folder is as it was.
    assert!(!import(&Provenance { digests: BTreeMap::new(), ..whole.clone() }).unwrap().new);
    assert_eq!(files_below(&folder).len(), 2);
    // What the source tells differently later changes nothing of what is on record.
    let retold = Provenance { facts: VersionFacts::default(), ..whole };
    assert!(!import(&retold).unwrap().new);
    assert_eq!(bench.version("f").facts.tags["run"], "r1");
}

/// A name and a number of elsewhere can be given anew, and may be those of another server.
#[test]
fn a_reference_is_known_by_the_revision_that_its_source_told() {
    let bench = Bench::new(RegistrySettings::default());
    let folder = fetched(&bench);
    let import = |content: &[u8], revision: Option<&[u8]>| {
        fs::write(folder.join("model.onnx"), content).unwrap();
        let provenance = Provenance { revision: revision.map(Digest::of), digests: BTreeMap::new(), ..promise(&[]) };
        bench.registry.import_fetched("f", &folder, &provenance, &actor("ann", 1)).unwrap().version.name.number
    };
    let known = |pinned: &str, revision: &[u8]| {
        bench.registry.pulled("f", pinned, &Digest::of(revision)).unwrap().map(|name| name.number)
    };
    let pinned = "mlflow://flights/7";
    // As registries of before have it: without a revision nothing is known, and everything readable.
    assert_eq!(import(b"network", None), 1);
    assert_eq!(known(pinned, b"first"), None);
    assert_eq!(import(b"network", Some(b"first")), 1);
    assert_eq!((known(pinned, b"first"), known(pinned, b"second")), (Some(1), None));
    assert_eq!(known("mlflow://flights/8", b"first"), None);
    assert_eq!(import(b"another", Some(b"second")), 2);
    assert_eq!((known(pinned, b"first"), known(pinned, b"second")), (Some(1), Some(2)));
    // The same bytes from another server are the same version.
    assert_eq!(import(b"network", Some(b"third")), 1);
    assert_eq!((known(pinned, b"first"), known(pinned, b"third")), (Some(1), Some(1)));
}

#[test]
fn what_was_not_promised_leaves_nothing() {
    let bench = Bench::new(RegistrySettings::default());
    let folder = fetched(&bench);
    let refused = |files: &[(&str, &[u8])]| -> RegistryError {
        bench.registry.import_fetched("f", &folder, &promise(files), &actor("ann", 1)).unwrap_err()
    };
    let altered = refused(&[("model.onnx", b"netwark"), ("data/weights", b"weights")]);
    let (expected, actual) = (Digest::of(b"netwark"), Digest::of(b"network"));
    let text = format!("`model.onnx` is not what was promised: expected `{expected}`, got `{actual}`");
    assert_eq!((altered.code(), altered.to_string()), (ErrorCode::DataLoss, text));
    let missing = refused(&[("model.onnx", b"network"), ("data/weights", b"weights"), ("more", b"m")]);
    assert!(missing.to_string().starts_with("`more` is not what was promised"), "{missing}");
    assert!(missing.to_string().ends_with("got nothing"), "{missing}");
    let strange = refused(&[("model.onnx", b"network")]);
    let text = format!("`data/weights` is not what was promised: expected nothing, got `{}`", Digest::of(b"weights"));
    assert_eq!((strange.code(), strange.to_string()), (ErrorCode::DataLoss, text));
    assert!(bench.registry.models().unwrap().is_empty());
    assert_eq!(files_below(&bench.root().join("blobs")).len() + files_below(&bench.root().join("staging")).len(), 0);
}

#[test]
fn a_configuration_may_lie_elsewhere() {
    let bench = Bench::new(RegistrySettings::default());
    let model = bench.folder.path().join("flights");
    fs::create_dir_all(model.join("3")).unwrap();
    fs::write(model.join("3/model.onnx"), b"network").unwrap();
    fs::write(model.join("config.pbtxt"), b"max_batch_size: 8").unwrap();
    let add = |files: &LocalFiles| bench.registry.add("f", files, &VersionFacts::default(), &actor("ann", 1));
    // The whole model's folder is a mistake, and the text says what to do.
    let error = add(&local(&model)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.to_string().ends_with("with the version folder `3`; name that folder"), "{error}");
    let files = LocalFiles { configuration: Some(model.join("config.pbtxt")), ..local(&model.join("3")) };
    add(&files).unwrap();
    let manifest = bench.registry.record(&meant("f")).unwrap().manifest;
    assert_eq!(manifest.files().keys().collect::<Vec<_>>(), ["config.pbtxt", "model.onnx"]);
    let absent = LocalFiles { configuration: Some(model.join("none")), ..files };
    let error = add(&absent).unwrap_err();
    assert!(error.to_string().starts_with("path: `config.pbtxt` cannot be read"), "{error}");
}
