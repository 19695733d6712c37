//! Validation rules, one test per rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use bytes::Bytes;
use hanok_backend::ErrorCode;
use hanok_tensor::{DataType, push_bytes_element};

use super::*;
use crate::{SharedMemoryRange, sample_models};

fn input(name: &'static str, data_type: DataType, shape: &[i64]) -> MessageInput<'static> {
    let size = Shape::new(shape).byte_size(data_type).unwrap().unwrap_or(0);
    MessageInput {
        name: name.into(),
        data_type,
        shape: Shape::new(shape),
        data: TensorSource::Inline(Bytes::from(vec![0; size])),
    }
}

fn ints(name: &'static str, shape: &[i64]) -> MessageInput<'static> {
    input(name, DataType::Int32, shape)
}

fn prepared(
    inputs: impl IntoIterator<Item = MessageInput<'static>>,
    config: &ModelConfig,
) -> Result<(InferenceRequest, OutputPlan), ServingError> {
    let message = InferMessage { inputs: inputs.into_iter().collect(), ..InferMessage::default() };
    prepare(message, config, Instant::now(), None)
}

fn refusal(inputs: impl IntoIterator<Item = MessageInput<'static>>, config: &ModelConfig) -> String {
    let error = prepared(inputs, config).unwrap_err();
    assert_eq!(error.triton_code(), ErrorCode::InvalidArgument, "{error}");
    error.message().to_owned()
}

#[test]
fn w30_inputs_are_put_in_configured_order() {
    let config = sample_models::simple();
    let mut first = ints("INPUT1", &[3, 16]);
    first.data = TensorSource::Inline(Bytes::from(vec![1; 192]));
    let (request, plan) = prepared([first, ints("INPUT0", &[3, 16])], &config).unwrap();
    assert_eq!(request.rows, 3);
    assert_eq!(request.inputs[0].as_ref().unwrap().data[0], 0);
    assert_eq!(request.inputs[1].as_ref().unwrap().data[0], 1);
    assert_eq!(plan, OutputPlan::All { binary: false });
    assert_eq!(request.outputs, OutputSelection::All);
}

#[test]
fn w30_missing_extra_and_unknown_inputs() {
    let config = sample_models::simple();
    assert_eq!(
        refusal([ints("INPUT0", &[1, 16])], &config),
        "expected 2 inputs but got 1 inputs for model 'simple'. Got input(s) ['INPUT0'], but missing required input(s) \
         ['INPUT1']. Please provide all required input(s)."
    );
    assert!(refusal([], &config).contains("Got input(s) [], but missing required input(s) ['INPUT0','INPUT1']"));
    assert_eq!(
        refusal([ints("INPUT0", &[1, 16]), ints("X", &[1, 16])], &config),
        "unexpected inference input 'X' for model 'simple'"
    );
    assert_eq!(
        refusal([ints("INPUT0", &[1, 16]), ints("input1", &[1, 16])], &config),
        "unexpected inference input 'input1' for model 'simple'"
    );
    assert!(
        refusal([ints("INPUT0", &[1, 16]), ints("INPUT1", &[1, 16]), ints("X", &[1, 16])], &config)
            .starts_with("expected 2 inputs but got 3 inputs for model 'simple'. Got input(s) ['INPUT0','INPUT1','X']")
    );
    assert_eq!(
        refusal([ints("INPUT0", &[1, 16]), ints("INPUT0", &[1, 16])], &config),
        "input 'INPUT0' already exists in request"
    );
}

#[test]
fn w30_optional_inputs() {
    let config = sample_models::optional_inputs();
    let (request, _) = prepared([ints("C", &[1]), ints("A", &[1])], &config).unwrap();
    assert_eq!(request.rows, 1);
    assert!(request.inputs[0].is_some() && request.inputs[1].is_none() && request.inputs[2].is_some());
    assert!(refusal([], &config).starts_with("expected number of inputs between 1 and 3 but got 0 inputs"));
    assert!(refusal([ints("B", &[1]), ints("C", &[1])], &config).contains("missing required input(s) ['A']"));
}

#[test]
fn w30_wrong_type_shape_and_batch() {
    let config = sample_models::simple();
    let both = |shape: &[i64]| [ints("INPUT0", shape), ints("INPUT1", shape)];
    assert_eq!(
        refusal([input("INPUT0", DataType::Fp32, &[1, 16]), ints("INPUT1", &[1, 16])], &config),
        "inference input 'INPUT0' data-type is 'FP32', but model 'simple' expects 'INT32'"
    );
    assert!(
        refusal(both(&[1, 17]), &config)
            .starts_with("unexpected shape for input 'INPUT0' for model 'simple'. Expected [-1,16], got [1,17]")
    );
    assert!(
        refusal(both(&[16]), &config).contains("Expected [-1,16], got [16]")
            || refusal(both(&[16]), &config).contains("batch-size")
    );
    assert_eq!(refusal(both(&[9, 16]), &config), "inference request batch-size must be <= 8 for 'simple'");
    assert_eq!(refusal(both(&[0, 16]), &config), "inference request batch-size must be >= 1 for 'simple'");
    assert_eq!(refusal(both(&[1 << 40, 0]), &config), "inference request batch-size must be <= 8 for 'simple'");
    assert!(prepared(both(&[8, 16]), &config).is_ok());
    assert_eq!(
        refusal([ints("INPUT0", &[1, 16]), ints("INPUT1", &[2, 16])], &config),
        "input 'INPUT1' batch size does not match other inputs for 'simple'"
    );
    assert_eq!(
        refusal(both(&[]), &config),
        "input 'INPUT0' has no shape but model requires batch dimension for 'simple'"
    );
    let unbatched = sample_models::two_variable_dims();
    assert_eq!(
        refusal([input("INPUT0", DataType::Fp32, &[2])], &unbatched),
        "unexpected shape for input 'INPUT0' for model 'two_variable_dims'. Expected [-1,-1], got [2]"
    );
}

#[test]
fn w10_negative_dimensions_are_malformed() {
    let mut negative = ints("INPUT0", &[1, 16]);
    negative.shape = Shape::new(&[1, -16]);
    let error = prepared([negative, ints("INPUT1", &[1, 16])], &sample_models::simple()).unwrap_err();
    assert_eq!(error.triton_code(), ErrorCode::Internal);
}

#[test]
fn w35_zero_size_tensors_pass() {
    let (request, _) = prepared([input("INPUT0", DataType::Fp32, &[2, 0])], &sample_models::identity_fp32()).unwrap();
    assert_eq!(request.rows, 2);
}

#[test]
fn w44_byte_size_must_match() {
    let config = sample_models::simple();
    let mut short = ints("INPUT0", &[1, 16]);
    short.data = TensorSource::Inline(Bytes::from(vec![0; 60]));
    assert_eq!(
        refusal([short, ints("INPUT1", &[1, 16])], &config),
        "input byte size mismatch for input 'INPUT0' for model 'simple'. Expected 64, got 60"
    );
}

#[test]
fn w31_overflowing_shapes() {
    let huge = MessageInput {
        name: "INPUT0".into(),
        data_type: DataType::Fp32,
        shape: Shape::new(&[1 << 4, (1 << 60) + 2]),
        data: TensorSource::Inline(Bytes::new()),
    };
    assert!(
        refusal([huge], &sample_models::two_variable_dims()).contains("exceed maximum size of 9223372036854775807")
    );
}

#[test]
fn w45_bytes_elements_are_counted() {
    let config = sample_models::identity_bytes();
    let bytes = |data: Vec<u8>| MessageInput {
        name: "INPUT0".into(),
        data_type: DataType::Bytes,
        shape: Shape::new(&[1, 2]),
        data: TensorSource::Inline(data.into()),
    };
    let mut data = Vec::new();
    push_bytes_element(&mut data, b"a");
    let model = "for inference input 'INPUT0' for model 'identity_bytes'";
    assert_eq!(refusal([bytes(data.clone())], &config), format!("expected 2 string elements {model}, got 1"));
    push_bytes_element(&mut data, b"");
    assert!(prepared([bytes(data.clone())], &config).is_ok());
    push_bytes_element(&mut data, b"c");
    assert_eq!(refusal([bytes(data)], &config), format!("unexpected number of string elements 3 {model}, expecting 2"));
    assert_eq!(
        refusal([bytes(vec![1, 0, 0, 0, 7, 9, 9])], &config),
        format!("incomplete string length indicator {model}, expecting 4 bytes but only 2 bytes available")
    );
    assert_eq!(
        refusal([bytes(vec![255, 255, 255, 255, 7])], &config),
        format!("incomplete string data {model}, expecting string of length 4294967295 but only 1 bytes available")
    );
}

#[test]
fn shapes_stay_the_client_s_where_the_model_reshapes() {
    let (request, _) = prepared([ints("INPUT0", &[2, 5])], &sample_models::reshaped()).unwrap();
    assert_eq!(&request.inputs[0].as_ref().unwrap().shape[..], [2, 5]);
}

#[test]
fn w30_outputs_by_name() {
    let config = sample_models::simple();
    let output = |name: &'static str, classification| RequestedOutput {
        name: name.into(),
        binary: true,
        classification,
        shared_memory: None,
    };
    let with = |outputs: Vec<RequestedOutput<'static>>, config: &ModelConfig, inputs: Vec<MessageInput<'static>>| {
        let message = InferMessage { inputs: inputs.into(), outputs: outputs.into(), ..InferMessage::default() };
        prepare(message, config, Instant::now(), None)
    };
    let good = || vec![ints("INPUT0", &[1, 16]), ints("INPUT1", &[1, 16])];
    let (request, plan) = with(vec![output("OUTPUT1", 0), output("OUTPUT0", 3)], &config, good()).unwrap();
    assert_eq!(request.outputs, OutputSelection::Only(smallvec![1, 0]));
    assert_eq!(plan.outputs(2).map(|output| output.classification).collect::<Vec<_>>(), [0, 3]);
    let text = |outputs| with(outputs, &config, good()).unwrap_err().message().to_owned();
    assert_eq!(text(vec![output("OUTPUT2", 0)]), "unexpected inference output 'OUTPUT2' for model 'simple'");
    assert_eq!(text(vec![output("OUTPUT0", 0), output("OUTPUT0", 0)]), "output 'OUTPUT0' already exists in request");
    let strings = sample_models::identity_bytes();
    let error = with(vec![output("OUTPUT0", 1)], &strings, vec![]).unwrap_err();
    assert_eq!(error.message(), "class result not available for output due to unsupported type 'BYTES'");
    let mut shared = output("OUTPUT0", 0);
    shared.shared_memory = Some(SharedMemoryRange { region: "r".into(), offset: 0, byte_size: 8 });
    assert_eq!(with(vec![shared], &config, good()).unwrap_err().code(), ErrorCode::Unsupported);
}

/// One region of 64 bytes, of which nothing is read here.
#[derive(Debug)]
struct OneRegion;

impl hanok_backend::RegionMemory for OneRegion {
    fn place(&self) -> Result<hanok_backend::DevicePlace, ServingError> {
        panic!("validation looks at no memory")
    }

    fn ordinal(&self) -> Option<u32> {
        None
    }

    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), ServingError> {
        panic!("validation looks at no memory")
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<(), ServingError> {
        panic!("validation looks at no memory")
    }
}

impl RegionLookup for OneRegion {
    fn find(&self, range: &SharedMemoryRange<'_>) -> Result<RegionSlice, ServingError> {
        let length = range.check_within(64)?;
        Ok(RegionSlice::new(std::sync::Arc::new(Self), range.offset, length))
    }
}

#[test]
fn w63_tensors_in_regions_have_their_shapes_checked_and_no_bytes() {
    let config = sample_models::simple();
    let range = |offset, byte_size| SharedMemoryRange { region: "r".into(), offset, byte_size };
    let lent = |offset, byte_size| MessageInput {
        data: TensorSource::SharedMemory(range(offset, byte_size)),
        ..ints("INPUT1", &[1, 16])
    };
    let output =
        RequestedOutput { name: "OUTPUT1".into(), binary: true, classification: 0, shared_memory: Some(range(60, 4)) };
    let with = |input, outputs: Vec<RequestedOutput<'static>>| {
        let inputs = smallvec![ints("INPUT0", &[1, 16]), input];
        let message = InferMessage { inputs, outputs: outputs.into(), ..InferMessage::default() };
        prepare_with_regions(message, &config, &OneRegion, Instant::now(), None)
    };
    let (request, plan) = with(lent(0, 64), vec![output]).unwrap();
    let regions = request.regions.unwrap();
    assert_eq!((regions.input(0).is_some(), regions.input(1).map(RegionSlice::length)), (false, Some(64)));
    assert!(request.inputs[1].as_ref().unwrap().data.is_empty());
    let wanted = regions.output(1).unwrap();
    assert_eq!(wanted.check_room(4), Ok(()));
    assert_eq!(
        wanted.check_room(64).unwrap_err().message(),
        "shared memory size specified with the request for output 'OUTPUT1' (4 bytes) should be at least 64 bytes to hold \
         the results"
    );
    assert!(plan.outputs(2).all(|output| output.placed));
    assert_eq!(with(ints("INPUT1", &[1, 16]), vec![]).unwrap().0.regions.map(drop), None, "and nothing costs without");
    let text = with(lent(4, 60), vec![]).unwrap_err().message().to_owned();
    assert_eq!(text, "input byte size mismatch for input 'INPUT1' for model 'simple'. Expected 64, got 60");
    let text = with(lent(4, 64), vec![]).unwrap_err().message().to_owned();
    assert_eq!(text, "Invalid offset + byte size for shared memory region: 'r'");
}

#[test]
fn w34_w89_decoupled_models_need_a_stream() {
    assert_eq!(refuse_decoupled(&sample_models::simple(), UnaryEndpoint::Http), Ok(()));
    let mut decoupled = sample_models::simple();
    decoupled.decoupled = true;
    for endpoint in [UnaryEndpoint::Http, UnaryEndpoint::Grpc] {
        assert_eq!(refuse_decoupled(&decoupled, endpoint).unwrap_err().code(), ErrorCode::Unsupported);
    }
}
