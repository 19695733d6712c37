//! A loaded model: one session for all instances on the processors, one for each instance on a GPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hanok_backend::{ModelInstance, ModelSource, ServingError};
use hanok_devices::{Stream, StreamPriority};
use hanok_model_config::wire::model_optimization_policy::ModelPriority;
use hanok_model_config::{InstanceKind, ModelConfig, OutputSpec};
use parking_lot::Mutex;

use crate::device::{DeviceInstance, DeviceRuntime, Generation, PATIENCE, Parts, SegmentCopier, Trouble};
use crate::failure::Failure;
use crate::instance::OnnxRuntimeInstance;
use crate::library::Library;
use crate::output_shapes::OutputShapes;
use crate::provider::{self, Fallback, Provider, ProviderPlan, Seat};
use crate::session::{self, CreateError, GpuPlace, Loaded};
use crate::value::MemoryInfo;

/// One version of a model.
#[derive(Debug)]
pub(crate) struct OnnxRuntimeModel {
    pub(crate) library: &'static Library,
    source: ModelSource,
    /// The session of the processors; made when it is first needed, at load where a group asks for it.
    shared: Mutex<Option<Arc<Loaded>>>,
    /// Where a group asks for GPUs.
    providers: Option<ProviderPlan>,
    bytes: AtomicU64,
    /// Whether a fallback was told.
    told: AtomicBool,
}

impl OnnxRuntimeModel {
    /// Loads what is shared; sessions on GPUs are made with their instances.
    pub(crate) fn load(library: &'static Library, source: &ModelSource) -> Result<Self, ServingError> {
        let groups = &source.config.instance_groups;
        let on_gpus = groups.iter().any(|group| group.kind == InstanceKind::Gpu);
        let providers = on_gpus.then(|| provider::plan(&source.config, &source.settings)).transpose()?;
        let model = Self {
            library,
            source: source.clone(),
            shared: Mutex::default(),
            providers,
            bytes: AtomicU64::new(std::fs::metadata(source.model_file("model.onnx")).map_or(0, |file| file.len())),
            told: AtomicBool::new(false),
        };
        if groups.iter().any(|group| group.kind != InstanceKind::Gpu) {
            model.shared()?;
        }
        Ok(model)
    }

    fn shared(&self) -> Result<Arc<Loaded>, ServingError> {
        let mut shared = self.shared.lock();
        if let Some(loaded) = &*shared {
            return Ok(Arc::clone(loaded));
        }
        let loaded = Arc::new(session::create(self.library, &self.source, None)?);
        self.bytes.store(loaded.bytes, Ordering::Relaxed);
        Ok(Arc::clone(shared.insert(loaded)))
    }

    /// Whether an instance is on a GPU, where a first execution loads kernels and takes memory.
    pub(crate) fn is_on_gpus(&self) -> bool {
        self.providers.is_some()
    }

    /// Size of the model with its weights.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn output_shapes(&self) -> OutputShapes {
        let dims = self.source.config.outputs.iter().map(OutputSpec::model_dims);
        OutputShapes::new(dims, self.source.config.batches())
    }

    /// An instance on the processors.
    pub(crate) fn cpu_instance(&self) -> Result<Box<dyn ModelInstance>, ServingError> {
        let loaded = self.shared()?;
        let options = loaded.run_options(&[]).map_err(Failure::into_run_error)?;
        Ok(Box::new(OnnxRuntimeInstance { library: self.library, loaded, options, shapes: self.output_shapes() }))
    }

    /// An instance on `device`, or what the configuration allows in its place.
    pub(crate) fn gpu_instance(&self, device: &Arc<DeviceRuntime>) -> Result<Box<dyn ModelInstance>, ServingError> {
        let Some(plan) = &self.providers else {
            return Err(ServingError::internal("an instance on a GPU was not planned"));
        };
        let tensorrt = plan.tensorrt.is_some();
        let made = match self.on_device(device, plan, tensorrt) {
            Err(CreateError::Provider(Provider::TensorRt, error)) if plan.fallback != Fallback::None => {
                self.tell("CUDA computes in the place of TensorRT", &error);
                self.on_device(device, plan, false)
            }
            made => made,
        };
        match made {
            Ok(instance) => Ok(Box::new(instance)),
            Err(CreateError::Provider(_, error)) if plan.fallback == Fallback::Cpu => {
                self.tell("the processors compute in the place of the GPU", &error);
                self.cpu_instance()
            }
            Err(error) => Err(error.into()),
        }
    }

    fn on_device(
        &self,
        device: &Arc<DeviceRuntime>,
        plan: &ProviderPlan,
        tensorrt: bool,
    ) -> Result<DeviceInstance, CreateError> {
        let generation = device.generation()?;
        let made = self.in_generation(device, &generation, plan, tensorrt);
        if made.is_err() {
            device.ask(&generation);
        }
        made
    }

    fn in_generation(
        &self,
        device: &Arc<DeviceRuntime>,
        generation: &Arc<Generation>,
        plan: &ProviderPlan,
        tensorrt: bool,
    ) -> Result<DeviceInstance, CreateError> {
        let trouble = |trouble: Trouble| CreateError::Other(trouble.into_error());
        let capability = device.capability()?;
        generation.prepare_copier(|context| {
            SegmentCopier::new(context, capability, &self.library.path, &self.source.settings)
        });
        let stream =
            Stream::new(&generation.context, priority(&self.source.config)).map_err(|error| trouble(error.into()))?;
        let seat = Seat { ordinal: device.ordinal(), stream: stream.raw() };
        let beside = generation.context.beside_captures();
        let loaded = session::create(self.library, &self.source, Some(GpuPlace { plan, seat, tensorrt }))?;
        drop(beside);
        self.bytes.store(loaded.bytes, Ordering::Relaxed);
        let parts = Parts {
            library: self.library,
            loaded,
            shapes: self.output_shapes(),
            memory: MemoryInfo::cuda(device.ordinal()).map_err(|failure| trouble(failure.into()))?,
            stream,
            generation: Arc::clone(generation),
            device: Arc::clone(device),
        };
        let mut instance = DeviceInstance::new(parts, &plan.graph_buckets).map_err(trouble)?;
        instance.capture_graphs(&self.source.config, PATIENCE).map_err(CreateError::Other)?;
        Ok(instance)
    }

    /// Says once per model that something else computes than was asked for.
    fn tell(&self, what: &str, error: &ServingError) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(model = self.source.config.name, %error, "{what}, as `gpu_fallback` allows");
        }
    }
}

fn priority(config: &ModelConfig) -> StreamPriority {
    match config.wire.optimization.as_ref().map(|optimization| optimization.priority()) {
        Some(ModelPriority::PriorityMax) => StreamPriority::High,
        Some(ModelPriority::PriorityMin) => StreamPriority::Low,
        Some(ModelPriority::PriorityDefault) | None => StreamPriority::Default,
    }
}
