//! Instances that take the next batch while they compute one: what begins when, and who is answered whatever fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod test_model;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use hanok_backend::{
    Batch, DeviceTimes, ErrorCode, InferenceRequest, InferenceResponse, InputPart, InstancePlacement, Model,
    ModelInstance, PipelinedInstance, ServingError,
};
use hanok_scheduler::{ModelScheduler, ResponseFuture, SchedulerSettings, Submission};
use hanok_telemetry::{DeviceMarks, DeviceSpans, ModelStatistics, TraceClock, TraceTimes};
use hanok_tensor::{AlignedBuffer, DataType, Shape};
use parking_lot::{Condvar, Mutex};
use test_model::{FAIL, LOSE, PANIC, config, output, request};

/// A row with this value is refused while another batch is under way.
const ALONE: i32 = 555;
/// A row with this value panics as its batch is begun while another is under way; with the other the instance is lost then.
const PANIC_BESIDE: i32 = 991;
const LOSE_BESIDE: i32 = 771;
/// A batch with this value was done when the instance was lost.
const BESIDE_LOST: i32 = 772;

/// What was called with which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Begin(Vec<i32>),
    End(Vec<i32>),
    Drop,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    called: Condvar,
    /// The call that waits until it is released.
    held: Mutex<Option<Call>>,
    released: Condvar,
    created: AtomicUsize,
    /// Calls of an instance after it panicked or was lost.
    called_when_lost: AtomicUsize,
    /// All instances are lost, as with their device.
    all_lost: AtomicBool,
    look: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Shared {
    fn note(&self, call: Call) {
        self.calls.lock().push(call);
        self.called.notify_all();
    }

    /// Waits until `call` was made.
    fn await_call(&self, call: &Call) {
        let end = Instant::now() + Duration::from_secs(10);
        let mut calls = self.calls.lock();
        while !calls.contains(call) {
            assert!(!self.called.wait_until(&mut calls, end).timed_out(), "{call:?} was not called: {calls:?}");
        }
    }

    fn hold(&self, call: Call) {
        *self.held.lock() = Some(call);
        self.released.notify_all();
    }

    fn release(&self) {
        *self.held.lock() = None;
        self.released.notify_all();
    }

    fn wait_released(&self, call: &Call) {
        let mut held = self.held.lock();
        while held.as_ref() == Some(call) {
            self.released.wait(&mut held);
        }
    }
}

#[derive(Debug)]
struct OverlappingModel(Arc<Shared>);

#[derive(Debug)]
struct OverlappingInstance {
    shared: Arc<Shared>,
    under_way: VecDeque<Vec<i32>>,
    lost: bool,
    created: Instant,
}

impl Model for OverlappingModel {
    fn create_instance(&self, _: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        self.0.created.fetch_add(1, SeqCst);
        let shared = Arc::clone(&self.0);
        shared.all_lost.store(false, SeqCst);
        Ok(Box::new(OverlappingInstance { shared, under_way: VecDeque::new(), lost: false, created: Instant::now() }))
    }
}

impl ModelInstance for OverlappingInstance {
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        assert!(self.under_way.is_empty(), "nothing else is under way when a batch is executed at once");
        self.begin(batch)?;
        self.end(batch)
    }

    fn device(&self) -> Option<u32> {
        Some(0)
    }

    fn pipelined(&mut self) -> Option<&mut dyn PipelinedInstance> {
        Some(self)
    }

    fn is_lost(&self) -> bool {
        self.lost || self.shared.all_lost.load(SeqCst)
    }

    fn watch_loss(&mut self, look: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.look.lock() = Some(look);
    }
}

impl Drop for OverlappingInstance {
    fn drop(&mut self) {
        self.shared.note(Call::Drop);
        self.shared.wait_released(&Call::Drop);
    }
}

impl PipelinedInstance for OverlappingInstance {
    fn begin(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        assert!(self.under_way.len() < 2, "at most two batches are under way");
        let mut rows = Vec::new();
        for part in batch.parts(0) {
            let InputPart::Host(bytes) = part else { panic!("no request names a region") };
            rows.extend(bytes.chunks_exact(4).map(|chunk| i32::from_le_bytes(chunk.try_into().unwrap())));
        }
        self.shared.called_when_lost.fetch_add(usize::from(self.lost), SeqCst);
        self.shared.note(Call::Begin(rows.clone()));
        if rows.contains(&PANIC_BESIDE) && !self.under_way.is_empty() {
            self.lost = true;
            panic!("the test wants a panic");
        }
        if rows.contains(&LOSE_BESIDE) && !self.under_way.is_empty() {
            self.lost = true;
            return Err(ServingError::unavailable("the test wants a lost instance"));
        }
        if rows.contains(&ALONE) && !self.under_way.is_empty() {
            return Err(ServingError::internal("no room beside another batch"));
        }
        self.under_way.push_back(rows);
        Ok(())
    }

