//! A deterministic model for tests: gives `2 x + 1` for each row, remembers what it executed, and misbehaves on demand.
//!
//! Values with a meaning: [`FAIL`] makes the execution err, [`LOSE`] makes it err and the instance be lost, [`PANIC`] makes it
//! panic. While the model is held, an
//! execution waits until it is released.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanok_backend::{
    Batch, InferenceRequest, InferenceResponse, InputTensor, InstancePlacement, Model, ModelInstance, OutputSelection,
    OutputTensor, ServingError,
};
use hanok_model_config::{CompletionFacts, ModelConfig, load_config};
use hanok_scheduler::{ModelScheduler, ResponseFuture, SchedulerSettings, Submission};
use hanok_telemetry::ModelStatistics;
use hanok_tensor::{AlignedBuffer, DataType, Shape};
use parking_lot::{Condvar, Mutex};

pub const FAIL: i32 = 666;
pub const LOSE: i32 = 777;
pub const PANIC: i32 = 999;

/// What was executed: the rows of each batch and the thread's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub rows: Vec<i32>,
    pub controls: Vec<Vec<u8>>,
    pub thread: String,
}

#[derive(Debug, Default)]
pub struct TestModel {
    pub executed: Mutex<Vec<Executed>>,
    pub keep_log: AtomicBool,
    pub executed_rows: AtomicUsize,
    pub most_rows: AtomicUsize,
    pub created: AtomicUsize,
    pub refuse_instances: AtomicBool,
    pub inside: AtomicUsize,
    /// Every execution keeps its thread busy for up to so many nanoseconds, differing from one to the next.
    pub busy_ns: AtomicUsize,
    /// Responses per request instead of one, for decoupled models: the value itself.
    pub streams: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
}

impl TestModel {
    pub fn new() -> Arc<Self> {
        let model = Self::default();
        model.keep_log.store(true, SeqCst);
        Arc::new(model)
    }

    pub fn hold(&self) {
        *self.held.lock() = true;
    }

    pub fn release(&self) {
        *self.held.lock() = false;
        self.released.notify_all();
    }

    /// Waits until so many executions are inside (held or not).
    pub fn wait_inside(&self, count: usize) {
        let end = Instant::now() + std::time::Duration::from_secs(10);
        while self.inside.load(SeqCst) < count {
            assert!(Instant::now() < end, "no execution began in ten seconds");
            std::thread::yield_now();
        }
    }

    pub fn log(&self) -> Vec<Executed> {
        self.executed.lock().clone()
    }

    pub fn values(&self) -> Vec<i32> {
        self.log().into_iter().flat_map(|executed| executed.rows).collect()
    }
}

#[derive(Debug)]
pub struct SharedModel(pub Arc<TestModel>);

impl Model for SharedModel {
    fn create_instance(&self, _placement: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        if self.0.refuse_instances.load(SeqCst) {
            return Err(ServingError::internal("refused by the test"));
        }
        self.0.created.fetch_add(1, SeqCst);
        Ok(Box::new(TestInstance(Arc::clone(&self.0), false)))
    }
}

#[derive(Debug)]
struct TestInstance(Arc<TestModel>, bool);

fn read(data: &[u8]) -> Vec<i32> {
    data.chunks_exact(4).map(|chunk| i32::from_le_bytes(chunk.try_into().unwrap())).collect()
}

