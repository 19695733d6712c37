//! Tensors in regions, and batches that overlap, over the driver's stand-in: the answers are those of plain requests, what
//! is copied is counted, and the order of the calls is looked at.

#![allow(unsafe_code, reason = "the stand-in's device memory is memory of this process")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use bytes::Bytes;
use hanok_backend::conformance::{Fixture, Outcome};
use hanok_backend::{
    Backend, Batch, BatchInput, DevicePlace, ErrorCode, InferenceRequest, InferenceResponse, Member, ModelInstance,
    OutputSelection, RegionMemory, RegionOutput, RegionSlice, RequestRegions, RequestTiming, ServingError,
};
use hanok_devices::{DeviceBuffer, PoolSizes};
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

use super::SegmentCopier;
use super::tests::{COPY_IN, StagedOnHost, instance_of, workspace};

/// A region: a buffer of the pool, which the stand-in keeps in this process.
#[derive(Debug)]
pub(super) struct Lent(DeviceBuffer);

impl Lent {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the stand-in's device memory is ordinary memory, and nothing is under way when tests look.
        unsafe { std::slice::from_raw_parts(self.0.address() as *const u8, self.0.length()) }
    }
}

impl RegionMemory for Lent {
    fn place(&self) -> Result<DevicePlace, ServingError> {
        Ok(DevicePlace { ordinal: 0, address: self.0.address() })
    }

    fn ordinal(&self) -> Option<u32> {
        Some(0)
    }

    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), ServingError> {
        panic!("what lies on the instance's device is not brought to the host")
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<(), ServingError> {
        panic!("what is wanted on the instance's device does not go through the host")
    }
}

/// A request with everything that it may have in regions, at `offset` within each.
pub(super) struct InRegions {
    pub(super) request: InferenceRequest,
    outputs: Vec<(usize, Arc<Lent>)>,
    offset: usize,
}

impl StagedOnHost {
    pub(super) fn lend(&self, bytes: usize) -> Arc<Lent> {
        Arc::new(Lent(self.device.generation().unwrap().pool.allocate(bytes).unwrap()))
    }

    pub(super) fn in_regions(&self, fixture: &Fixture, sample: usize, offset: usize, shortened: usize) -> InRegions {
        let mut request = fixture.samples[sample].request(OutputSelection::All);
        let mut regions = RequestRegions::default();
        for (index, input) in request.inputs.iter_mut().enumerate() {
            if matches!(fixture.config.inputs[index].data_type, DataType::Bytes | DataType::Bool) {
                continue;
            }
            let input = input.as_mut().unwrap();
            let lent = self.lend(offset + input.data.len());
            // SAFETY: the region is that long and new.
            unsafe {
                let to = (lent.0.address() as *mut u8).add(offset);
                std::ptr::copy_nonoverlapping(input.data.as_ptr(), to, input.data.len());
            }
            let slice = RegionSlice::new(lent, offset as u64, input.data.len());
            input.data = Bytes::new();
            regions.inputs.push((u16::try_from(index).unwrap(), slice));
        }
        let mut outputs = Vec::new();
        for (index, expected) in fixture.samples[sample].expected.iter().enumerate() {
            let lent = self.lend(offset + expected.data.len());
            let slice = RegionSlice::new(Arc::clone(&lent) as _, offset as u64, expected.data.len() - shortened);
            let name = fixture.config.outputs[index].name.as_str().into();
            regions.outputs.push(RegionOutput { index: u16::try_from(index).unwrap(), name, slice });
            outputs.push((index, lent));
        }
        request.regions = Some(Box::new(regions));
        InRegions { request, outputs, offset }
    }

    fn trace(&self, on: bool) {
        // SAFETY: the function has this type.
        unsafe { self.control.get::<unsafe extern "C" fn(i32)>("stand_in_trace").unwrap()(i32::from(on)) };
    }

    fn calls(&self) -> Vec<String> {
        // SAFETY: the function has this type and gives a C string.
        let text = unsafe {
            CStr::from_ptr(self.control.get::<unsafe extern "C" fn() -> *const c_char>("stand_in_calls").unwrap()())
        };
        text.to_str().unwrap().lines().map(str::to_owned).collect()
    }
}

