//! A gate that says no: nothing is loaded past it, and what serves goes on serving.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hanok_backend_builtin::BuiltinBackend;
use hanok_repository::{BackendRegistry, ControlMode, LoadGate, LoadRequest, ModelRepository, RepositorySettings};

/// Admits folders without a file `altered`.
#[derive(Debug)]
struct Unaltered;

impl LoadGate for Unaltered {
    fn admit(&self, model: &str, folder: &Path) -> Result<(), String> {
        if folder.join("altered").exists() { Err(format!("`{model}` was altered")) } else { Ok(()) }
    }
}

const CONFIGURATION: &str = r#"backend: "builtin" max_batch_size: 8
    input { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }
    parameters { key: "model" value { string_value: "identity" } } instance_group { kind: KIND_CPU count: 1 }"#;

fn repository(root: &Path, gate: Option<Arc<dyn LoadGate>>) -> ModelRepository {
    for model in ["one", "two"] {
        fs::create_dir_all(root.join(model).join("1")).unwrap();
        fs::write(root.join(model).join("config.pbtxt"), CONFIGURATION).unwrap();
    }
    let settings = RepositorySettings {
        roots: vec![root.to_owned()],
        config_name: None,
        control_mode: ControlMode::Explicit,
        startup_models: vec!["*".to_owned()],
        auto_complete: true,
        default_max_batch_size: 4,
        load_threads: 1,
        default_deadline: None,
        max_queue: 0,
        scratch_directory: root.join(".scratch"),
        gate,
        keeper: None,
        features: None,
        gpus: None,
    };
    let mut backends = BackendRegistry::default();
    backends.offer("builtin", Arc::new(BuiltinBackend::new()));
    ModelRepository::new(settings, backends).unwrap()
}

#[test]
fn what_the_gate_refuses_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let repository = repository(folder.path(), Some(Arc::new(Unaltered)));
    fs::write(folder.path().join("two/altered"), "").unwrap();
    repository.load_at_start().unwrap();
    let serving: Vec<String> = repository.ready().all().iter().map(|version| version.model.to_string()).collect();
    assert_eq!(serving, ["one"]);
    let error = repository.load("two", &LoadRequest::default()).unwrap_err();
    assert_eq!(error.message(), "failed to load 'two': `two` was altered");
    // What serves goes on serving when its folder was altered meanwhile.
    fs::write(folder.path().join("one/altered"), "").unwrap();
    assert!(repository.load("one", &LoadRequest::default()).is_err());
    repository.poll();
    assert_eq!(repository.ready().versions("one").len(), 1);
    fs::remove_file(folder.path().join("one/altered")).unwrap();
    repository.load("one", &LoadRequest::default()).unwrap();
}

#[test]
fn behind_a_gate_a_load_request_brings_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let request = LoadRequest { config_json: Some("{}".to_owned()), files: vec![("1/model".to_owned(), vec![1])] };
    let configuration = LoadRequest { files: Vec::new(), ..request.clone() };
    let gated = repository(folder.path(), Some(Arc::new(Unaltered)));
    for request in [&request, &configuration] {
        let error = gated.load("one", request).unwrap_err();
        assert!(error.message().ends_with("loads models as they lie in its repository only"), "{error}");
    }
    assert!(gated.ready().all().is_empty());
}
