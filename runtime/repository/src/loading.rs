//! From a folder to a version that is ready: configuration, backend, instances, warm-up.
//!
//! Runs on loading threads only. Nothing here touches what serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_backend::{ErrorCode, ModelSource, ServingError};
use hanok_model_config::{
    CompletionFacts, LoadedConfig, ModelConfig, ModelSignature, VersionPolicy, load_wire_config, parse_json,
    parse_pbtxt, read_onnx_signature,
};
use hanok_scheduler::{ModelScheduler, SchedulerSettings};
use hanok_telemetry::ModelStatistics;

use crate::feature_step::{FeatureSource, step_of};
use crate::gpu_devices::{absence, needs_placing};
use crate::layout::ModelFolder;
use crate::warmup::warm_up;
use crate::{BackendRegistry, GpuDevices, ReadyVersion, VersionKeeper, versions_to_serve};

/// What every load of this process shares.
#[derive(Debug)]
pub(crate) struct LoadingContext {
    pub(crate) backends: BackendRegistry,
    pub(crate) auto_complete: bool,
    pub(crate) default_max_batch_size: u32,
    pub(crate) default_deadline: Option<Duration>,
    pub(crate) max_queue: usize,
    pub(crate) keeper: Option<Arc<dyn VersionKeeper>>,
    pub(crate) features: Option<Arc<dyn FeatureSource>>,
    pub(crate) gpus: Option<Arc<GpuDevices>>,
}

/// A model's configuration, and the versions that it asks for.
#[derive(Debug)]
pub(crate) struct LoadPlan {
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) versions: Vec<u64>,
}

impl LoadingContext {
    /// Reads, completes and validates the configuration of `folder`, or of `override_json` in its place.
    pub(crate) fn plan(&self, folder: &ModelFolder, override_json: Option<&str>) -> Result<LoadPlan, ServingError> {
        let loaded = self.configuration(folder, override_json)?;
        for filled in &loaded.filled {
            tracing::info!(
                model = folder.name,
                field = filled.path,
                value = filled.value,
                reason = filled.reason,
                "configuration completed"
            );
        }
        for notice in &loaded.notices {
            tracing::warn!(model = folder.name, field = notice.path, "{}", notice.message);
        }
        let available: Vec<u64> = folder.versions.keys().copied().collect();
        let (versions, missing) = versions_to_serve(&loaded.config.version_policy, &available);
        if !missing.is_empty() {
            tracing::warn!(model = folder.name, ?missing, "the version policy names versions that have no folder");
        }
        if versions.is_empty() {
            return Err(ServingError::invalid(format!(
                "at least one version must be available under the version policy of model '{}'",
                folder.name
            )));
        }
        Ok(LoadPlan { config: Arc::new(loaded.config), versions })
    }

    fn configuration(&self, folder: &ModelFolder, override_json: Option<&str>) -> Result<LoadedConfig, ServingError> {
        let invalid = |error: hanok_model_config::ConfigError| {
            ServingError::invalid(format!("configuration of model '{}': {error}", folder.name))
        };
        if folder.config_text.is_none() && override_json.is_none() && !self.auto_complete {
            return Err(ServingError::invalid(format!(
                "model '{}' has no config.pbtxt and completion of configurations is switched off",
                folder.name
            )));
        }
        let text = folder.config_text.as_deref().unwrap_or_default();
        let wire = match override_json {
            Some(json) => parse_json(json).map_err(invalid)?,
            None => parse_pbtxt(text).map_err(invalid)?,
        };
        let absence = self.gpu_absence(&wire.backend, &folder.files);
        let facts = CompletionFacts {
            model_files: folder.files.clone(),
            default_max_batch_size: self.default_max_batch_size,
            gpu_available: absence.is_none(),
            gpu_absence: absence.unwrap_or_default(),
            ..CompletionFacts::new(folder.name.clone())
        };
        let file_name = match wire.default_model_filename.as_str() {
            "" => "model.onnx",
            name => name,
        };
        let wanted = VersionPolicy::declared(&wire);
        let signature = if self.auto_complete { graph_signature(folder, file_name, &wanted)? } else { None };
        load_wire_config(wire, &facts, signature.as_ref()).map_err(invalid)
    }

    /// Why a model of `backend`, or of these files where the configuration names none, cannot use a GPU.
    fn gpu_absence(&self, backend: &str, files: &[String]) -> Option<String> {
        let onnx = files.iter().any(|file| file.ends_with(".onnx"));
        let backend = if backend.is_empty() && onnx { "onnxruntime" } else { backend };
        // Asked only with a GPU at hand: the engine may still be opening.
        let executes = || self.backends.get(backend).is_ok_and(|backend| backend.executes_on_gpus());
        absence(self.gpus.as_deref(), backend, executes)
    }