/// Inputs as the scheduler gives them to an instance that gathers by itself.
fn inputs<'a>(fixture: &Fixture, requests: &[&'a InferenceRequest]) -> SmallVec<[Option<BatchInput<'a>>; 2]> {
    let of = |index: usize| {
        let first = requests[0].inputs[index].as_ref()?;
        let mut shape: Shape = first.shape.clone();
        if fixture.config.batches() {
            shape[0] = requests.iter().map(|request| i64::from(request.rows)).sum();
        }
        let data = if requests.len() == 1 { &first.data[..] } else { &[] };
        Some(BatchInput { shape, data })
    };
    (0..fixture.config.inputs.len()).map(of).collect()
}

pub(super) type Answers = Vec<Result<InferenceResponse, ServingError>>;

pub(super) fn with_batch<T>(
    fixture: &Fixture,
    requests: &[&InferenceRequest],
    with_inputs: bool,
    work: impl FnOnce(&mut Batch<'_>) -> Result<T, ServingError>,
) -> (Result<T, ServingError>, Answers) {
    let mut outcomes: Vec<Outcome> = requests.iter().map(|_| Outcome::default()).collect();
    let sinks = outcomes.iter_mut().map(|outcome| outcome as &mut dyn hanok_backend::ResponseSink);
    let mut members: Vec<Member<'_>> =
        requests.iter().zip(sinks).map(|(&request, sink)| Member::new(request, sink)).collect();
    let inputs = if with_inputs { inputs(fixture, requests) } else { SmallVec::new() };
    let mut batch = Batch::new(&fixture.config, inputs, &mut members);
    let result = work(&mut batch);
    if result.is_ok() {
        batch.finish(None, |_| RequestTiming::default());
    } else {
        drop(batch);
    }
    (result, outcomes.into_iter().flat_map(|outcome| outcome.responses).collect())
}

pub(super) fn execute(instance: &mut dyn ModelInstance, fixture: &Fixture, requests: &[&InferenceRequest]) -> Answers {
    let (result, answers) = with_batch(fixture, requests, true, |batch| instance.execute(batch));
    result.unwrap_or_else(|error| panic!("{}: {error} {:?}", fixture.config.name, error.operator_detail()));
    answers
}

/// Models of the repository whose tensors are numbers, with their samples.
pub(super) fn fixtures() -> Vec<Fixture> {
    let folders = std::fs::read_dir(workspace().join("models")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> =
        folders.filter(|path| path.join("golden.json").exists() && path.join("1/model.onnx").exists()).collect();
    folders.sort();
    let read = |folder: &std::path::PathBuf| Fixture::from_model_directory(folder, 1, Some("onnxruntime")).unwrap();
    let numbers = |fixture: &Fixture| {
        let inputs = fixture.config.inputs.iter().map(|input| input.data_type);
        let outputs = fixture.config.outputs.iter().map(|output| output.data_type);
        inputs.chain(outputs).all(|data_type| data_type != DataType::Bytes)
    };
    folders.iter().map(read).filter(numbers).collect()
}

fn check_regions(lent: &InRegions, expected: &InferenceResponse, answer: &InferenceResponse, what: &str) {
    for (index, region) in &lent.outputs {
        let (told, plain) = (answer.outputs[*index].as_ref().unwrap(), expected.outputs[*index].as_ref().unwrap());
        assert_eq!(told.shape, plain.shape, "{what}");
        assert!(told.data.is_empty(), "{what}: nothing but the shape is told");
        assert!(region.bytes()[lent.offset..] == plain.data[..], "{what}: output {index} in its region");
    }
}

fn answers_are_those_of_plain_requests(graphs: bool, kernel: bool) {
    let Some((backend, _alone)) = StagedOnHost::open(graphs, &PoolSizes::default()) else { return };
    backend.device.generation().unwrap().prepare_copier(|context| match kernel {
        // SAFETY: the stand-in reads nothing of it.
        true => unsafe { SegmentCopier::of_image(context, b"anything") }.unwrap(),
        false => SegmentCopier::default(),
    });
    let mut checked = 0;
    for fixture in fixtures() {
        let model = backend.load(&fixture.source()).unwrap();
        let mut instance = instance_of(&*model).unwrap();
        for offset in [0, 256, 12] {
            for members in [1_usize, 2, 3] {
                let rows: u32 = fixture.samples[0].rows * u32::try_from(members).unwrap();
                if members > 1 && rows > fixture.config.max_batch_size {
                    continue;
                }
                let what = format!("{}, {members} members at {offset}", fixture.config.name);
                let plain = fixture.samples[0].request(OutputSelection::All);
                let expected = execute(&mut *instance, &fixture, &vec![&plain; members]);
                let expected = expected[0].as_ref().unwrap();
                // All of them in regions, and the first only.
                for mixed in [false, true] {
                    let lent: Vec<InRegions> =
                        (0..members).map(|_| backend.in_regions(&fixture, 0, offset, 0)).collect();
                    let of = |(index, lent)| {
                        if mixed && index > 0 {
                            &plain
                        } else {
                            let lent: &InRegions = lent;
                            &lent.request
                        }
                    };
                    let requests: Vec<&InferenceRequest> = lent.iter().enumerate().map(of).collect();
                    for (index, answer) in execute(&mut *instance, &fixture, &requests).iter().enumerate() {
                        let answer = answer.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
                        if mixed && index > 0 {
                            assert_eq!(answer.outputs, expected.outputs, "{what}");
                        } else {
                            check_regions(&lent[index], expected, answer, &what);
                        }
                    }
                }
                checked += 1;
            }
        }
    }
    assert!(checked >= 9, "{checked} batches were checked");
}

#[test]
fn tensors_in_regions_give_the_answers_of_plain_requests() {
    answers_are_those_of_plain_requests(false, false);
}

#[test]
fn one_launch_moves_them_as_well() {
    answers_are_those_of_plain_requests(false, true);
}

#[test]
fn graphs_with_fixed_addresses_take_them_too() {
    answers_are_those_of_plain_requests(true, true);
}

/// The first model that batches, with several samples' worth of room.
pub(super) fn batching() -> Fixture {
    let fits = |fixture: &Fixture| fixture.config.max_batch_size >= 4 * fixture.samples[0].rows;
    fixtures().into_iter().find(fits).expect("a model of the repository batches")
}

fn count(calls: &[String], kind: &str) -> usize {
    calls.iter().filter(|call| call.split(' ').next() == Some(kind)).count()
}

#[test]
fn a_lone_request_in_regions_is_computed_where_it_lies() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    let lent = backend.in_regions(&fixture, 0, 0, 0);
    let used = backend.device.generation().unwrap().pool.statistics().used_bytes;
    backend.trace(true);
    execute(&mut *instance, &fixture, &[&lent.request])[0].as_ref().unwrap();
    let calls = backend.calls();
    for kind in ["in", "out", "across", "launch"] {
        assert_eq!(count(&calls, kind), 0, "no byte is moved: {calls:?}");
    }
    assert_eq!(backend.device.generation().unwrap().pool.statistics().used_bytes, used, "and no buffer is kept");

    let three: Vec<InRegions> = (0..3).map(|_| backend.in_regions(&fixture, 0, 0, 0)).collect();
    backend.trace(true);
    execute(&mut *instance, &fixture, &three.iter().map(|lent| &lent.request).collect::<Vec<_>>());
    let calls = backend.calls();
    let tensors = three[0].request.regions.as_ref().unwrap().inputs.len() + three[0].outputs.len();
    assert_eq!((count(&calls, "in"), count(&calls, "out")), (0, 0), "nothing goes through the host: {calls:?}");
    assert_eq!(count(&calls, "across"), 3 * tensors, "without the kernel one copy each: {calls:?}");
}

#[test]
fn one_launch_gathers_and_one_scatters() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    // SAFETY: the stand-in reads nothing of it.
    let make = |context: &_| unsafe { SegmentCopier::of_image(context, b"anything") }.unwrap();
    backend.device.generation().unwrap().prepare_copier(make);
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    let three: Vec<InRegions> = (0..3).map(|_| backend.in_regions(&fixture, 0, 0, 0)).collect();
    backend.trace(true);
    execute(&mut *instance, &fixture, &three.iter().map(|lent| &lent.request).collect::<Vec<_>>());
    let calls = backend.calls();
    assert_eq!((count(&calls, "launch"), count(&calls, "across")), (2, 0), "{calls:?}");
}

