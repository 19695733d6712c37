//! Wire rules of the gRPC infer request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_backend::{ErrorCode, ParameterValue, SequenceId};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::v2_grpc::wire::inference::InferParameter;
use crate::v2_grpc::wire::inference::infer_parameter::ParameterChoice;

fn tensor(name: &str, data_type: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: data_type.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn typed(data_type: &str, contents: InferTensorContents) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "m".to_owned(),
        inputs: vec![InferInputTensor { contents: Some(contents), ..tensor("A", data_type, &[2]) }],
        ..ModelInferRequest::default()
    }
}

fn bytes_of(mut request: ModelInferRequest) -> Result<Vec<u8>, ServingError> {
    let message = parse_infer_request(&mut request, &GrpcLimits::default())?;
    match &message.inputs[0].data {
        TensorSource::Inline(data) => Ok(data.to_vec()),
        TensorSource::SharedMemory(range) => panic!("{range:?}"),
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

#[test]
fn w86_raw_contents_are_moved() {
    let raw = Bytes::from(vec![1; 8]);
    let mut request = ModelInferRequest {
        model_name: "m".to_owned(),
        id: "x".to_owned(),
        inputs: vec![tensor("A", "INT32", &[1]), tensor("B", "FP16", &[2])],
        raw_input_contents: vec![raw.slice(..4), raw.slice(4..)],
        ..ModelInferRequest::default()
    };
    let message = parse_infer_request(&mut request, &GrpcLimits::default()).unwrap();
    let TensorSource::Inline(second) = &message.inputs[1].data else { panic!() };
    assert_eq!(second.as_ptr(), raw[4..].as_ptr());
    assert_eq!((&*message.id, message.inputs[1].name.as_ref()), ("x", "B"));
    assert!(message.unnamed_outputs_binary);
}

#[test]
fn w86_typed_contents() {
    let ints = |values: [i32; 2]| InferTensorContents { int_contents: values.to_vec(), ..Default::default() };
    let uints = |values: [u32; 2]| InferTensorContents { uint_contents: values.to_vec(), ..Default::default() };
    assert_eq!(bytes_of(typed("INT8", ints([-1, 127]))).unwrap(), [255, 127]);
    assert_eq!(bytes_of(typed("INT16", ints([-1, 2]))).unwrap(), [255, 255, 2, 0]);
    assert_eq!(bytes_of(typed("UINT16", uints([65535, 2]))).unwrap(), [255, 255, 2, 0]);
    let strings =
        InferTensorContents { bytes_contents: vec![Bytes::from_static(b"a"), Bytes::new()], ..Default::default() };
    assert_eq!(bytes_of(typed("BYTES", strings)).unwrap(), [1, 0, 0, 0, b'a', 0, 0, 0, 0]);
    let bools = InferTensorContents { bool_contents: vec![true, false], ..Default::default() };
    assert_eq!(bytes_of(typed("BOOL", bools)).unwrap(), [1, 0]);
    let floats = InferTensorContents { fp32_contents: vec![1.0, 2.0], ..Default::default() };
    assert_eq!(bytes_of(typed("FP32", floats.clone())).unwrap(), [0, 0, 128, 63, 0, 0, 0, 64]);
    for (data_type, contents) in [
        ("INT8", ints([0, 128])),
        ("INT16", ints([0, -32769])),
        ("UINT8", uints([0, 256])),
        ("UINT16", uints([0, 65536])),
        ("FP16", floats.clone()),
        ("BF16", floats.clone()),
        ("FP64", floats),
        ("INT64", ints([1, 2])),
        ("FP33", ints([1, 2])),
    ] {
        assert_eq!(
            bytes_of(typed(data_type, contents)).unwrap_err().triton_code(),
            ErrorCode::InvalidArgument,
            "{data_type}"
        );
    }
}

#[test]
fn w86_raw_and_typed_do_not_mix() {
    let contents = InferTensorContents { int_contents: vec![1, 2], ..Default::default() };
    let mut request = typed("INT32", contents);
    request.raw_input_contents = vec![Bytes::from(vec![0; 8])];
    let error = bytes_of(request).unwrap_err();
    assert_eq!(
        error.message(),
        "unexpected explicit tensor data for input tensor 'A' for model 'm', binary data was already supplied."
    );
}

#[test]
fn w86_raw_count_must_match() {
    for count in [1, 3] {
        let request = ModelInferRequest {
            inputs: vec![tensor("A", "INT32", &[1]), tensor("B", "INT32", &[1])],
            raw_input_contents: vec![Bytes::from(vec![0; 4]); count],
            ..ModelInferRequest::default()
        };
        assert_eq!(bytes_of(request).unwrap_err().triton_code(), ErrorCode::InvalidArgument);
    }
}

#[test]
fn w63_shared_memory_inputs_take_no_raw_entry() {
    let mut shared = tensor("A", "INT32", &[1]);
    shared
        .parameters
        .insert("shared_memory_region".to_owned(), parameter(ParameterChoice::StringParam("r".to_owned())));
    shared.parameters.insert("shared_memory_byte_size".to_owned(), parameter(ParameterChoice::Int64Param(4)));
    let mut request = ModelInferRequest {
        inputs: vec![shared, tensor("B", "INT32", &[1])],
        raw_input_contents: vec![Bytes::from(vec![7; 4])],
        ..ModelInferRequest::default()
    };
    let message = parse_infer_request(&mut request, &GrpcLimits::default()).unwrap();
    assert!(matches!(&message.inputs[0].data, TensorSource::SharedMemory(range) if range.region == "r"));
    assert!(matches!(&message.inputs[1].data, TensorSource::Inline(data) if data[0] == 7));
}

#[test]
fn w93_parameters() {
    let mut request = ModelInferRequest::default();
    for (name, choice) in [
        ("sequence_id", ParameterChoice::Uint64Param(5)),
        ("own", ParameterChoice::DoubleParam(0.5)),
        ("timeout", ParameterChoice::Int64Param(9)),
        ("triton_enable_empty_final_response", ParameterChoice::BoolParam(true)),
    ] {
        request.parameters.insert(name.to_owned(), parameter(choice));
    }
    let message = parse_infer_request(&mut request, &GrpcLimits::default()).unwrap();
    assert_eq!(message.reserved.sequence.as_ref().unwrap().id, SequenceId::Number(5));
    assert_eq!(message.reserved.timeout_microseconds, 9);
    assert!(message.reserved.empty_final_response);
    assert_eq!(message.parameters, [("own".into(), ParameterValue::Double(0.5))]);
    let mut empty = ModelInferRequest::default();
    empty.parameters.insert("x".to_owned(), InferParameter::default());
    assert!(parse_infer_request(&mut empty, &GrpcLimits::default()).is_err());
}

#[test]
fn w56_classification_of_outputs() {
    let mut request = ModelInferRequest::default();
    let mut output = InferRequestedOutputTensor { name: "O".to_owned(), ..Default::default() };
    output.parameters.insert("classification".to_owned(), parameter(ParameterChoice::Int64Param(3)));
    request.outputs = vec![output.clone()];
    let message = parse_infer_request(&mut request, &GrpcLimits::default()).unwrap();
    assert_eq!((message.outputs[0].classification, message.outputs[0].binary), (3, true));
    for choice in [ParameterChoice::Int64Param(-1), ParameterChoice::Int64Param(0), ParameterChoice::BoolParam(true)] {
        output.parameters.insert("classification".to_owned(), parameter(choice));
        let mut request = ModelInferRequest { outputs: vec![output.clone()], ..Default::default() };
        assert!(parse_infer_request(&mut request, &GrpcLimits::default()).is_err());
    }
}

#[test]
fn limits_and_negative_dimensions() {
    assert!(bytes_of(ModelInferRequest { inputs: vec![tensor("A", "INT8", &[-1])], ..Default::default() }).is_err());
    let long = vec![1; 129];
    assert!(bytes_of(ModelInferRequest { inputs: vec![tensor("A", "INT8", &long)], ..Default::default() }).is_err());
    let many = vec![tensor("A", "INT8", &[]); 4097];
    assert!(bytes_of(ModelInferRequest { inputs: many, ..Default::default() }).is_err());
}

proptest! {
    #[test]
    fn mutated_messages_never_panic(position in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let contents = InferTensorContents { int_contents: vec![1, 2], bytes_contents: vec![Bytes::from_static(b"x")], ..Default::default() };
        let mut request = typed("INT32", contents);
        request.raw_input_contents = vec![Bytes::from(vec![0; 8])];
        request.parameters.insert("sequence_id".to_owned(), parameter(ParameterChoice::StringParam("s".to_owned())));
        let mut bytes = request.encode_to_vec();
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(length - cut % length / 8);
        if let Ok(mut decoded) = ModelInferRequest::decode(Bytes::from(bytes)) {
            let _parsed = parse_infer_request(&mut decoded, &GrpcLimits::default());
        }
    }
}
