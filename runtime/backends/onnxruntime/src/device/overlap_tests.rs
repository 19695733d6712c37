//! What happens to batches that overlap when one of them or the device fails, over the driver's stand-in.

#![allow(unsafe_code, reason = "the stand-in's device memory is memory of this process")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use hanok_backend::conformance::Fixture;
use hanok_backend::{Backend, Batch, ErrorCode, InferenceRequest, ModelInstance, OutputSelection, ServingError};
use hanok_devices::{PoolSizes, Stream, StreamPriority};
use hanok_telemetry::{DeviceSpans, TraceClock, TraceTimes};

use super::region_tests::{Answers, batching, execute, not_yet, with_batch};
use super::tests::{COPY_IN, StagedOnHost, instance_of};

/// Begins a batch of `requests` without ending it.
fn begin(
    instance: &mut dyn ModelInstance,
    fixture: &Fixture,
    requests: &[&InferenceRequest],
) -> Result<(), ServingError> {
    let pipelined = instance.pipelined().unwrap();
    let (begun, _) = with_batch(fixture, requests, true, |batch| pipelined.begin(batch).and(Err::<(), _>(not_yet())));
    let error = begun.unwrap_err();
    if error.message() == not_yet().message() { Ok(()) } else { Err(error) }
}

fn end(
    instance: &mut dyn ModelInstance,
    fixture: &Fixture,
    requests: &[&InferenceRequest],
) -> Result<Answers, ServingError> {
    let pipelined = instance.pipelined().unwrap();
    let (ended, answers) = with_batch(fixture, requests, false, |batch| pipelined.end(batch));
    ended.map(|()| answers)
}

pub(super) fn assert_equal(answers: &Answers, expected: &Answers) {
    for (answer, expected) in answers.iter().zip(expected) {
        assert_eq!(answer.as_ref().unwrap().outputs, expected.as_ref().unwrap().outputs);
    }
}

