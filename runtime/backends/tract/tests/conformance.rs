//! The backend contract on every example model, and on larger ones where a folder of them is given.
//!
//! `HANOK_TEST_MODELS` names a folder in the layout of a model repository, whose models come with `golden*.json`;
//! without it that part says that it is skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanok_backend::conformance::{Fixture, check};
use hanok_backend::{Backend, ServingError};
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

#[test]
fn larger_models_keep_the_contract() {
    let Some(repository) = std::env::var_os("HANOK_TEST_MODELS") else {
        eprintln!("skipped: HANOK_TEST_MODELS names no folder of larger models");
        return;
    };
    assert!(check_all(Path::new(&repository)) > 0);
}
