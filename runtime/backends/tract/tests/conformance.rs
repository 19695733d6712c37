//! The backend contract on every example model, and on larger ones where a folder of them is given.
//!
//! `HANOK_TEST_MODELS` names a folder in the layout of a model repository, whose models come with `golden*.json`;
//! without it that part says that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanok_backend::conformance::{Fixture, check};
use hanok_backend::{Backend, ErrorCode, ServingError};
use hanok_backend_tract::TractBackend;

fn backend() -> Result<Arc<dyn Backend>, ServingError> {
    Ok(Arc::new(TractBackend::new()))
}

/// Model folders below `repository` with the versions that hold an ONNX file.
fn models(repository: &Path) -> Vec<(PathBuf, Vec<u64>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository).unwrap() {
        let folder = entry.unwrap().path();
        let version = |version: &u64| folder.join(version.to_string()).join("model.onnx").exists();
        let versions: Vec<u64> = (1..10).filter(version).collect();
        if !versions.is_empty() {
            found.push((folder, versions));
        }
    }
    found.sort();
    found
}

fn check_all(repository: &Path) -> usize {
    let mut checked = 0;
    for (folder, versions) in models(repository) {
        for version in versions {
            let name = format!("{} version {version}", folder.file_name().unwrap().to_string_lossy());
            let fixture = Fixture::from_model_directory(&folder, version, Some("tract")).unwrap();
            assert!(!fixture.samples.is_empty(), "{name} has no golden samples");
            let report = check(&backend, &fixture).unwrap_or_else(|broken| panic!("{name}: {broken}"));
            eprintln!("{name}: {} clauses kept, {:?} skipped", report.kept.len(), report.skipped);
            checked += 1;
        }
    }
    checked
}

#[test]
fn example_models_keep_the_contract() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../models");
    assert!(check_all(&repository) >= 5);
}

/// Made by `tests/golden/make_model_goldens.py`.
#[test]
fn small_models_keep_the_contract() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models");
    assert!(check_all(&repository) >= 7);
}

fn refusal(config: &str, folder: &Path) -> ServingError {
    let mut fixture = Fixture::from_config_text("zipmap", config).unwrap();
    fixture.model_directory = folder.to_owned();
    TractBackend::new().load(&fixture.source()).unwrap_err()
}

#[test]
fn an_operator_that_is_missing_is_named_with_the_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/refused/zipmap");
    let config = |output: &str| {
        format!(
            "backend: \"tract\" max_batch_size: 4 input {{ name: \"x\" data_type: TYPE_FP32 dims: [ 2 ] }} \
             output {{ name: \"{output}\" data_type: TYPE_FP32 dims: [ 2 ] }}"
        )
    };
    let error = refusal(&config("y"), &folder);
    assert_eq!(error.code(), ErrorCode::Unsupported);
    for part in ["`ZipMap`", "zipmap", "scripts/setup"] {
        assert!(error.message().contains(part), "{part} is not in: {}", error.message());
    }
    // What the configured outputs do not need is left out of the graph, so the other output works.
    let mut fixture = Fixture::from_config_text("zipmap", &config("p")).unwrap();
    fixture.model_directory = folder.clone();
    TractBackend::new().load(&fixture.source()).unwrap();
    let error = refusal(&config("nothing"), &folder);
    assert_eq!(error.message(), "unexpected inference output 'nothing', allowed outputs are: y, p");
}

#[test]
fn configurations_that_contradict_the_graph_are_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models/dense");
    let config = |name: &str, kind: &str, dims: &str| {
        format!(
            "backend: \"tract\" max_batch_size: 4 input {{ name: \"{name}\" data_type: {kind} dims: {dims} }} \
             output {{ name: \"y\" data_type: TYPE_FP32 dims: [ 5 ] }}"
        )
    };
    for (name, kind, dims, part) in [
        ("z", "TYPE_FP32", "[ 16 ]", "unexpected inference input 'z', allowed inputs are: x"),
        ("x", "TYPE_FP64", "[ 16 ]", "the model expects data-type TYPE_FP32 but the model configuration specifies"),
        (
            "x",
            "TYPE_FP32",
            "[ 17 ]",
            "the model expects shape [-1,16] but the model configuration specifies shape [17]",
        ),
        ("x", "TYPE_FP32", "[ 4, 4 ]", "the model expects 2 dimensions (shape [-1,16])"),
        ("x", "TYPE_BF16", "[ 16 ]", "has data type BF16, which backend 'tract' does not have"),
    ] {
        let error = refusal(&config(name, kind, dims), &folder);
        assert!(error.message().contains(part), "{part} is not in: {}", error.message());
    }
}

#[test]
fn larger_models_keep_the_contract_or_are_refused() {
    let Some(repository) = std::env::var_os("HANOK_TEST_MODELS") else {
        eprintln!("skipped: HANOK_TEST_MODELS names no folder of larger models");
        return;
    };
    let only = std::env::var("HANOK_TEST_ONLY").unwrap_or_default();
    let mut checked = 0;
    for (folder, versions) in models(Path::new(&repository)) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let fixture = match Fixture::from_model_directory(&folder, versions[0], Some("tract")) {
            Ok(fixture) => fixture,
            Err(words) => {
                eprintln!("{name}: skipped, its configuration is no fixture: {words}");
                continue;
            }
        };
        let begin = std::time::Instant::now();
        match TractBackend::new().load(&fixture.source()) {
            Ok(model) => {
                eprintln!("{name}: loaded in {:?}, {} kB", begin.elapsed(), model.memory_bytes() / 1024);
                drop(model);
                let report = check(&backend, &fixture).unwrap_or_else(|broken| panic!("{name}: {broken}"));
                eprintln!("{name}: {} clauses kept in {:?}", report.kept.len(), begin.elapsed());
                checked += 1;
            }
            // What tract cannot compute is known; it must say so in words that help.
            Err(error) => {
                eprintln!("{name}: refused: {error}");
                assert_eq!(error.code(), ErrorCode::Unsupported, "{name}: {error}");
                assert!(error.message().contains("operator") && error.message().contains("scripts/setup"));
                assert!(!COMPUTED.iter().any(|computed| *computed == name), "{name} was computed once: {error}");
            }
        }
    }
    assert!(checked > 0);
}

/// Models that tract computes, where the folder has them.
const COMPUTED: &[&str] = &[
    "boosting_classifier",
    "forest_classifier",
    "forest_regressor",
    "magika",
    "resnet50",
    "silero_vad_fixed",
    "squeezenet",
    "tabular",
    "text_angle",
    "text_detection",
    "text_recognition",
];
