//! A real MLflow tracking server with real models, shared by the tests that run at the same time.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use hanok_sources::{Credentials, SourceSettings, Sources};
use serde_json::json;

use crate::python_server::{PythonServer, python};
use crate::settings;

pub(crate) struct MlflowServer {
    pub(crate) server: PythonServer,
}

impl MlflowServer {
    /// The server of all tests that are running, started by the first of them; gone with the last.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<MlflowServer>> = Mutex::new(Weak::new());
        let python = python()?;
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start(&python, &["--artifacts-destination", "{folder}/artifacts"], &[]));
        log_models(&python, &started.server.url(), &[]);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// Starts a server with further arguments.
    pub(crate) fn start(python: &Path, further: &[&str], environment: &[(&str, String)]) -> Self {
        let mut arguments = vec!["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"];
        arguments.extend(["--backend-store-uri", "sqlite:///{folder}/mlflow.db"]);
        arguments.extend(further);
        let mut environment = environment.to_vec();
        environment.push(("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false".to_owned()));
        Self { server: PythonServer::start(python, &arguments, &environment, "/health") }
    }

    /// Points `alias` of `name` at `version`.
    pub(crate) fn set_alias(&self, name: &str, alias: &str, version: u64) {
        let body = json!({"name": name, "alias": alias, "version": version.to_string()});
        self.server.post("POST", "/api/2.0/mlflow/registered-models/alias", &body);
    }

    /// Takes `alias` of `name` away.
    pub(crate) fn delete_alias(&self, name: &str, alias: &str) {
        self.server.post("DELETE", "/api/2.0/mlflow/registered-models/alias", &json!({"name": name, "alias": alias}));
    }

    /// Sources that know this server, and `more` variables.
    pub(crate) fn sources(&self, more: &[(&str, String)]) -> Sources {
        sources_of(&self.server.url(), more)
    }
}

/// Sources with the tracking server at `url`, and `more` variables.
pub(crate) fn sources_of(url: &str, more: &[(&str, String)]) -> Sources {
    let lookup = |name: &str| {
        let given = more.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
        given.or_else(|| (name == "MLFLOW_TRACKING_URI").then(|| url.to_owned()))
    };
    let credentials = Credentials::read(lookup, None).unwrap();
    Sources::new(SourceSettings { credentials, ..settings(&["127.0.0.1"]) }).unwrap()
}

/// Logs the models of the tests with MLflow's own client.
pub(crate) fn log_models(python: &Path, tracking: &str, environment: &[(&str, String)]) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(manifest.join("tests/sources/log_models.py"))
        .arg(tracking)
        .arg(manifest.join("../../models"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
