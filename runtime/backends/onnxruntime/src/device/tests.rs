//! Instances of the device's kind over ordinary memory: the driver's stand-in, and the library's CPU provider in the place of
//! CUDA. The repository's models must give the answers of their golden files, padded to buckets or not, and failures of the
//! device must be met as planned. This proves nothing about a GPU.

#![allow(unsafe_code, reason = "the stand-in is steered by C functions")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hanok_backend::conformance::{Fixture, check, execute};
use hanok_backend::{
    Backend, ErrorCode, InstancePlacement, Model, ModelInstance, ModelSource, OutputSelection, Placement, ServingError,
};
use hanok_devices::{Driver, PinnedPool, PoolSizes, Stream, StreamPriority};

use super::device_runtime::DeviceRuntime;
use super::{DeviceInstance, Parts};
use crate::library::Library;
use crate::output_shapes::OutputShapes;
use crate::provider::plan;
use crate::value::MemoryInfo;
use crate::{LibrarySearch, OnnxRuntimeBackend, TELEMETRY_SWITCH, library, locate, session};

const ALLOCATE: i32 = 0;
pub(super) const COPY_IN: i32 = 1;
const COPY_OUT: i32 = 2;
const EVENT_WAIT: i32 = 3;

pub(super) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn opened() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<&'static Library>> = OnceLock::new();
    *LIBRARY.get_or_init(|| {
        #[allow(unsafe_code, reason = "the standard library's way to set a variable")]
        // SAFETY: set before the library is opened; no other code of these tests reads the environment through C.
        unsafe {
            std::env::set_var(TELEMETRY_SWITCH.0, TELEMETRY_SWITCH.1);
        }
        let report = locate(&LibrarySearch {
            environment: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
            project_directory: Some(workspace().join(".hanok/lib")),
            ..Default::default()
        });
        match &report.found {
            Some(found) => Some(library::open(&found.path).expect("a library that was found opens")),
            None => {
                eprintln!("skipped: {report}");
                None
            }
        }
    })
}

/// The backend under test, with the stand-in's controls; one test at a time, since the stand-in is one set of globals.
#[derive(Debug)]
pub(super) struct StagedOnHost {
    library: &'static Library,
    pub(super) device: Arc<DeviceRuntime>,
    pub(super) control: libloading::Library,
    graphs: bool,
}

impl StagedOnHost {
    pub(super) fn open(graphs: bool, sizes: &PoolSizes) -> Option<(Arc<Self>, MutexGuard<'static, ()>)> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let library = opened()?;
        let path = stand_in()?;
        // SAFETY: the stand-in has no initialisers.
        let control = unsafe { libloading::Library::new(&path) }.unwrap();
        // SAFETY: the function takes nothing.
        unsafe { control.get::<unsafe extern "C" fn()>("stand_in_restore").unwrap()() };
        let driver = Arc::new(Driver::open(&[path]).unwrap());
        let device = Arc::new(DeviceRuntime::new(&driver, 0, sizes, &PinnedPool::new(sizes.pinned_bytes)));
        Some((Arc::new(Self { library, device, control, graphs }), alone))
    }

    pub(super) fn fail(&self, call: i32, code: i32, after: i32) {
        // SAFETY: the function has this type.
        unsafe {
            self.control.get::<unsafe extern "C" fn(i32, i32, i32)>("stand_in_fail").unwrap()(call, code, after);
        }
    }
}

fn stand_in() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let output = std::env::temp_dir().join(format!("libhanok_stand_in_{}.so", std::process::id()));
        let source = workspace().join("runtime/devices/tests/stand_in/driver.c");
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&output).arg(source).status();
        let Ok(status) = compiler else {
            eprintln!("skipped: there is no C compiler called `cc`");
            return None;
        };
        assert!(status.success());
        Some(output)
    };
    BUILT.get_or_init(build).clone()
}

impl Backend for StagedOnHost {
    fn name(&self) -> &'static str {
        OnnxRuntimeBackend::NAME
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, ServingError> {
        Ok(Arc::new(self.staged(source)?))
    }
}

impl StagedOnHost {
    pub(super) fn staged(&self, source: &ModelSource) -> Result<StagedModel, ServingError> {
        let probe = session::create(self.library, source, None)?;
        let library = self.library;
        let device = Arc::clone(&self.device);
        Ok(StagedModel { library, device, source: source.clone(), bytes: probe.bytes, graphs: self.graphs })
    }
}

#[derive(Debug)]
pub(super) struct StagedModel {
    library: &'static Library,
    device: Arc<DeviceRuntime>,
    source: ModelSource,
    bytes: u64,
    graphs: bool,
}

impl StagedModel {
    pub(super) fn make(&self) -> Result<DeviceInstance, ServingError> {
        let generation = self.device.generation()?;
        let config = &self.source.config;
        let dims = config.outputs.iter().map(hanok_model_config::OutputSpec::model_dims);
        let buckets = if self.graphs { with_graphs(config) } else { Vec::new() };
        let parts = Parts {
            library: self.library,
            loaded: session::create(self.library, &self.source, None)?,
            shapes: OutputShapes::new(dims, config.batches()),
            memory: MemoryInfo::host().unwrap(),
            stream: Stream::new(&generation.context, StreamPriority::Default).unwrap(),
            generation,
            device: Arc::clone(&self.device),
        };
        DeviceInstance::new(parts, &buckets).map_err(super::Trouble::into_error)
    }
}