impl ModelInstance for TestInstance {
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        let model = &self.0;
        let input = batch.input(0).expect("the model has one input");
        let (rows, shape) = (read(input.data), input.shape.clone());
        assert_eq!(shape.iter().product::<i64>(), i64::try_from(rows.len()).unwrap());
        let controls = (1..8).map_while(|index| batch.input(index)).map(|control| control.data.to_vec()).collect();
        model.executed_rows.fetch_add(batch.rows(), SeqCst);
        model.most_rows.fetch_max(batch.rows(), SeqCst);
        if model.keep_log.load(SeqCst) {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            model.executed.lock().push(Executed { rows: rows.clone(), controls, thread });
        }
        let count = model.inside.fetch_add(1, SeqCst);
        let busy = model.busy_ns.load(SeqCst);
        if busy > 0 {
            let end = Instant::now() + std::time::Duration::from_nanos((count.wrapping_mul(7919) % busy) as u64);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        let mut held = model.held.lock();
        while *held {
            model.released.wait(&mut held);
        }
        drop(held);
        if rows.contains(&PANIC) {
            panic!("the test wants a panic");
        }
        if rows.contains(&LOSE) {
            self.1 = true;
            return Err(ServingError::internal("the test wants a lost instance"));
        }
        if rows.contains(&FAIL) {
            return Err(ServingError::internal("the test wants an error"));
        }
        if model.streams.load(SeqCst) {
            for member in batch.members_mut() {
                let count = read(&member.request().inputs[0].as_ref().unwrap().data)[0];
                for number in 0..count {
                    let mut response = InferenceResponse::default();
                    response.outputs.push(Some(tensor(number)));
                    member.respond_partial(Ok(response));
                }
                member.close();
            }
            return Ok(());
        }
        let mut output = AlignedBuffer::zeroed(rows.len() * 4);
        for (target, value) in output.chunks_exact_mut(4).zip(&rows) {
            target.copy_from_slice(&(value.wrapping_mul(2).wrapping_add(1)).to_le_bytes());
        }
        batch.set_output(0, DataType::Int32, shape, output.into_bytes());
        Ok(())
    }

    fn is_lost(&self) -> bool {
        self.1
    }
}

fn tensor(value: i32) -> OutputTensor {
    let data = Bytes::copy_from_slice(&value.to_le_bytes());
    OutputTensor { data_type: DataType::Int32, shape: Shape::new(&[1, 1]), data }
}

/// The configuration of a model called `m`, with `extra` fields of `config.pbtxt`.
pub fn config(max_batch_size: u32, extra: &str) -> Arc<ModelConfig> {
    let text = format!(
        "name: \"m\" backend: \"builtin\" max_batch_size: {max_batch_size}
         input [ {{ name: \"x\" data_type: TYPE_INT32 dims: [ 1 ] }} ]
         output [ {{ name: \"y\" data_type: TYPE_INT32 dims: [ 1 ] }} ]
         {extra}"
    );
    Arc::new(load_config(&text, &CompletionFacts::new("m"), None).expect("the test's configuration is valid").config)
}

pub struct Served {
    pub model: Arc<TestModel>,
    pub scheduler: ModelScheduler,
    pub statistics: Arc<ModelStatistics>,
}

/// A scheduler of the test model.
pub fn serve(max_batch_size: u32, extra: &str) -> Served {
    let model = TestModel::new();
    let config = config(max_batch_size, extra);
    let statistics = Arc::new(ModelStatistics::new(max_batch_size));
    let settings =
        SchedulerSettings { config, statistics: Arc::clone(&statistics), default_deadline: None, max_queue: 0 };
    let scheduler = ModelScheduler::start(Arc::new(SharedModel(Arc::clone(&model))), settings).expect("it starts");
    Served { model, scheduler, statistics }
}

/// A request of one row that holds `value`.
pub fn request(value: i32) -> InferenceRequest {
    rows(&[value])
}

pub fn rows(values: &[i32]) -> InferenceRequest {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = Shape::new(&[i64::try_from(values.len()).unwrap(), 1]);
    InferenceRequest {
        id: "".into(),
        regions: None,
        inputs: smallvec::smallvec![Some(InputTensor { shape, data: Bytes::from(data) })],
        rows: u32::try_from(values.len()).unwrap(),
        outputs: OutputSelection::All,
        parameters: Vec::new(),
        sequence: None,
        priority: 0,
        timeout_microseconds: 0,
        received: Instant::now(),
        deadline: None,
        trace: None,
    }
}

/// The values of a response's output.
pub fn output(response: &InferenceResponse) -> Vec<i32> {
    read(&response.outputs[0].as_ref().expect("the output was asked for").data)
}

pub type Answer = Result<InferenceResponse, ServingError>;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn wait(submission: Submission) -> Answer {
    match submission {
        Submission::Done(answer) => answer,
        Submission::Pending(future) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await }).expect("an answer comes")
        }
    }
}

pub fn pending(submission: Submission) -> ResponseFuture {
    match submission {
        Submission::Pending(future) => future,
        Submission::Done(answer) => panic!("expected a queued request, got {answer:?}"),
    }
}

pub fn wait_at_rest(served: &Served) {
    let end = Instant::now() + PATIENCE;
    while served.scheduler.in_flight() > 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}