#[test]
fn an_output_that_does_not_fit_fails_its_member_alone() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    let plain = fixture.samples[0].request(OutputSelection::All);
    let expected = execute(&mut *instance, &fixture, &[&plain, &plain]);
    let (short, fine) = (backend.in_regions(&fixture, 0, 0, 1), backend.in_regions(&fixture, 0, 0, 0));
    let answers = execute(&mut *instance, &fixture, &[&short.request, &fine.request]);
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    let start =
        format!("shared memory size specified with the request for output '{}' (", fixture.config.outputs[0].name);
    assert!(error.message().starts_with(&start), "{error}");
    assert!(error.message().ends_with(" bytes to hold the results"), "{error}");
    check_regions(&fine, expected[1].as_ref().unwrap(), answers[1].as_ref().unwrap(), "the neighbour");
}

#[test]
fn the_next_batch_goes_to_the_device_before_this_one_is_waited_for() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    let plain = fixture.samples[0].request(OutputSelection::All);
    let expected = execute(&mut *instance, &fixture, &[&plain, &plain]);
    let two = [&plain, &plain];
    let pipelined = instance.pipelined().unwrap();
    backend.trace(true);
    let begun = with_batch(&fixture, &two, true, |batch| pipelined.begin(batch).and(Err::<(), _>(not_yet()))).0;
    assert_eq!(begun.unwrap_err().message(), not_yet().message());
    let (begun, _) = with_batch(&fixture, &two, true, |batch| {
        pipelined.begin(batch).expect("there is room for two");
        Err::<(), _>(not_yet())
    });
    assert!(begun.is_err());
    let third = with_batch(&fixture, &two, true, |batch| pipelined.begin(batch)).0.unwrap_err();
    assert_eq!(third.code(), ErrorCode::Internal, "two are under way at most");
    for _ in 0..2 {
        let (ended, answers) = with_batch(&fixture, &two, false, |batch| {
            pipelined.end(batch)?;
            let times = batch.device_times().expect("the device's clock is told");
            assert!(times.input_ns > 0);
            Ok(())
        });
        ended.unwrap();
        for (answer, expected) in answers.iter().zip(&expected) {
            assert_eq!(answer.as_ref().unwrap().outputs, expected.as_ref().unwrap().outputs);
        }
    }
    let calls = backend.calls();
    let places = |kind: &str| -> Vec<usize> {
        (0..calls.len()).filter(|&place| calls[place].split(' ').next() == Some(kind)).collect()
    };
    let stream = |place: usize| calls[place].split(' ').nth(1).unwrap().to_owned();
    let (going, coming, waits) = (places("in"), places("out"), places("wait"));
    assert_eq!((going.len(), coming.len(), waits.len()), (2, 2, 2), "one copy there and one back for each: {calls:?}");
    assert!(going[1] < waits[0], "the second batch is copied before the first is waited for: {calls:?}");
    assert!(coming[0] < going[1], "and the first was all put on its way: {calls:?}");
    assert_ne!(
        stream(going[1]),
        stream(coming[0]),
        "its copy does not queue behind the first one's results: {calls:?}"
    );
    let waits_of_streams = places("stream").len();
    assert_eq!(waits_of_streams, 4, "computing waits for the copy, and the copy back for computing: {calls:?}");
}