    fn end(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        let rows = self.under_way.pop_front().expect("a batch is under way");
        assert_eq!(rows.len(), batch.rows(), "batches end in the order in which they began");
        self.shared.wait_released(&Call::End(rows.clone()));
        self.shared.called_when_lost.fetch_add(usize::from(self.lost && !rows.contains(&BESIDE_LOST)), SeqCst);
        self.shared.note(Call::End(rows.clone()));
        if rows.contains(&PANIC) {
            self.lost = true;
            panic!("the test wants a panic");
        }
        self.lost |= rows.contains(&LOSE);
        if (self.lost && !rows.contains(&BESIDE_LOST)) || rows.contains(&FAIL) {
            return Err(ServingError::internal("the test wants an error"));
        }
        let mut values = AlignedBuffer::zeroed(rows.len() * 4);
        for (target, value) in values.chunks_exact_mut(4).zip(&rows) {
            target.copy_from_slice(&(2 * value + 1).to_le_bytes());
        }
        let shape = Shape::new(&[i64::try_from(rows.len()).unwrap(), 1]);
        batch.set_output(0, DataType::Int32, shape, values.into_bytes());
        batch.set_device_times(DeviceTimes { input_ns: 10, infer_ns: 2000, output_ns: 30 });
        if batch.is_traced() {
            let [copying, copied, computing, computed] = [9, 7, 4, 1].map(Duration::from_nanos);
            let marks = DeviceMarks { copying, copied, computing, computed };
            batch.set_device_spans(DeviceSpans::place(&marks, self.created, Instant::now()));
        }
        Ok(())
    }
}

struct Served {
    shared: Arc<Shared>,
    scheduler: ModelScheduler,
    statistics: Arc<ModelStatistics>,
}

/// Batches of two rows at most, which leave at once; the first execution is held.
fn serve_held() -> Served {
    let shared = Arc::new(Shared::default());
    shared.hold(Call::End(vec![1]));
    let statistics = Arc::new(ModelStatistics::new(2));
    let settings = SchedulerSettings {
        config: config(2, "dynamic_batching { }"),
        statistics: Arc::clone(&statistics),
        default_deadline: None,
        max_queue: 0,
    };
    let scheduler = ModelScheduler::start(Arc::new(OverlappingModel(Arc::clone(&shared))), settings).unwrap();
    Served { shared, scheduler, statistics }
}

impl Served {
    fn submit(&self, request: InferenceRequest) -> ResponseFuture {
        match self.scheduler.submit(request) {
            Submission::Pending(future) => future,
            Submission::Done(answer) => panic!("answered at once: {answer:?}"),
        }
    }

    /// Begins a batch of 1 alone, and queues `values` behind it.
    fn one_and(&self, first: i32, values: &[i32]) -> Vec<ResponseFuture> {
        let mut futures = vec![self.submit(request(first))];
        self.shared.await_call(&Call::Begin(vec![first]));
        futures.extend(values.iter().map(|&value| self.submit(request(value))));
        futures
    }
}

fn answers(futures: Vec<ResponseFuture>) -> Vec<Result<Vec<i32>, ErrorCode>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = |answer: Result<InferenceResponse, ServingError>| match answer {
        Ok(response) => Ok(output(&response)),
        Err(error) => Err(error.code()),
    };
    futures.into_iter().map(|future| read(runtime.block_on(future))).collect()
}

#[test]
fn a_traced_batch_tells_where_it_was_on_its_device() {
    let served = serve_held();
    let times = Arc::new(TraceTimes::new(TraceClock::new(Instant::now(), Duration::from_secs(1))));
    let mut futures = served.one_and(1, &[2, 3]);
    futures.push(served.submit(InferenceRequest { trace: Some(Arc::clone(&times)), ..request(4) }));
    futures.push(served.submit(request(5)));
    served.shared.release();
    assert!(answers(futures).iter().all(Result::is_ok));
    let told: Vec<_> = times.moments().into_iter().map(|(activity, _)| activity.name()).collect();
    let expected = [
        "QUEUE_START",
        "COMPUTE_START",
        "GPU_COPY_IN_START",
        "GPU_COPY_IN_END",
        "COMPUTE_INPUT_END",
        "GPU_EXECUTE_START",
        "GPU_EXECUTE_END",
        "COMPUTE_OUTPUT_START",
        "GPU_COPY_OUT_START",
        "GPU_COPY_OUT_END",
        "COMPUTE_END",
    ];
    assert_eq!(told, expected, "the device's clock is what counts");
}

