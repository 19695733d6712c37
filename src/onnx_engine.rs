//! Which engine serves ONNX models: ONNX Runtime where it is found and can be opened, else tract.
//!
//! Looking for the library is quick and comes first; opening it takes longer than all the rest of a start, so a server
//! opens it beside the rest. Whoever needs the engine waits until it is open, and nobody else does.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use hanok_backend::{Backend, Model, ModelSource, ServingError};
use hanok_backend_onnxruntime::{LibrarySearch, OnnxRuntimeBackend, SearchReport, locate};
use hanok_devices::PinnedPool;
use hanok_repository::GpuDevices;

use crate::app::BackendSettings;
use crate::commands::error::CommandError;
use crate::gpus::GpuUse;
use crate::settings::Surroundings;

/// How to get the faster engine.
pub(crate) const GET_ONNXRUNTIME: &str =
    "run `scripts/setup` in the project, or `pip install onnxruntime` in an active virtual environment";

/// The choice of the engine, and ONNX Runtime as soon as somebody opened it.
#[derive(Debug)]
pub(crate) struct OnnxEngine {
    /// Where the library was looked for.
    pub(crate) search: SearchReport,
    /// Whether the settings leave no other choice than ONNX Runtime.
    required: bool,
    /// The library that is wanted; none when there is none, or when the settings ask for tract.
    library: Option<PathBuf>,
    gpus: Option<GpuUse>,
    opened: OnceLock<Result<OnnxRuntimeBackend, String>>,
}

impl OnnxEngine {
    /// Looks for ONNX Runtime, unless the settings ask for tract. Opens nothing.
    ///
    /// # Errors
    /// When the settings name no engine, or ask for ONNX Runtime where there is none.
    pub(crate) fn choose(
        settings: &BackendSettings,
        surroundings: &Surroundings,
        gpus: Option<GpuUse>,
    ) -> Result<Self, CommandError> {
        let setting = |backend: &str, key: &str| settings.get(backend).and_then(|keys| keys.get(key));
        let engine = setting("onnx", "engine").map_or("auto", String::as_str);
        if !matches!(engine, "auto" | "tract" | "onnxruntime") {
            return Err(CommandError::input(format!(
                "--backend-config=onnx,engine={engine}: expected `auto`, `tract` or `onnxruntime`, got `{engine}`"
            )));
        }
        let flag = setting("onnxruntime", "library").map(PathBuf::from);
        let asked_for = flag.is_some() || engine == "onnxruntime";
        let search = locate(&LibrarySearch {
            flag,
            environment: surroundings.onnxruntime_library.clone(),
            executable_directory: surroundings.executable_directory.clone(),
            project_directory: Some(surroundings.project_library_directory.clone()),
            virtual_environment: surroundings.virtual_environment.clone(),
            working_directory: surroundings.working_directory.clone(),
            path_directories: surroundings.path_directories.clone(),
            home_directory: surroundings.home_directory.clone(),
        });
        let wanted = engine != "tract";
        let required = wanted && asked_for;
        if required && search.found.is_none() {
            return Err(unusable("no library was found"));
        }
        let library = search.found.as_ref().filter(|_| wanted).map(|found| found.path.clone());
        Ok(Self { search, required, library, gpus, opened: OnceLock::new() })
    }

    /// Whether opening the engine takes time.
    pub(crate) const fn is_to_be_opened(&self) -> bool {
        self.library.is_some()
    }

    /// ONNX Runtime, or why it cannot be used although it was found; nothing when it is not wanted. Opens it, or waits
    /// for whoever does.
    fn opened(&self) -> Option<Result<&OnnxRuntimeBackend, &str>> {
        let library = self.library.as_deref()?;
        let opened = self.opened.get_or_init(|| {
            let backend = OnnxRuntimeBackend::open(library).map_err(|error| error.to_string())?;
            if let Some(gpus) = &self.gpus {
                gpus.give_to(&backend);
            }
            Ok(backend)
        });
        Some(opened.as_ref().map_err(String::as_str))
    }