pub(super) fn not_yet() -> ServingError {
    ServingError::internal("the batch is under way")
}

#[test]
fn a_copy_that_fails_leaves_the_batch_before_it_alone() {
    let Some((backend, _alone)) = StagedOnHost::open(false, &PoolSizes::default()) else { return };
    let fixture = batching();
    let model = backend.load(&fixture.source()).unwrap();
    let mut instance = instance_of(&*model).unwrap();
    let plain = fixture.samples[0].request(OutputSelection::All);
    let expected = execute(&mut *instance, &fixture, &[&plain, &plain]);
    let pipelined = instance.pipelined().unwrap();
    let begin = |pipelined: &mut dyn hanok_backend::PipelinedInstance| {
        with_batch(&fixture, &[&plain, &plain], true, |batch| {
            pipelined.begin(batch).map_or_else(Err, |()| Err::<(), _>(not_yet()))
        })
        .0
        .unwrap_err()
    };
    assert_eq!(begin(pipelined).message(), not_yet().message());
    backend.fail(COPY_IN, 1, 0);
    assert_eq!(begin(pipelined).message(), "the GPU refused a part of this request");
    let (ended, answers) = with_batch(&fixture, &[&plain, &plain], false, |batch| pipelined.end(batch));
    ended.unwrap();
    assert_eq!(answers[1].as_ref().unwrap().outputs, expected[1].as_ref().unwrap().outputs);
    let again = execute(&mut *instance, &fixture, &[&plain, &plain]);
    assert_eq!(again[0].as_ref().unwrap().outputs, expected[0].as_ref().unwrap().outputs);
    // One that is dropped with a batch under way waits for it.
    let pipelined = instance.pipelined().unwrap();
    assert_eq!(begin(pipelined).message(), not_yet().message());
    drop(instance);
}
