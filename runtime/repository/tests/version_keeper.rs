//! A keeper keeps from before a version is loaded until its last request is finished.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanok_backend_builtin::BuiltinBackend;
use hanok_repository::{
    BackendRegistry, ControlMode, KeptVersion, LoadRequest, ModelRepository, RepositorySettings, VersionKeeper,
};

/// Tells what is kept and what is let go.
#[derive(Debug)]
struct Telling(Mutex<Sender<String>>);

#[derive(Debug)]
struct Kept {
    name: String,
    told: Sender<String>,
}

impl VersionKeeper for Telling {
    fn keep(&self, model: &str, version: u64) -> KeptVersion {
        let kept = Kept { name: format!("{model}/{version}"), told: self.0.lock().unwrap().clone() };
        kept.told.send(format!("keep {}", kept.name)).unwrap();
        Box::new(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.told.send(format!("let go {}", self.name)));
    }
}

const CONFIGURATION: &str = r#"backend: "builtin" max_batch_size: 8
    input { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }
    parameters { key: "model" value { string_value: "identity" } } instance_group { kind: KIND_CPU count: 1 }"#;

fn repository(root: &Path) -> (ModelRepository, Receiver<String>) {
    fs::create_dir_all(root.join("one/1")).unwrap();
    fs::write(root.join("one/config.pbtxt"), CONFIGURATION).unwrap();
    let (told, heard) = channel();
    let settings = RepositorySettings {
        roots: vec![root.to_owned()],
        config_name: None,
        control_mode: ControlMode::Explicit,
        startup_models: Vec::new(),
        auto_complete: true,
        default_max_batch_size: 4,
        load_threads: 1,
        default_deadline: None,
        max_queue: 0,
        scratch_directory: root.join(".scratch"),
        gate: None,
        keeper: Some(Arc::new(Telling(Mutex::new(told)))),
        features: None,
        gpus: None,
    };
    let mut backends = BackendRegistry::default();
    backends.offer("builtin", Arc::new(BuiltinBackend::new()));
    (ModelRepository::new(settings, backends).unwrap(), heard)
}

#[test]
fn a_version_is_kept_until_its_last_request_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (repository, heard) = repository(folder.path());
    let next = || heard.recv_timeout(Duration::from_secs(60)).unwrap();
    repository.load("one", &LoadRequest::default()).unwrap();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["keep one/1"], "before the load is answered");
    // As a request does.
    let in_use = repository.ready().versions("one").pop().unwrap();
    repository.load("one", &LoadRequest::default()).unwrap();
    repository.unload("one").unwrap();
    // The reloaded version is let go, the one in use is not.
    assert_eq!([next(), next()], ["keep one/1", "let go one/1"]);
    assert!(heard.try_recv().is_err());
    drop(in_use);
    assert_eq!(next(), "let go one/1");
    fs::write(folder.path().join("one/config.pbtxt"), CONFIGURATION.replace("identity", "nothing")).unwrap();
    assert!(repository.load("one", &LoadRequest::default()).is_err());
    assert_eq!([next(), next()], ["keep one/1", "let go one/1"]);
}
