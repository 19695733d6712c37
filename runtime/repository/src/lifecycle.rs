//! Loading, reloading and unloading models: who may, in what order, and what the index says meanwhile.
//!
//! Operations on one model run one after another; on different models side by side. The snapshot that serves changes
//! only at the end of a successful load, or at the start of an unload.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_backend::{ErrorCode, ServingError};
use parking_lot::Mutex;

use crate::last_load::LastLoad;
use crate::layout::{FolderProblem, ModelFolder};
use crate::loading::LoadingContext;
use crate::model_state::ModelState;
use crate::override_files::OverrideFolder;
use crate::ready_models::unknown_model;
use crate::reload::{Kept, Occasion};
use crate::retirement::Retirement;
use crate::{
    BackendRegistry, FeatureSource, GpuDevices, IndexEntry, LoadGate, ModelRoots, ReadyModels, ReadyVersion,
    VersionKeeper, VersionState,
};

/// Who decides what is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlMode {
    /// Everything at start-up, and never again.
    #[default]
    None,
    /// The folders, looked at from time to time.
    Poll,
    /// Clients, by load and unload requests.
    Explicit,
}

/// What a repository is started with.
#[derive(Clone, Debug)]
pub struct RepositorySettings {
    /// Folders of models.
    pub roots: Vec<PathBuf>,
    /// Name of the configuration variant (`configs/NAME.pbtxt`) to prefer.
    pub config_name: Option<String>,
    /// Who decides what is loaded.
    pub control_mode: ControlMode,
    /// Models to load at start in mode explicit; `*` alone for all.
    pub startup_models: Vec<String>,
    /// Whether configurations are completed from model files.
    pub auto_complete: bool,
    /// Batch size of models that can batch and name none.
    pub default_max_batch_size: u32,
    /// Models loaded side by side at start.
    pub load_threads: usize,
    /// Longest time from receipt to answer of requests that bring no deadline.
    pub default_deadline: Option<Duration>,
    /// Most requests queued per model; 0 for no limit.
    pub max_queue: usize,
    /// Where files that come with a load request are put; private to this process.
    pub scratch_directory: PathBuf,
    /// Who may say no before a model is loaded. With one, load requests may bring neither configuration nor files.
    pub gate: Option<Arc<dyn LoadGate>>,
    /// Who keeps what is loaded from being removed.
    pub keeper: Option<Arc<dyn VersionKeeper>>,
    /// Who knows the feature services that configurations name.
    pub features: Option<Arc<dyn FeatureSource>>,
    /// The GPUs that models may use; `None` when none was asked for.
    pub gpus: Option<Arc<GpuDevices>>,
}

/// What a load request may bring.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// A configuration as JSON, in place of the folder's.
    pub config_json: Option<String>,
    /// Files `VERSION/NAME` that replace the folder's versions; needs a configuration.
    pub files: Vec<(String, Vec<u8>)>,
}

/// The models of this process.
#[derive(Debug)]
pub struct ModelRepository {
    roots: ModelRoots,
    control_mode: ControlMode,
    startup_models: Vec<String>,
    load_threads: usize,
    scratch_directory: PathBuf,
    gate: Option<Arc<dyn LoadGate>>,
    context: LoadingContext,
    ready: ReadyModels,
    states: Arc<Mutex<BTreeMap<String, ModelState>>>,
    operations: Mutex<BTreeMap<String, Arc<Mutex<LastLoad>>>>,
    retirement: Retirement,
}