    /// ONNX Runtime, where it can be used. Opens it.
    pub(crate) fn onnxruntime(&self) -> Option<&OnnxRuntimeBackend> {
        self.opened()?.ok()
    }

    /// The GPUs that models may use.
    pub(crate) fn gpus(&self) -> Option<&Arc<GpuDevices>> {
        self.gpus.as_ref().map(|used| &used.gpus)
    }

    /// What may be pinned for copies to and from them.
    pub(crate) fn pinned(&self) -> Option<&Arc<PinnedPool>> {
        self.gpus.as_ref().map(|using| &using.pinned)
    }

    /// Why ONNX Runtime cannot be used although it was found.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.opened()?.err()
    }

    /// Fails where the settings ask for ONNX Runtime and it cannot be used; waits for nothing where they do not.
    pub(crate) fn check_required(&self) -> Result<(), CommandError> {
        match self.required.then(|| self.failure()).flatten() {
            Some(failure) => Err(unusable(failure)),
            None => Ok(()),
        }
    }

    /// One line on which engine serves ONNX models, for the log and the doctor. Opens it.
    pub(crate) fn summary(&self) -> String {
        match (self.opened(), &self.search.found) {
            (Some(Ok(backend)), Some(found)) => {
                format!("ONNX models are served by ONNX Runtime {} ({})", backend.version(), found.how)
            }
            (Some(Err(failure)), _) => {
                format!("ONNX models are served by tract: ONNX Runtime was found and cannot be used: {failure}")
            }
            (None, Some(_)) => "ONNX models are served by tract, as asked for".to_owned(),
            _ if cfg!(feature = "tract") => format!(
                "ONNX models are served by tract, which is inside this binary; ONNX Runtime would be up to four times \
                 faster: {GET_ONNXRUNTIME}"
            ),
            _ => format!(
                "ONNX models cannot be served: this binary has no tract, and no ONNX Runtime was found; \
                 {GET_ONNXRUNTIME}"
            ),
        }
    }
}

fn unusable(why: &str) -> CommandError {
    CommandError::failed(format!("ONNX Runtime was asked for and cannot be used: {why}; {GET_ONNXRUNTIME}"))
}

/// The backend of ONNX models, under whatever engine it turns out to be.
#[derive(Debug)]
pub(crate) struct EngineBackend {
    engine: Arc<OnnxEngine>,
    otherwise: Option<Arc<dyn Backend>>,
}

impl EngineBackend {
    /// ONNX Runtime, and `otherwise` where it cannot be used; nothing when there is neither.
    pub(crate) fn new(engine: &Arc<OnnxEngine>, otherwise: Option<Arc<dyn Backend>>) -> Option<Self> {
        let some = engine.library.is_some() || otherwise.is_some();
        some.then(|| Self { engine: Arc::clone(engine), otherwise })
    }

    fn chosen(&self) -> Result<&dyn Backend, ServingError> {
        match (self.engine.opened(), &self.otherwise) {
            (Some(Ok(backend)), _) => Ok(backend),
            (_, Some(otherwise)) => Ok(otherwise.as_ref()),
            (failed, None) => {
                let detail = failed.and_then(Result::err).unwrap_or_default();
                Err(ServingError::unavailable("ONNX Runtime cannot be used, and this binary has no other engine")
                    .with_operator_detail(detail))
            }
        }
    }
}

impl Backend for EngineBackend {
    fn name(&self) -> &'static str {
        self.chosen().map_or(OnnxRuntimeBackend::NAME, Backend::name)
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError> {
        self.chosen()?.load(source)
    }

    fn executes_on_gpus(&self) -> bool {
        self.chosen().is_ok_and(|backend| backend.executes_on_gpus())
    }

    fn release_loading_memory(&self) {
        if let Ok(backend) = self.chosen() {
            backend.release_loading_memory();
        }
    }
}