#[test]
fn staging_of_a_batch_that_could_not_be_started_is_given_back() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    for members in 1..=4 {
        let mut instance = instance_of(&*model).unwrap();
        let plain = fixture.samples[0].request(OutputSelection::All);
        let batch = vec![&plain; members];
        let expected = execute(&mut *instance, &fixture, &batch);
        for _ in 0..3 {
            begin(&mut *instance, &fixture, &batch).unwrap();
            backend.fail(COPY_IN, 1, 0);
            begin(&mut *instance, &fixture, &batch).unwrap_err();
            assert_equal(&end(&mut *instance, &fixture, &batch).unwrap(), &expected);
            // Two fit again, as before the failure.
            begin(&mut *instance, &fixture, &batch).unwrap();
            begin(&mut *instance, &fixture, &batch).unwrap_or_else(|error| panic!("{members} members: {error}"));
            for _ in 0..2 {
                assert_equal(&end(&mut *instance, &fixture, &batch).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn a_traced_batch_tells_where_it_was_on_the_device() {
    for graphs in [false, true] {
        let Some((backend, _alone)) = StagedOnHost::open(graphs, &PoolSizes::default()) else { return };
        let fixture = batching();
        let model = backend.load(&fixture.source()).unwrap();
        let mut instance = instance_of(&*model).unwrap();
        let plain = fixture.samples[0].request(OutputSelection::All);
        let clock = TraceClock::new(Instant::now(), Duration::from_secs(1));
        let traced = InferenceRequest { trace: Some(Arc::new(TraceTimes::new(clock))), ..plain.clone() };
        let mut spans = |requests: &[&InferenceRequest]| {
            let work = |batch: &mut Batch<'_>| instance.execute(batch).map(|()| batch.device_spans());
            with_batch(&fixture, requests, true, work).0.unwrap()
        };
        assert_eq!(spans(&[&plain, &plain]), None, "nobody asks for it");
        let before = Instant::now();
        let DeviceSpans { copy_in, execute, copy_out } = spans(&[&plain, &traced]).unwrap();
        let moments = [before, copy_in.0, copy_in.1, execute.0, execute.1, copy_out.0, copy_out.1, Instant::now()];
        assert!(moments.is_sorted(), "{moments:?}");
    }
}

#[test]
fn a_batch_without_memory_beside_another_is_computed_after_it() {
    let sizes = PoolSizes { device_bytes: BTreeMap::from([(0, 2 << 20)]), ..PoolSizes::default() };
    let Some((backend, _alone)) = StagedOnHost::open(false, &sizes) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    let plain = fixture.samples[0].request(OutputSelection::All);
    let batch = [&plain, &plain];
    let expected = execute(&mut *instance, &fixture, &batch);
    begin(&mut *instance, &fixture, &batch).unwrap();
    let pool = Arc::clone(&backend.device.generation().unwrap().pool);
    let others: Vec<_> = std::iter::from_fn(|| pool.allocate(1).ok()).collect();
    assert!(!others.is_empty());
    let error = begin(&mut *instance, &fixture, &batch).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error}");
    assert!(!instance.is_lost());
    assert_equal(&end(&mut *instance, &fixture, &batch).unwrap(), &expected);
    begin(&mut *instance, &fixture, &batch).expect("what the first one had is free");
    assert_equal(&end(&mut *instance, &fixture, &batch).unwrap(), &expected);
}

#[test]
fn a_failure_that_sticks_ends_both_batches_and_the_instance_is_made_anew() {
    for graphs in [false, true] {
        both_end_and_the_instance_is_made_anew(graphs);
    }
}

fn both_end_and_the_instance_is_made_anew(graphs: bool) {
    let Some((backend, _alone)) = StagedOnHost::open(graphs, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let plain = fixture.samples[0].request(OutputSelection::All);
    let batch = [&plain, &plain];
    let mut instance = instance_of(&*model).unwrap();
    let expected = execute(&mut *instance, &fixture, &batch);
    begin(&mut *instance, &fixture, &batch).unwrap();
    backend.fail(COPY_IN, 700, 0);
    let error = begin(&mut *instance, &fixture, &batch).unwrap_err();
    assert_eq!((error.code(), instance.is_lost()), (ErrorCode::Unavailable, true), "{error}");
    let error = end(&mut *instance, &fixture, &batch).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    drop(instance);
    let mut instance = instance_of(&*model).unwrap();
    assert_equal(&execute(&mut *instance, &fixture, &batch), &expected);
}

#[test]
fn a_context_that_is_lost_while_nothing_is_executed_is_noticed() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let generation = backend.device.generation().unwrap();
    backend.device.ask(&generation);
    assert!(!generation.is_lost());
    let stream = Stream::new(&generation.context, StreamPriority::Default).unwrap();
    backend.fail(COPY_IN, 700, 0);
    let buffer = generation.pool.allocate(4).unwrap();
    // SAFETY: the buffer is longer, and the stand-in fails.
    unsafe { stream.copy_in(buffer.address(), &[0; 4]) }.unwrap_err();
    backend.device.ask(&generation);
    assert!(generation.is_lost());
    drop((buffer, stream, generation));
    assert!(!backend.device.generation().unwrap().is_lost(), "and made anew");
}

#[test]
fn idle_instances_are_told_that_their_context_is_lost() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let (mut busy, mut idle) = (instance_of(&*model).unwrap(), instance_of(&*model).unwrap());
    let told = Arc::new(AtomicUsize::new(0));
    for instance in [&mut busy, &mut idle] {
        let told = Arc::clone(&told);
        instance.watch_loss(Arc::new(move || {
            told.fetch_add(1, SeqCst);
        }));
    }
    let plain = fixture.samples[0].request(OutputSelection::All);
    for (code, expected) in [(1, 0), (700, 2)] {
        backend.fail(COPY_IN, code, 0);
        begin(&mut *busy, &fixture, &[&plain]).unwrap_err();
        assert_eq!(told.load(SeqCst), expected, "{code}");
        assert_eq!(idle.is_lost(), expected > 0);
    }
    begin(&mut *busy, &fixture, &[&plain]).unwrap_err();
    assert_eq!(told.load(SeqCst), 2, "once");
    drop((busy, idle));
    instance_of(&*model).expect("with the idle one gone the context is made anew, without a request to it");
}