#[test]
fn a_full_batch_begins_before_the_one_before_it_ends() {
    let served = serve_held();
    // The first leaves alone; the two that come while it is held are full when it ends, and the last pair begins beside it.
    let futures = served.one_and(1, &[2, 3, 4, 5]);
    served.shared.release();
    assert_eq!(answers(futures), [Ok(vec![3]), Ok(vec![5]), Ok(vec![7]), Ok(vec![9]), Ok(vec![11])]);
    let calls = served.shared.calls.lock().clone();
    let place =
        |call: Call| calls.iter().position(|made| *made == call).unwrap_or_else(|| panic!("{call:?}: {calls:?}"));
    assert!(place(Call::Begin(vec![4, 5])) < place(Call::End(vec![2, 3])), "{calls:?}");
    // A batch is counted after it is answered.
    let end = Instant::now() + Duration::from_secs(10);
    while served.scheduler.in_flight() > 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert_eq!(served.statistics.snapshot().execution_count, 3);
    assert_eq!(served.statistics.device_busy_ns(), 3 * 2000, "the device's clock is what counts");
}

#[test]
fn a_batch_that_may_still_grow_waits_in_the_queue() {
    let served = serve_held();
    let futures = served.one_and(1, &[2]);
    served.shared.release();
    assert_eq!(answers(futures), [Ok(vec![3]), Ok(vec![5])]);
    let calls = served.shared.calls.lock().clone();
    let expected = [vec![1], vec![2]].map(|rows| [Call::Begin(rows.clone()), Call::End(rows)]).concat();
    assert_eq!(calls, expected);
}

#[test]
fn a_failed_batch_disturbs_neither_its_members_nor_the_next() {
    let served = serve_held();
    let futures = served.one_and(1, &[2, FAIL, 4, 5]);
    served.shared.release();
    let answers = answers(futures);
    assert_eq!(answers[2], Err(ErrorCode::Internal));
    assert_eq!((&answers[1], &answers[3], &answers[4]), (&Ok(vec![5]), &Ok(vec![9]), &Ok(vec![11])));
    assert_eq!(served.shared.created.load(SeqCst), 1);
}

#[test]
fn a_lost_instance_answers_both_batches_and_is_replaced() {
    for bad in [LOSE, PANIC] {
        let served = serve_held();
        let futures = served.one_and(1, &[2, bad, 4, 5]);
        served.shared.release();
        let answers = answers(futures);
        assert_eq!(answers[0], Ok(vec![3]));
        assert!(answers[1..].iter().all(Result::is_err), "{answers:?}");
        assert_eq!(self::answers(vec![served.submit(request(7))]), [Ok(vec![15])]);
        assert_eq!(served.shared.created.load(SeqCst), 2);
    }
}

#[test]
fn what_has_no_room_beside_another_is_executed_after_it() {
    let served = serve_held();
    let futures = served.one_and(1, &[2, 3, ALONE, 5]);
    served.shared.release();
    assert_eq!(answers(futures)[3], Ok(vec![2 * ALONE + 1]));
}

/// Lets the batch of 2 and 3, and `values` beside it, come to where the first of them is held as it ends.
fn two_under_way(served: &Served, values: [i32; 2]) -> Vec<ResponseFuture> {
    let futures = served.one_and(1, &[2, 3, values[0], values[1]]);
    served.shared.hold(Call::End(vec![2, 3]));
    served.shared.await_call(&Call::Begin(values.to_vec()));
    futures
}

#[test]
fn an_instance_that_panicked_as_it_took_the_next_batch_is_not_called_again() {
    let served = serve_held();
    let futures = served.one_and(1, &[2, 3, PANIC_BESIDE, 5]);
    served.shared.release();
    let answers = answers(futures);
    assert_eq!(answers[0], Ok(vec![3]));
    assert_eq!(answers[1..3], [Err(ErrorCode::Unavailable), Err(ErrorCode::Unavailable)], "they may be tried again");
    assert_eq!(answers[3..], [Err(ErrorCode::Internal), Err(ErrorCode::Internal)]);
    assert_eq!(served.shared.called_when_lost.load(SeqCst), 0);
    assert!(!served.shared.calls.lock().contains(&Call::End(vec![2, 3])));
    assert_eq!(self::answers(vec![served.submit(request(7))]), [Ok(vec![15])]);
    assert_eq!(served.shared.created.load(SeqCst), 2);
}

