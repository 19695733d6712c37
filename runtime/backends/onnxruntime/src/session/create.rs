//! From a model's folder to a session.
//!
//! The file is read once: what was looked at is what is computed, unless its weights lie in further files.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use hanok_backend::{ModelSource, ServingError};
use hanok_model_config::{InstanceKind, ModelConfig, read_onnx_signature};
use ort::AsPointer;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SharedSessionInner};

use super::plan::{Facts, Optimization, Plan, has_heavy, plan};
use super::tensors::{self, Feed, Fetch};
use super::{RunOptions, external_data};
use crate::failure::Failure;
use crate::library::Library;
use crate::provider::{self, Provider, ProviderPlan, Seat};

/// A session and what its instances need to use it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) session: Arc<SharedSessionInner>,
    pub(crate) feeds: Vec<Feed>,
    pub(crate) fetches: Vec<Fetch>,
    /// Size of the model with its weights.
    pub(crate) bytes: u64,
    run_entries: Vec<(CString, CString)>,
}

impl Loaded {
    /// Options for the executions of one instance: those of the model, and `more`.
    pub(crate) fn run_options(&self, more: &[(&str, &str)]) -> Result<RunOptions, Failure> {
        let text = |text: &str| CString::new(text).map_err(|_| Failure::other("an option holds a zero byte"));
        let mut entries = self.run_entries.clone();
        for (name, value) in more {
            entries.push((text(name)?, text(value)?));
        }
        RunOptions::new(&entries)
    }
}

/// Why no session was created.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// A provider cannot be had; another may compute in its place.
    Provider(Provider, ServingError),
    /// Everything else.
    Other(ServingError),
}

impl From<ServingError> for CreateError {
    fn from(error: ServingError) -> Self {
        Self::Other(error)
    }
}

impl From<CreateError> for ServingError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Provider(_, error) | CreateError::Other(error) => error,
        }
    }
}

/// A session's place on a GPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GpuPlace<'a> {
    pub(crate) plan: &'a ProviderPlan,
    pub(crate) seat: Seat,
    /// Whether TensorRT is tried, if the plan asks for it.
    pub(crate) tensorrt: bool,
}

/// Loads the graph of `source`, for the processors or for a GPU.
pub(crate) fn create(
    library: &Library,
    source: &ModelSource,
    place: Option<GpuPlace<'_>>,
) -> Result<Loaded, CreateError> {
    let config = &source.config;
    let mut path = source.model_file("model.onnx");
    if path.is_dir() {
        // Triton's layout for a model whose weights lie in further files.
        path = path.join("model.onnx");
    }
    let bytes = std::fs::read(&path).map_err(|error| unreadable(config, &path, &error))?;
    let facts = read_onnx_signature(&bytes).map_err(|error| {
        ServingError::invalid(format!("model `{}`: {error}", config.name))
            .with_operator_detail(path.display().to_string())
    })?;
    let file_directory = path.parent().unwrap_or(Path::new("."));
    let external_bytes = external_data::check(
        &config.name,
        &source.model_directory,
        &source.version_directory,
        file_directory,
        &facts.external_data,
    )?;
    let size = bytes.len() as u64 + external_bytes;
    let plan = plan(
        config,
        &source.settings,
        Facts {
            model_bytes: size,
            instances: instances(config),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            heavy_operators: has_heavy(&facts.operators),
            varying_shapes: tensors::varies(config),
        },
    )?;
    if !plan.unknown_parameters.is_empty() {
        tracing::warn!(
            model = config.name,
            parameters = plan.unknown_parameters.join(", "),
            "parameters have no effect on backend onnxruntime"
        );
    }
    tracing::debug!(model = config.name, bytes = size, ?plan, "session planned");

    let load_error = |failure: Failure| CreateError::Other(failure.into_load_error(&config.name));
    let mut builder = builder(library, config, &plan, place)?;
    let session = if facts.external_data.is_empty() {
        builder.commit_from_memory(&bytes)
    } else {
        drop(bytes);
        builder.commit_from_file(&path)
    };
    let session: Session = session.map_err(|error| load_error(error.into()))?;
    let feeds = tensors::feeds(config, session.inputs())?;
    let fetches = tensors::fetches(config, session.outputs())?;
    let text = |text: &str| CString::new(text).map_err(|_| ServingError::invalid("a parameter holds a zero byte"));
    let run_entries = plan.run_entries.iter().map(|(name, value)| Ok((text(name)?, text(value)?)));
    Ok(Loaded {
        session: session.inner(),
        feeds,
        fetches,
        bytes: size,
        run_entries: run_entries.collect::<Result<_, ServingError>>()?,
    })
}