impl Model for StagedModel {
    fn create_instance(&self, _: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        Ok(Box::new(self.make()?))
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes
    }
}

/// The buckets of a configuration that may have graphs; none where it may not.
fn with_graphs(config: &hanok_model_config::ModelConfig) -> Vec<u32> {
    let mut config = config.clone();
    let optimization = config.wire.optimization.get_or_insert_default();
    optimization.cuda.get_or_insert_default().graphs = true;
    plan(&config, &std::collections::BTreeMap::new()).map(|plan| plan.graph_buckets).unwrap_or_default()
}

fn repository_models_conform(graphs: bool) {
    let Some((backend, _alone)) = StagedOnHost::open(graphs, &PoolSizes::default()) else { return };
    let mut checked = 0;
    for entry in std::fs::read_dir(workspace().join("models")).unwrap().filter_map(Result::ok) {
        let model = entry.path();
        if !model.join("golden.json").exists() || !model.join("1/model.onnx").exists() {
            continue;
        }
        let fixture = Fixture::from_model_directory(&model, 1, Some(OnnxRuntimeBackend::NAME)).unwrap();
        let factory = || Ok(Arc::clone(&backend) as Arc<dyn Backend>);
        let report = check(&factory, &fixture).unwrap_or_else(|broken| panic!("{}: {broken}", fixture.config.name));
        assert!(!report.kept.is_empty());
        checked += 1;
    }
    assert!(checked >= 3, "{checked} models were checked");
}

#[test]
fn models_conform_through_staging_and_pools() {
    repository_models_conform(false);
}

#[test]
fn models_conform_when_batches_are_padded_to_buckets() {
    repository_models_conform(true);
}

fn first_model() -> Fixture {
    let models = workspace().join("models");
    let with_golden = std::fs::read_dir(models).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let mut folders: Vec<PathBuf> =
        with_golden.filter(|path| path.join("golden.json").exists() && path.join("1/model.onnx").exists()).collect();
    folders.sort();
    Fixture::from_model_directory(&folders[0], 1, Some(OnnxRuntimeBackend::NAME)).unwrap()
}

pub(super) fn instance_of(model: &dyn Model) -> Result<Box<dyn ModelInstance>, ServingError> {
    model.create_instance(&InstancePlacement { name: "m_0_0".to_owned(), placement: Placement::Gpu(0) })
}

fn one(instance: &mut dyn ModelInstance, fixture: &Fixture) -> Result<(), ServingError> {
    let request = fixture.samples[0].request(OutputSelection::All);
    execute(instance, &fixture.config, &[request], &[]).result
}

#[test]
fn a_full_gpu_fails_one_batch_and_keeps_the_instance() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = first_model();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    // Twice, because the pool asks again after giving back what lies idle.
    backend.fail(ALLOCATE, 2, -2);
    let error = one(&mut *instance, &fixture).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error}");
    assert!(!instance.is_lost());
    one(&mut *instance, &fixture).expect("the next batch is computed");

    let tiny = PoolSizes { pinned_bytes: 1, ..PoolSizes::default() };
    drop((instance, model, _alone));
    let Some((backend, _alone)) = StagedOnHost::open(false, &tiny) else { return };
    let model = backend.load(&fixture.source()).unwrap();
    let error = one(&mut *instance_of(&*model).unwrap(), &fixture).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error}");
}

#[test]
fn a_failure_that_sticks_loses_every_instance_and_a_new_context_serves() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = first_model();
    let model = backend.load(&fixture.source()).unwrap();
    let (mut first, mut second) = (instance_of(&*model).unwrap(), instance_of(&*model).unwrap());
    one(&mut *first, &fixture).unwrap();
    backend.fail(EVENT_WAIT, 700, 0);
    let error = one(&mut *first, &fixture).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::Unavailable, "the GPU failed and is set up again; try again")
    );
    assert!(first.is_lost() && second.is_lost(), "whatever is in the context is lost with it");
    drop(first);
    let error = instance_of(&*model).unwrap_err();
    assert!(error.message().ends_with("when the last instance that uses it is gone"), "{error}");
    assert!(one(&mut *second, &fixture).is_err());
    drop(second);
    let mut rebuilt = instance_of(&*model).unwrap();
    one(&mut *rebuilt, &fixture).expect("the new context computes");
    assert!(!rebuilt.is_lost());

    for _ in 0..2 {
        backend.fail(COPY_OUT, 719, 0);
        assert!(one(&mut *rebuilt, &fixture).is_err());
        drop(rebuilt);
        rebuilt = instance_of(&*model).unwrap();
    }
    backend.fail(COPY_OUT, 719, 0);
    assert!(one(&mut *rebuilt, &fixture).is_err());
    drop(rebuilt);
    let error = instance_of(&*model).unwrap_err();
    assert!(error.message().starts_with("GPU 0 failed again and again"), "{error}");
}