#[test]
fn members_of_a_failed_batch_are_not_tried_again_where_the_next_one_broke_the_instance() {
    for bad in [PANIC, LOSE] {
        let served = serve_held();
        let futures = served.one_and(1, &[2, FAIL, bad, 5]);
        served.shared.release();
        let answers = answers(futures);
        assert_eq!(answers[0], Ok(vec![3]));
        assert!(answers[1..].iter().all(Result::is_err), "{answers:?}");
        assert_eq!(served.shared.called_when_lost.load(SeqCst), 0, "{bad}");
        assert_eq!(self::answers(vec![served.submit(request(7))]), [Ok(vec![15])]);
        assert_eq!(served.shared.created.load(SeqCst), 2);
    }
}

#[test]
fn a_batch_that_was_done_when_the_instance_was_lost_is_answered() {
    let served = serve_held();
    let futures = served.one_and(1, &[2, BESIDE_LOST, LOSE_BESIDE, 5]);
    served.shared.release();
    let answers = answers(futures);
    assert_eq!(answers[1..3], [Ok(vec![5]), Ok(vec![2 * BESIDE_LOST + 1])]);
    assert_eq!(answers[3..], [Err(ErrorCode::Unavailable), Err(ErrorCode::Unavailable)]);
    assert_eq!(served.shared.called_when_lost.load(SeqCst), 0, "it is not asked to begin again");
    assert_eq!(self::answers(vec![served.submit(request(7))]), [Ok(vec![15])]);
}

#[test]
fn nobody_is_answered_before_a_broken_instance_has_let_go_of_what_callers_lent() {
    for values in [[PANIC, 5], [PANIC_BESIDE, 5]] {
        let served = serve_held();
        let mut futures = served.one_and(1, &[2, 3, values[0], values[1]]);
        served.shared.hold(Call::Drop);
        served.shared.await_call(&Call::Drop);
        let mut open = futures.split_off(if values[0] == PANIC { 3 } else { 1 });
        for future in &mut open {
            let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::pin::pin!(future).poll(context).is_pending(), "the device may still be at work for it");
        }
        served.shared.release();
        assert!(answers(open).iter().all(Result::is_err));
    }
}

#[test]
fn both_batches_are_answered_when_the_model_is_unloaded_and_callers_are_gone() {
    let served = serve_held();
    let mut futures = two_under_way(&served, [4, 5]);
    let waiting = served.submit(request(6));
    let Served { shared, scheduler, statistics } = served;
    // Two callers go, one of each batch.
    drop((futures.remove(3), futures.remove(1)));
    std::thread::scope(|scope| {
        scope.spawn(move || drop(scheduler));
        assert_eq!(answers(vec![waiting]), [Err(ErrorCode::Unavailable)], "what waits is answered at once");
        shared.release();
    });
    assert_eq!(answers(futures), [Ok(vec![3]), Ok(vec![7]), Ok(vec![11])]);
    assert_eq!(statistics.snapshot().execution_count, 3);
    assert_eq!(shared.calls.lock().last(), Some(&Call::Drop));
}

#[test]
fn an_idle_instance_that_is_lost_is_dropped_and_made_anew_without_a_request() {
    let served = serve_held();
    served.shared.release();
    assert_eq!(answers(vec![served.submit(request(7))]), [Ok(vec![15])]);
    served.shared.all_lost.store(true, SeqCst);
    let look = served.shared.look.lock().clone().expect("the instance was given it");
    look();
    served.shared.await_call(&Call::Drop);
    let end = Instant::now() + Duration::from_secs(10);
    while served.shared.created.load(SeqCst) < 2 {
        assert!(Instant::now() < end, "a new instance is made");
        std::thread::yield_now();
    }
    assert_eq!(answers(vec![served.submit(request(8))]), [Ok(vec![17])]);
    // Whoever looks when nothing is lost changes nothing.
    look();
    assert_eq!(answers(vec![served.submit(request(9))]), [Ok(vec![19])]);
    assert_eq!(served.shared.created.load(SeqCst), 2);
}

#[test]
fn an_instance_on_a_gpu_executes_on_its_own_thread_however_quick_it_is() {
    let served = serve_held();
    served.shared.release();
    for value in 10..400 {
        assert_eq!(answers(vec![served.submit(request(value))]), [Ok(vec![2 * value + 1])]);
        while served.scheduler.in_flight() > 0 {
            std::thread::yield_now();
        }
    }
}