impl ModelRepository {
    /// A repository that has loaded nothing yet.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn new(settings: RepositorySettings, backends: BackendRegistry) -> std::io::Result<Self> {
        Ok(Self {
            roots: ModelRoots::new(settings.roots, settings.config_name),
            control_mode: settings.control_mode,
            startup_models: settings.startup_models,
            load_threads: settings.load_threads.max(1),
            scratch_directory: settings.scratch_directory,
            gate: settings.gate,
            context: LoadingContext {
                backends,
                auto_complete: settings.auto_complete,
                default_max_batch_size: settings.default_max_batch_size,
                default_deadline: settings.default_deadline,
                max_queue: settings.max_queue,
                keeper: settings.keeper,
                features: settings.features,
                gpus: settings.gpus,
            },
            ready: ReadyModels::default(),
            states: Arc::default(),
            operations: Mutex::default(),
            retirement: Retirement::start()?,
        })
    }

    /// What serves right now.
    #[must_use]
    pub const fn ready(&self) -> &ReadyModels {
        &self.ready
    }

    /// The GPUs that models may use; `None` when none was asked for.
    #[must_use]
    pub fn gpus(&self) -> Option<&GpuDevices> {
        self.context.gpus.as_deref()
    }

    /// Who decides what is loaded.
    #[must_use]
    pub const fn control_mode(&self) -> ControlMode {
        self.control_mode
    }

    /// The backends on offer.
    #[must_use]
    pub const fn backends(&self) -> &BackendRegistry {
        &self.context.backends
    }

    /// Loads what the control mode asks for at start. Failures are logged and kept in the index. What loading took of
    /// memory is given back by [`release_loading_memory`](Self::release_loading_memory), which may wait.
    ///
    /// # Errors
    /// When a repository folder cannot be read at all.
    pub fn load_at_start(&self) -> std::io::Result<()> {
        let found = self.roots.model_names()?;
        let names: BTreeSet<String> = match self.control_mode {
            ControlMode::Explicit if self.startup_models.iter().any(|name| name == "*") => found,
            ControlMode::Explicit => self.startup_models.iter().cloned().collect(),
            ControlMode::None | ControlMode::Poll => found,
        };
        self.load_side_by_side(names.into_iter().collect());
        Ok(())
    }

    /// Gives memory back that only loading needed. Takes some milliseconds.
    pub fn release_loading_memory(&self) {
        for (_, backend) in self.context.backends.offered() {
            backend.release_loading_memory();
        }
    }

    fn load_side_by_side(&self, names: Vec<String>) {
        let threads = self.load_threads.min(names.len());
        let queue = Mutex::new(names.into_iter());
        std::thread::scope(|scope| {
            for index in 0..threads {
                let work = || {
                    while let Some(name) = { queue.lock().next() } {
                        // The failure is in the log and in the index already.
                        drop(self.load_now(&name, &LoadRequest::default(), Occasion::Asked));
                    }
                };
                let builder = std::thread::Builder::new().name(format!("hanok-load-{index}"));
                if let Err(error) = builder.spawn_scoped(scope, work) {
                    tracing::error!(%error, "a loading thread could not be started");
                }
            }
        });
    }

    /// Loads or reloads a model on behalf of a client. Blocks for as long as that takes.
    ///
    /// # Errors
    /// `Unavailable` when the control mode is not explicit (W-72); `NotFound` for an unknown model (Triton: INTERNAL);
    /// else what failed. A failed reload leaves the old versions serving.
    pub fn load(&self, name: &str, request: &LoadRequest) -> Result<(), ServingError> {
        self.require_explicit("load", name)?;
        let outcome = self.load_now(name, request, Occasion::Asked);
        self.release_loading_memory();
        outcome
    }

    /// Unloads a model on behalf of a client. Returns before its last requests are finished (W-73).
    ///
    /// # Errors
    /// `Unavailable` when the control mode is not explicit.
    pub fn unload(&self, name: &str) -> Result<(), ServingError> {
        self.require_explicit("unload", name)?;
        // A name that was never loaded is no error (W-73), and leaves no trace.
        if self.states.lock().contains_key(name) {
            self.unload_now(name, "unloaded");
        }
        Ok(())
    }

    /// Loads a model if its folder is not as it was when all of it was last loaded, whatever the control mode: for this
    /// process's own use. What could not be loaded is tried again. Versions whose files and configuration (but for the version policy) did not change go on as they are.
    /// Blocks for as long as that takes; [`release_loading_memory`](Self::release_loading_memory) is left to the caller.
    ///
    /// # Errors
    /// As [`load`](Self::load), but for the control mode.
    pub fn refresh(&self, name: &str) -> Result<(), ServingError> {
        self.load_now(name, &LoadRequest::default(), Occasion::Refreshed)
    }

    fn require_explicit(&self, verb: &str, name: &str) -> Result<(), ServingError> {
        if self.control_mode == ControlMode::Explicit {
            return Ok(());
        }
        Err(ServingError::unavailable(format!(
            "explicit model load / unload is not allowed if polling is enabled or model control mode is none; \
             start the server with --model-control-mode=explicit to {verb} '{name}'"
        )))
    }

    /// Looks at the folders once: loads what is new or changed, unloads what is gone.
    pub fn poll(&self) {
        let names = match self.roots.model_names() {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(%error, "the model repository cannot be read; what serves goes on serving");
                return;
            }
        };
        let gone: Vec<String> = self.states.lock().keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            if !self.ready.versions(&name).is_empty() {
                self.unload_now(&name, "removed from the repository");
            }
            self.states.lock().remove(&name);
        }
        for name in names {
            // The failure is in the log and in the index already.
            drop(self.load_now(&name, &LoadRequest::default(), Occasion::Polled));
        }
    }

    fn operation(&self, name: &str) -> Arc<Mutex<LastLoad>> {
        Arc::clone(self.operations.lock().entry(name.to_owned()).or_default())
    }

    fn load_now(&self, name: &str, request: &LoadRequest, occasion: Occasion) -> Result<(), ServingError> {
        if self.gate.is_some() && (request.config_json.is_some() || !request.files.is_empty()) {
            let reason = "this server loads models as they lie in its repository only";
            return Err(ServingError::invalid(format!("failed to load '{name}': {reason}")));
        }
        let override_folder = OverrideFolder::create(&self.scratch_directory, name, request)?;
        let folder = match &override_folder {
            Some(folder) => folder.as_model_folder(name)?,
            None => self.read_folder(name)?,
        };
        let operation = self.operation(name);
        let mut last = operation.lock();
        if last.suffices(occasion, &folder.fingerprint) {
            return Ok(());
        }
        let kept = Kept::since(last.loaded(), &folder, occasion);
        let outcome =
            self.admit(&folder).and_then(|()| self.load_folder(&folder, request.config_json.as_deref(), &kept));
        last.note(&folder.fingerprint, outcome.is_ok().then_some(override_folder));
        match &outcome {
            Ok(()) => self.forget_absent(&folder),
            Err(error) => {
                tracing::error!(model = name, %error, "loading failed");
                if self.ready.versions(name).is_empty() {
                    self.note_failure(&folder, error.message());
                }
            }
        }
        // Whatever fails while a model is loaded, Triton calls the model invalid (W-72).
        outcome.map_err(|error| error.with_triton_code(ErrorCode::InvalidArgument))
    }

    fn admit(&self, folder: &ModelFolder) -> Result<(), ServingError> {
        let Some(gate) = &self.gate else { return Ok(()) };
        gate.admit(&folder.name, &folder.directory)
            .map_err(|reason| ServingError::invalid(format!("failed to load '{}': {reason}", folder.name)))
    }

    /// Puts a failure that concerns no single version where the index shows it: at the highest version on disk.
    fn note_failure(&self, folder: &ModelFolder, reason: &str) {
        let mut states = self.states.lock();
        let state = states.entry(folder.name.clone()).or_default();
        match folder.versions.keys().next_back() {
            Some(&version) if !state.versions.contains_key(&version) => {
                state.set(version, VersionState::Unavailable, reason);
            }
            Some(_) => {}
            None => state.failure = Some(reason.to_owned()),
        }
    }

    /// Takes versions that could not be loaded and are not there any more out of the index.
    fn forget_absent(&self, folder: &ModelFolder) {
        if let Some(state) = self.states.lock().get_mut(&folder.name) {
            state.forget_failures(|version| !folder.versions.contains_key(&version));
        }
    }

    fn read_folder(&self, name: &str) -> Result<ModelFolder, ServingError> {
        self.roots.read(name).map_err(|problem| {
            let failed = |reason: &str| format!("failed to load '{name}', {reason}");
            match problem {
                FolderProblem::Name => ServingError::invalid(format!("'{name}' is not a model name")),
                FolderProblem::Missing => ServingError::not_found(failed("failed to poll from model repository"))
                    .with_triton_code(ErrorCode::Internal),
                FolderProblem::Ambiguous => {
                    ServingError::invalid(failed("several repositories have a model of that name"))
                }
                FolderProblem::Unreadable(error) => {
                    ServingError::internal(failed("its folder cannot be read")).with_operator_detail(error.to_string())
                }
            }
        })
    }

    /// Loads every version that the policy asks for; swaps when done. Versions that fail keep what they had.
    fn load_folder(&self, folder: &ModelFolder, config_json: Option<&str>, kept: &Kept) -> Result<(), ServingError> {
        let name = folder.name.as_str();
        let plan = self.context.plan(folder, config_json)?;
        let before = self.ready.versions(name);
        let mut serving: Vec<Arc<ReadyVersion>> = Vec::new();
        let mut first_failure = None;
        for &version in &plan.versions {
            let old = before.iter().find(|ready| ready.version == version);
            if old.is_none() {
                self.set_state(name, version, VersionState::Loading, "");
            }
            if let Some(old) = old.filter(|old| kept.whole(old, &plan.config)) {
                serving.push(Arc::clone(old));
                continue;
            }
            // A change of nothing but the instances is no new model: its counters go on (W-75).
            let counters = old.filter(|old| kept.counters(old, &plan.config)).map(|old| Arc::clone(&old.statistics));
            match self.context.load_version(folder, &plan.config, version, counters) {
                Ok(ready) => {
                    tracing::info!(model = name, version, seconds = ready.load_seconds, "ready");
                    serving.push(ready);
                }
                Err(error) => {
                    tracing::error!(model = name, version, %error, "loading failed");
                    match old {
                        Some(old) => serving.push(Arc::clone(old)),
                        None => self.set_state(name, version, VersionState::Unavailable, error.message()),
                    }
                    first_failure.get_or_insert(error);
                }
            }
        }
        if serving.is_empty() {
            // Nothing new serves; whatever served before goes on.
            return Err(first_failure.unwrap_or_else(|| unknown_model(name, None)));
        }
        let versions: BTreeSet<u64> = serving.iter().map(|ready| ready.version).collect();
        let replaced = self.ready.replace(name, serving.clone());
        for &version in &versions {
            self.set_state(name, version, VersionState::Ready, "");
        }
        for old in replaced {
            if serving.iter().any(|ready| Arc::ptr_eq(ready, &old)) {
                continue;
            }
            if versions.contains(&old.version) {
                self.retirement.retire(old, || {});
            } else {
                self.retire(name, old, "unloaded");
            }
        }
        match first_failure {
            None => Ok(()),
            Some(error) => {
                Err(ServingError::new(error.code(), format!("failed to load '{name}': {}", error.message()))
                    .with_operator_detail(error.operator_detail().unwrap_or_default()))
            }
        }
    }

    fn unload_now(&self, name: &str, reason: &'static str) {
        let operation = self.operation(name);
        let mut last = operation.lock();
        for old in self.ready.replace(name, Vec::new()) {
            self.retire(name, old, reason);
        }
        *last = LastLoad::default();
        tracing::info!(model = name, reason, "unloaded");
    }

    fn retire(&self, name: &str, old: Arc<ReadyVersion>, reason: &'static str) {
        let version = old.version;
        self.set_state(name, version, VersionState::Unloading, "");
        let states = Arc::clone(&self.states);
        let name = name.to_owned();
        self.retirement.retire(old, move || {
            let mut states = states.lock();
            // A load that came meanwhile has the last word.
            if let Some(state) = states.get_mut(&name)
                && state.versions.get(&version).is_some_and(|(state, _)| *state == VersionState::Unloading)
            {
                state.set(version, VersionState::Unavailable, reason);
            }
        });
    }

    fn set_state(&self, name: &str, version: u64, state: VersionState, reason: &str) {
        let mut states = self.states.lock();
        let model = states.entry(name.to_owned()).or_default();
        model.failure = None;
        model.set(version, state, reason);
    }

    /// The index: every model on disk or in memory (W-70).
    #[must_use]
    pub fn index(&self, ready_only: bool) -> Vec<IndexEntry> {
        let mut names = self.roots.model_names().unwrap_or_default();
        let states = self.states.lock();
        names.extend(states.keys().cloned());
        let mut entries = Vec::new();
        for name in names {
            match states.get(&name) {
                Some(state) => state.entries(&name, ready_only, &mut entries),
                None => ModelState::default().entries(&name, ready_only, &mut entries),
            }
        }
        entries
    }

    /// State of one version as the index has it, for errors that tell loading from unknown (W-17).
    #[must_use]
    pub fn version_state(&self, name: &str, version: Option<u64>) -> Option<VersionState> {
        let states = self.states.lock();
        let versions = &states.get(name)?.versions;
        match version {
            Some(version) => versions.get(&version).map(|(state, _)| *state),
            None => versions.values().next_back().map(|(state, _)| *state),
        }
    }

    /// Whether every model that was to be loaded serves, and is healthy.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        let states = self.states.lock();
        let failed = states.values().any(|state| {
            state.failure.is_some()
                || state.versions.values().any(|(state, reason)| match state {
                    VersionState::Loading => true,
                    VersionState::Unavailable => reason != "unloaded",
                    VersionState::Ready | VersionState::Unloading => false,
                })
        });
        drop(states);
        !failed && self.ready.all().iter().all(|version| version.scheduler.is_healthy())
    }

    /// Refuses new work in every scheduler and waits until what they have is executed; false when `until` came first.
    /// Blocks.
    #[must_use]
    pub fn drain(&self, until: Instant) -> bool {
        let versions = self.ready.all();
        for version in &versions {
            version.scheduler.drain();
        }
        versions.iter().all(|version| version.scheduler.wait_drained(until))
    }
}