    /// Loads one version, creates its instances and warms it up. With `counters` it goes on counting there.
    pub(crate) fn load_version(
        &self,
        folder: &ModelFolder,
        config: &Arc<ModelConfig>,
        version: u64,
        counters: Option<Arc<ModelStatistics>>,
    ) -> Result<Arc<ReadyVersion>, ServingError> {
        let started = Instant::now();
        let directory = folder.versions.get(&version).ok_or_else(|| {
            ServingError::not_found(format!("model '{}' has no folder for version {version}", folder.name))
        })?;
        let kept = self.keeper.as_ref().map(|keeper| keeper.keep(&folder.name, version));
        let (config, mut device_memory) = match &self.gpus {
            Some(gpus) if needs_placing(config) => {
                let (config, promise) = gpus.place(config, directory)?;
                (Arc::new(config), Some(promise))
            }
            _ => (Arc::clone(config), None),
        };
        let config = &config;
        let gpus = self.gpus.as_deref();
        let used_before = gpus.zip(device_memory.as_ref()).map(|(gpus, promise)| gpus.used(promise));
        let source = ModelSource {
            config: Arc::clone(config),
            version,
            model_directory: folder.directory.clone(),
            version_directory: directory.clone(),
            settings: self.backends.settings(&config.backend),
        };
        let features = step_of(config, self.features.as_deref())?;
        let labels = read_labels(config, &folder.directory)?;
        let model = self.backends.get(&config.backend)?.load(&source)?;
        let memory_bytes = model.memory_bytes();
        let gains_from_warmup = model.gains_from_warmup();
        let statistics = counters.unwrap_or_else(|| Arc::new(ModelStatistics::new(config.max_batch_size)));
        let settings = SchedulerSettings {
            config: Arc::clone(config),
            statistics: Arc::clone(&statistics),
            default_deadline: self.default_deadline,
            max_queue: self.max_queue,
        };
        let scheduler = ModelScheduler::start(model, settings)?;
        warm_up(&scheduler, config, &folder.directory, gains_from_warmup)?;
        if let (Some(gpus), Some(promise), Some(before)) = (gpus, &mut device_memory, &used_before) {
            gpus.settle(promise, before);
        }
        Ok(Arc::new(ReadyVersion {
            model: folder.name.as_str().into(),
            version,
            version_text: version.to_string().into(),
            config: Arc::clone(config),
            labels,
            features,
            scheduler,
            statistics,
            memory_bytes,
            device_memory,
            load_seconds: started.elapsed().as_secs_f64(),
            _kept: kept,
        }))
    }
}

/// Inputs and outputs that the model file of the highest version declares, of those that `wanted` lets serve and that can be
/// read: a damaged version must not keep the others from serving. `None` when there is no ONNX file.
///
/// # Errors
/// When none of the files can be read.
fn graph_signature(
    folder: &ModelFolder,
    file_name: &str,
    wanted: &VersionPolicy,
) -> Result<Option<ModelSignature>, ServingError> {
    if !Path::new(file_name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        return Ok(None);
    }
    let available: Vec<u64> = folder.versions.keys().copied().collect();
    let (serving, _) = versions_to_serve(wanted, &available);
    let mut failure = None;
    for directory in serving.iter().rev().filter_map(|version| folder.versions.get(version)) {
        let path = directory.join(file_name);
        if !path.is_file() {
            continue;
        }
        match graph_of(&path) {
            Ok(signature) => return Ok(Some(signature)),
            Err(detail) => {
                failure.get_or_insert_with(|| {
                    ServingError::invalid(format!("the model file of model '{}' cannot be read", folder.name))
                        .with_operator_detail(format!("{}: {detail}", path.display()))
                });
            }
        }
    }
    failure.map_or(Ok(None), Err)
}

fn graph_of(path: &Path) -> Result<ModelSignature, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    Ok(read_onnx_signature(&bytes).map_err(|error| error.to_string())?.signature)
}

fn read_labels(config: &ModelConfig, directory: &Path) -> Result<Vec<Vec<String>>, ServingError> {
    let mut cache: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut labels = Vec::with_capacity(config.outputs.len());
    for output in &config.outputs {
        let Some(name) = output.label_filename.as_deref() else {
            labels.push(Vec::new());
            continue;
        };
        if !cache.contains_key(name) {
            let text = fs::read_to_string(directory.join(name)).map_err(|error| {
                ServingError::new(
                    ErrorCode::InvalidArgument,
                    format!("label file `{name}` of model '{}' cannot be read", config.name),
                )
                .with_operator_detail(error.to_string())
            })?;
            cache.insert(name, text.lines().map(|line| line.trim_end().to_owned()).collect());
        }
        labels.push(cache.get(name).cloned().unwrap_or_default());
    }
    Ok(labels)
}