fn unreadable(config: &ModelConfig, path: &Path, error: &std::io::Error) -> ServingError {
    let message = if error.kind() == std::io::ErrorKind::NotFound {
        format!("model `{}` has no model file in the folder of this version", config.name)
    } else {
        format!("the model file of `{}` cannot be read", config.name)
    };
    ServingError::invalid(message).with_operator_detail(format!("{}: {error}", path.display()))
}

fn builder(
    library: &Library,
    config: &ModelConfig,
    plan: &Plan,
    place: Option<GpuPlace<'_>>,
) -> Result<SessionBuilder, CreateError> {
    let failed = |failure: Failure| CreateError::Other(failure.into_load_error(&config.name));
    let builder = Session::builder(&library.environment).map_err(|error| failed(error.into()))?;
    if let Some(place) = place {
        add_providers(&builder, place)?;
    }
    configured(builder, config, plan).map_err(failed)
}

fn add_providers(builder: &SessionBuilder, place: GpuPlace<'_>) -> Result<(), CreateError> {
    let options = builder.ptr().cast_mut();
    let unusable =
        |provider: Provider| move |failure| CreateError::Provider(provider, provider::unusable(provider, failure));
    if let Some(tensorrt) = place.plan.tensorrt.as_ref().filter(|_| place.tensorrt) {
        // SAFETY: the builder's options are alive; the seat's stream is kept by the instance, behind its session.
        unsafe { provider::append_tensorrt(options, tensorrt, place.seat) }.map_err(unusable(Provider::TensorRt))?;
    }
    // SAFETY: as above.
    unsafe { provider::append_cuda(options, &place.plan.cuda, place.seat) }.map_err(unusable(Provider::Cuda))
}

/// Whether the CUDA provider and everything that it needs can be opened.
pub(crate) fn try_cuda(library: &Library) -> Result<(), ServingError> {
    let failed = |failure: Failure| failure.into_run_error();
    let builder = Session::builder(&library.environment).map_err(|error| failed(error.into()))?;
    let seat = Seat { ordinal: 0, stream: std::ptr::null_mut() };
    // SAFETY: the builder's options are alive, and no session is made of them.
    unsafe { provider::append_cuda(builder.ptr().cast_mut(), &Vec::new(), seat) }
        .map_err(|failure| provider::unusable(Provider::Cuda, failure))
}

fn configured(mut builder: SessionBuilder, config: &ModelConfig, plan: &Plan) -> Result<SessionBuilder, Failure> {
    let level = match plan.optimization {
        Optimization::None => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::All,
    };
    let cpu = ort::ep::CPU::default().with_arena_allocator(plan.arena).build().error_on_failure();
    builder = builder.with_log_id(&config.name)?;
    builder = builder.with_execution_providers([cpu])?;
    builder = builder.with_optimization_level(level)?;
    builder = builder.with_intra_threads(plan.intra_op_threads)?;
    builder = builder.with_memory_pattern(plan.memory_pattern && plan.inter_op_threads.is_none())?;
    if let Some(threads) = plan.inter_op_threads {
        builder = builder.with_parallel_execution(true)?.with_inter_threads(threads)?;
    }
    for (name, value) in &plan.session_entries {
        builder = builder.with_config_entry(name, value)?;
    }
    Ok(builder)
}

/// Instances on the processors, which share the session.
fn instances(config: &ModelConfig) -> usize {
    let counts = config.instance_groups.iter().filter(|group| group.kind != InstanceKind::Gpu);
    counts.map(|group| group.count as usize).sum::<usize>().max(1)
}
