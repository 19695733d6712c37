//! A control plane on a store of its own, over test runtimes, with a clock that only the test moves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hanok_api::{
    AdminSettings, Clock, ControlPlane, ControlSettings, DeclaredPlace, DeclaredSettings, RunningControlPlane,
    RuntimePort,
};
use hanok_registry::{Registry, RegistrySettings};
use hanok_state::{StateStore, StoreSettings};
use serde_json::Value;

use crate::http_client::{HttpAnswer, send};
use crate::router_runtime::RouterRuntime;
use crate::webhooks::WordReceiver;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: u64 = 1_767_225_600_000;

pub(crate) struct Bench {
    pub(crate) runtime: Arc<RouterRuntime>,
    pub(crate) plane: Option<RunningControlPlane>,
    pub(crate) now: Arc<AtomicU64>,
    /// Where it looks for declarations when it is told to; a folder that does not exist unless a test makes it.
    pub(crate) place: Option<DeclaredPlace>,
    pub(crate) correct_drift: bool,
    folder: tempfile::TempDir,
    others: Vec<Arc<dyn RuntimePort>>,
    store: Option<StateStore>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with_others(Vec::new()).await
    }

    pub(crate) async fn with_others(others: Vec<Arc<dyn RuntimePort>>) -> Self {
        let mut bench = Self {
            runtime: RouterRuntime::new("local", 1),
            plane: None,
            now: Arc::new(AtomicU64::new(START)),
            place: None,
            correct_drift: true,
            folder: tempfile::tempdir().unwrap(),
            others,
            store: None,
        };
        bench.open().await;
        bench
    }

    pub(crate) fn registry_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("registry")
    }

    pub(crate) fn declared_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("declared")
    }

    pub(crate) fn settings(&self) -> ControlSettings {
        let now = Arc::clone(&self.now);
        ControlSettings {
            admin: AdminSettings::default(),
            webhooks: Some(Arc::new(WordReceiver::default())),
            // Only `tick()` ticks.
            tick: Duration::from_secs(86_400),
            checkpoint: Duration::from_millis(500),
            patience: Duration::from_secs(5),
            registry: Some(Arc::new(Registry::open(&self.registry_folder(), RegistrySettings::default()).unwrap())),
            declared: Some(DeclaredSettings {
                place: self.place.clone().unwrap_or_else(|| DeclaredPlace::Folder(self.declared_folder())),
                // Only `look` and `sync` look.
                poll: Duration::from_secs(86_400),
                correct_drift: self.correct_drift,
                beside: self.folder.path().join("bare"),
            }),
            clock: Clock::new(move || now.load(Ordering::SeqCst)),
            ..ControlSettings::default()
        }
    }

    async fn open(&mut self) {
        let path = self.folder.path().join("state.db");
        let store = StateStore::open_sqlite(&path, StoreSettings::default()).unwrap();
        self.store = Some(store.clone());
        let mut runtimes: Vec<Arc<dyn RuntimePort>> = vec![Arc::clone(&self.runtime) as Arc<dyn RuntimePort>];
        runtimes.extend(self.others.iter().cloned());
        self.plane = Some(ControlPlane::start(self.settings(), runtimes, store).await.unwrap());
        self.tick().await;
    }

    /// Stops the control plane and starts it again on the same store.
    pub(crate) async fn restart(&mut self) {
        self.plane.take().unwrap().stop().await;
        self.store.take().unwrap().close().await.unwrap();
        self.open().await;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.plane.as_ref().unwrap().address()
    }

    pub(crate) fn store(&self) -> &StateStore {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) async fn tick(&self) {
        self.plane.as_ref().unwrap().tick().await;
    }

    /// Lets time pass, then ticks.
    pub(crate) async fn pass(&self, milliseconds: u64) {
        self.now.fetch_add(milliseconds, Ordering::SeqCst);
        self.tick().await;
    }

    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> HttpAnswer {
        let (address, method, path, body) = (self.address(), method.to_owned(), path.to_owned(), body.to_owned());
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sending = tokio::task::spawn_blocking(move || {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            send(address, &method, &path, &headers, &body)
        });
        sending.await.unwrap().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Applies YAML that must be applied.
    pub(crate) async fn apply(&self, yaml: &str) -> Value {
        let answer = self.call("POST", "/v1/apply", &[("content-type", "application/yaml")], yaml).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub(crate) async fn phase(&self, rollout: &str) -> Value {
        self.get(&format!("/v1/rollouts/{rollout}")).await["phase"].clone()
    }

    /// Types of all journal records.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        let page = self.get("/v1/journal?limit=1000").await;
        let events = page["events"].as_array().unwrap().iter();
        events.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) const TRAFFIC: &str = "\
apiVersion: hanok.dev/v1
kind: Traffic
metadata: {name: flight_delay}
spec:
  arms:
    - {name: stable, version: 1, weight: 100}
    - {name: canary, version: 2, weight: 0}
";

/// A rollout by samples, with one guard on errors and no margin.
pub(crate) fn rollout(name: &str, weights: &[f64], samples: u64) -> String {
    let steps: Vec<String> =
        weights.iter().map(|weight| format!("    - {{weight: {weight}, minimum_samples: {samples}}}\n")).collect();
    format!(
        "apiVersion: hanok.dev/v1\nkind: Rollout\nmetadata: {{name: {name}}}\nspec:\n  traffic: flight_delay\n  \
         baseline: stable\n  candidate: canary\n  steps:\n{}  metrics:\n    - {{name: errors, kind: error_rate}}\n  \
         alpha_rollback: 0.01\n",
        steps.concat()
    )
}
