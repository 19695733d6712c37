//! Wire rules of the infer reply, and round trips through other readers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_backend::{ErrorCode, Parameters};
use hanok_tensor::{DataType, Shape, push_bytes_element};
use proptest::prelude::*;
use smallvec::smallvec;

use super::*;
use crate::v2_http::{HttpLimits, parse_infer};
use crate::{ReplyOutput, TensorSource};

static NO_PARAMETERS: Parameters = Vec::new();

fn output(data_type: DataType, shape: &[i64], data: impl Into<Bytes>, binary: bool) -> ReplyOutput<'static> {
    ReplyOutput { name: "OUT", data_type, shape: Shape::new(shape), data: data.into(), binary, placed: false }
}

fn reply<'p>(outputs: SmallVec<[ReplyOutput<'p>; 2]>) -> InferReply<'p> {
    InferReply { id: "", model_name: "m", model_version: 1, parameters: &NO_PARAMETERS, outputs }
}

fn written(outputs: SmallVec<[ReplyOutput<'static>; 2]>) -> String {
    let body = write_infer_response(&reply(outputs)).unwrap();
    assert_eq!((body.header_length, body.parts.len(), body.content_type()), (None, 0, "application/json"));
    String::from_utf8(body.head.to_vec()).unwrap()
}

fn whole(body: &ResponseBody) -> Vec<u8> {
    body.parts.iter().fold(body.head.to_vec(), |mut whole, part| {
        whole.extend_from_slice(part);
        whole
    })
}

fn bytes_of<const SIZE: usize>(values: impl IntoIterator<Item = [u8; SIZE]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

#[test]
fn w36_order_of_members() {
    let parameters = vec![
        ("a".into(), ParameterValue::Bool(true)),
        ("b".into(), ParameterValue::Int(-1)),
        ("c".into(), ParameterValue::Uint(u64::MAX)),
        ("d".into(), ParameterValue::Double(0.5)),
        ("e".into(), ParameterValue::String("x\"".into())),
    ];
    let data = bytes_of([1_i32, -2].map(i32::to_le_bytes));
    let mut reply: InferReply<'_> = reply(smallvec![output(DataType::Int32, &[1, 2], data.clone(), false)]);
    let plain = r#"{"model_name":"m","model_version":"1","outputs":[{"name":"OUT","datatype":"INT32","shape":[1,2],"data":[1,-2]}]}"#;
    assert_eq!(write_infer_response(&reply).unwrap().head, plain);
    reply.id = "i\n";
    reply.parameters = &parameters;
    reply.outputs[0].binary = true;
    let body = write_infer_response(&reply).unwrap();
    let json = concat!(
        r#"{"id":"i\n","model_name":"m","model_version":"1","parameters":{"a":true,"b":-1,"c":18446744073709551615,"#,
        r#""d":0.5,"e":"x\""},"outputs":[{"name":"OUT","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#
    );
    assert_eq!(body.header_length, Some(json.len()));
    assert_eq!(whole(&body), [json.as_bytes(), &data].concat());
}

#[test]
fn w46_binary_parts_in_order_large_ones_not_copied() {
    let large = Bytes::from(vec![7_u8; 5000]);
    let body = write_infer_response(&reply(smallvec![
        output(DataType::Uint8, &[3], vec![1, 2, 3], true),
        output(DataType::Uint8, &[1], vec![9], false),
        output(DataType::Uint8, &[5000], large.clone(), true),
        output(DataType::Uint8, &[2], vec![4, 5], true),
    ]))
    .unwrap();
    let header = body.header_length.unwrap();
    assert_eq!(body.content_type(), "application/octet-stream");
    assert_eq!(body.parts[0].as_ptr(), large.as_ptr());
    let all = whole(&body);
    assert_eq!(body.length(), all.len());
    assert_eq!(&all[header..header + 3], [1, 2, 3]);
    assert_eq!(&all[header + 3..header + 5003], &large[..]);
    assert_eq!(&all[header + 5003..], [4, 5]);
    assert!(all[..header].ends_with(b"\"parameters\":{\"binary_data_size\":2}}]}"));
}

#[test]
fn w37_w28_numbers() {
    let data = bytes_of([0.1_f32, 1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0].map(f32::to_le_bytes));
    let text = written(smallvec![output(DataType::Fp32, &[6], data, false)]);
    assert!(text.ends_with(r#""data":[0.1,1.0,NaN,Infinity,-Infinity,-0.0]}]}"#), "{text}");
    let text = written(smallvec![output(DataType::Bool, &[2], vec![0, 2], false)]);
    assert!(text.ends_with(r#""data":[false,true]}]}"#));
    let text = written(smallvec![output(DataType::Uint64, &[1], u64::MAX.to_le_bytes().to_vec(), false)]);
    assert!(text.ends_with(r#""data":[18446744073709551615]}]}"#));
}

#[test]
fn w35_zero_size_tensors() {
    let text = written(smallvec![output(DataType::Fp32, &[0, 3], Vec::new(), false)]);
    assert!(text.ends_with(r#""shape":[0,3],"data":[]}]}"#));
    let body = write_infer_response(&reply(smallvec![output(DataType::Fp32, &[0], Vec::new(), true)])).unwrap();
    assert_eq!(body.header_length, Some(body.head.len()));
}

#[test]
fn w38_bytes_must_be_utf8() {
    let mut data = Vec::new();
    push_bytes_element(&mut data, b"\xff");
    let error =
        write_infer_response(&reply(smallvec![output(DataType::Bytes, &[1], data.clone(), false)])).unwrap_err();
    assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("binary data format"));
    assert!(write_infer_response(&reply(smallvec![output(DataType::Bytes, &[1], data.clone(), true)])).is_ok());
    let error =
        write_infer_response(&reply(smallvec![output(DataType::Bytes, &[1], vec![9, 0, 0, 0], false)])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    let half = write_infer_response(&reply(smallvec![output(DataType::Fp16, &[1], vec![0, 0], false)])).unwrap_err();
    assert_eq!(half.triton_code(), ErrorCode::InvalidArgument);
}

/// Turns a reply into a request and parses that, so that what is written is read back.
fn read_back(data_type: DataType, count: usize, data: Vec<u8>) -> Bytes {
    let text = written(smallvec![output(data_type, &[i64::try_from(count).unwrap()], data, false)]);
    let request = Bytes::from(text.replace("\"outputs\"", "\"inputs\""));
    let message = parse_infer(&request, request.len(), "m", &HttpLimits::default()).unwrap();
    match &message.inputs[0].data {
        TensorSource::Inline(data) => data.clone(),
        TensorSource::SharedMemory(range) => panic!("{range:?}"),
    }
}

proptest! {
    #[test]
    fn singles_round_trip(bits in proptest::collection::vec(any::<u32>(), 0..40)) {
        let data = bytes_of(bits.iter().map(|bits| {
            let value = f32::from_bits(*bits);
            if value.is_nan() { f32::NAN.to_le_bytes() } else { value.to_le_bytes() }
        }));
        prop_assert_eq!(&read_back(DataType::Fp32, bits.len(), data.clone())[..], &data[..]);
    }

    #[test]
    fn doubles_round_trip_also_through_the_standard_library(values in proptest::collection::vec(any::<f64>(), 1..40)) {
        prop_assume!(values.iter().all(|value| value.is_finite()));
        let data = bytes_of(values.iter().map(|value| value.to_le_bytes()));
        prop_assert_eq!(&read_back(DataType::Fp64, values.len(), data.clone())[..], &data[..]);
        let text = written(smallvec![output(DataType::Fp64, &[i64::try_from(values.len()).unwrap()], data, false)]);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        let (_, array) = text.split_once("\"data\":[").unwrap();
        let numbers = array.trim_end_matches([']', '}']).split(',');
        for (value, number) in values.iter().zip(numbers) {
            prop_assert_eq!(number.parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn integers_round_trip(values in proptest::collection::vec(any::<i64>(), 0..40)) {
        let data = bytes_of(values.iter().map(|value| value.to_le_bytes()));
        for data_type in [DataType::Int64, DataType::Uint64] {
            prop_assert_eq!(&read_back(data_type, values.len(), data.clone())[..], &data[..]);
        }
        for data_type in [DataType::Int8, DataType::Uint8] {
            prop_assert_eq!(&read_back(data_type, data.len(), data.clone())[..], &data[..]);
        }
        for data_type in [DataType::Int16, DataType::Uint16] {
            prop_assert_eq!(&read_back(data_type, data.len() / 2, data.clone())[..], &data[..]);
        }
        for data_type in [DataType::Int32, DataType::Uint32] {
            prop_assert_eq!(&read_back(data_type, data.len() / 4, data.clone())[..], &data[..]);
        }
    }

    #[test]
    fn strings_round_trip(values in proptest::collection::vec(any::<String>(), 0..20)) {
        let mut data = Vec::new();
        for value in &values {
            push_bytes_element(&mut data, value.as_bytes());
        }
        prop_assert_eq!(&read_back(DataType::Bytes, values.len(), data.clone())[..], &data[..]);
    }
}

#[test]
fn w63_an_output_in_a_region_is_told_by_its_shape_alone() {
    let mut placed = output(DataType::Fp32, &[2, 3], Bytes::new(), false);
    placed.placed = true;
    let plain = r#"{"model_name":"m","model_version":"1","outputs":[{"name":"OUT","datatype":"FP32","shape":[2,3]}]}"#;
    assert_eq!(written(smallvec![placed]), plain);
}
