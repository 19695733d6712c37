//! The repository's models, and further ones in the folder that `HANOK_TEST_MODELS` names, against the contract:
//! answers must be those of the golden files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod library;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanok_backend::Backend;
use hanok_backend::conformance::{Fixture, check};
use hanok_backend_onnxruntime::OnnxRuntimeBackend;

/// Version folders with a model file.
fn versions(model: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(model).unwrap().filter_map(Result::ok);
    let versions = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    versions.filter(|version: &u64| model.join(version.to_string()).join("model.onnx").exists()).collect()
}

fn check_all(folder: &Path, backend: OnnxRuntimeBackend) -> usize {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.sort();
    let mut checked = 0;
    let mut failures = Vec::new();
    for model in folders.iter().filter(|path| path.join("golden.json").exists()) {
        for version in versions(model) {
            match check_one(model, version, backend) {
                Ok(line) => println!("{line}"),
                Err(failure) => failures.push(failure),
            }
            checked += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    checked
}

fn check_one(model: &Path, version: u64, backend: OnnxRuntimeBackend) -> Result<String, String> {
    let fixture = Fixture::from_model_directory(model, version, Some(OnnxRuntimeBackend::NAME))?;
    let name = &fixture.config.name;
    let factory = || Ok(Arc::new(backend) as Arc<dyn Backend>);
    let report = check(&factory, &fixture).map_err(|broken| format!("{name} version {version}: {broken}"))?;
    let (samples, kept) = (fixture.samples.len(), report.kept.len());
    Ok(format!("{name} version {version}: {samples} samples, {kept} clauses kept"))
}

#[test]
fn models_of_the_repository_conform() {
    let Some(backend) = library::backend() else { return };
    assert!(check_all(&library::workspace().join("models"), backend) >= 4);
}

#[test]
fn further_models_conform() {
    let Some(folder) = std::env::var_os("HANOK_TEST_MODELS") else {
        eprintln!("skipped: HANOK_TEST_MODELS names no folder with further models");
        return;
    };
    let Some(backend) = library::backend() else { return };
    assert!(check_all(Path::new(&folder), backend) > 0);
}
