//! Wire rules of the infer request, one test per rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_backend::{ErrorCode, ParameterValue, SequenceControl, SequenceId};
use hanok_tensor::DataType;
use proptest::prelude::*;

use super::*;
use crate::{SharedMemoryRange, TensorSource};

const INPUT: &str = r#"{"name":"IN","shape":[2],"datatype":"INT32","data":[1,2]}"#;

/// Parses `text` with `binary` behind it and hands the message to `check`.
fn with<R>(text: &str, binary: &[u8], check: impl FnOnce(Result<InferMessage<'_>, ServingError>) -> R) -> R {
    let body = Bytes::from([text.as_bytes(), binary].concat());
    check(parse_infer(&body, text.len(), "simple", &HttpLimits::default()))
}

fn error(text: &str, binary: &[u8]) -> ServingError {
    with(text, binary, |message| match message {
        Ok(message) => panic!("{text} was accepted as {message:?}"),
        Err(error) => error,
    })
}

fn assert_malformed(text: &str) {
    let error = error(text, b"");
    assert_eq!(
        (error.triton_code(), error.code()),
        (ErrorCode::Internal, ErrorCode::InvalidArgument),
        "{text}: {error}"
    );
}

fn assert_invalid(text: &str) {
    let error = error(text, b"");
    assert_eq!(error.triton_code(), ErrorCode::InvalidArgument, "{text}: {error}");
}

fn inline(message: &InferMessage<'_>, index: usize) -> Bytes {
    match &message.inputs[index].data {
        TensorSource::Inline(data) => data.clone(),
        TensorSource::SharedMemory(range) => panic!("{range:?}"),
    }
}

fn with_input(member: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"IN","shape":[2],"datatype":"INT32",{member}}}]}}"#)
}

#[test]
fn w21_id() {
    with(&format!(r#"{{"id":"a\"b","inputs":[{INPUT}]}}"#), b"", |message| assert_eq!(&*message.unwrap().id, "a\"b"));
    with(&format!(r#"{{"inputs":[{INPUT}]}}"#), b"", |message| assert_eq!(&*message.unwrap().id, ""));
    assert_malformed(&format!(r#"{{"id":5,"inputs":[{INPUT}]}}"#));
}

#[test]
fn w22_parameters() {
    let text =
        format!(r#"{{"parameters":{{"a":true,"b":-5,"c":1.5,"d":"x","e":18446744073709551615}},"inputs":[{INPUT}]}}"#);
    with(&text, b"", |message| {
        let expected = vec![
            ("a".into(), ParameterValue::Bool(true)),
            ("b".into(), ParameterValue::Int(-5)),
            ("c".into(), ParameterValue::Double(1.5)),
            ("d".into(), ParameterValue::String("x".into())),
            ("e".into(), ParameterValue::Uint(u64::MAX)),
        ];
        assert_eq!(message.unwrap().parameters, expected);
    });
    for value in ["[]", "{}", "null", "[1]"] {
        assert_invalid(&format!(r#"{{"parameters":{{"a":{value}}},"inputs":[{INPUT}]}}"#));
    }
    assert_invalid(&format!(r#"{{"parameters":{{"triton_x":1}},"inputs":[{INPUT}]}}"#));
    assert_malformed(&format!(r#"{{"parameters":[],"inputs":[{INPUT}]}}"#));
    assert_malformed(&format!(r#"{{"parameters":{{"a":x}},"inputs":[{INPUT}]}}"#));
}

#[test]
fn w23_reserved_parameters() {
    let text = format!(
        r#"{{"parameters":{{"sequence_id":"s","sequence_start":true,"sequence_end":false,"priority":2,"timeout":1000,"binary_data_output":true}},"inputs":[{INPUT}]}}"#
    );
    with(&text, b"", |message| {
        let message = message.unwrap();
        let sequence = SequenceControl { id: SequenceId::Text("s".into()), start: true, end: false };
        assert_eq!(message.reserved.sequence, Some(sequence));
        assert_eq!((message.reserved.priority, message.reserved.timeout_microseconds), (2, 1000));
        assert!(message.unnamed_outputs_binary);
    });
    for (name, value) in [("sequence_id", "1.5"), ("priority", "\"1\""), ("timeout", "-1"), ("sequence_start", "0")] {
        assert_malformed(&format!(r#"{{"parameters":{{"{name}":{value}}},"inputs":[{INPUT}]}}"#));
    }
}

#[test]
fn w24_exactly_one_source() {
    with(&with_input(r#""data":[1,2]"#), b"", |message| assert_eq!(inline(&message.unwrap(), 0).len(), 8));
    let shared = r#""parameters":{"shared_memory_region":"r","shared_memory_byte_size":8,"shared_memory_offset":4}"#;
    with(&with_input(shared), b"", |message| {
        let message = message.unwrap();
        let TensorSource::SharedMemory(range) = &message.inputs[0].data else { panic!() };
        assert_eq!(range, &SharedMemoryRange { region: "r".into(), offset: 4, byte_size: 8 });
    });
    for members in [
        r#""x":1"#,
        r#""parameters":{}"#,
        r#""data":[1,2],"parameters":{"binary_data_size":8}"#,
        r#""parameters":{"binary_data_size":8,"shared_memory_region":"r","shared_memory_byte_size":8}"#,
        r#""parameters":{"shared_memory_region":"r","shared_memory_byte_size":8},"data":[1,2]"#,
    ] {
        assert_invalid(&with_input(members));
    }
    assert_malformed(&with_input(r#""parameters":{"binary_data_size":-8}"#));
    assert_malformed(&with_input(r#""parameters":{"shared_memory_region":5}"#));
}

#[test]
fn w25_data_may_come_before_its_type() {
    let text = r#"{"inputs":[{"data":[[1],[2]],"datatype":"INT32","shape":[2],"name":"IN"}]}"#;
    with(text, b"", |message| assert_eq!(&inline(&message.unwrap(), 0)[..], [1, 0, 0, 0, 2, 0, 0, 0]));
    assert_malformed(r#"{"inputs":[{"data":[1,"x"],"datatype":"INT32","shape":[2],"name":"IN"}]}"#);
}

#[test]
fn w10_malformed_messages() {
    for text in [
        "{",
        "[]",
        "5",
        "A",
        " ",
        "{}",
        r#"{"inputs":5}"#,
        r#"{"inputs":[5]}"#,
        r#"{"inputs":[{}]}"#,
        r#"{"inputs":[{"name":5}]}"#,
        r#"{"inputs":[{"name":"IN","shape":[2],"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":2,"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[-1],"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[2.0],"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":["2"],"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[3],"data":[1,2]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"UINT32","shape":[1],"data":[-1]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":[0.5]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":["a"]}]}"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":[1]}]} x"#,
        r#"{"inputs":[{"name":"IN","datatype":"INT32","shape":[1],"data":[1]}],}"#,
        r#"{"inputs":[],"outputs":5}"#,
        r#"{"inputs":[],"outputs":[{}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"O","parameters":{"binary_data":1}}]}"#,
    ] {
        assert_malformed(text);
    }
    assert_eq!(error(" ", b"").message(), "failed to parse the request JSON buffer: The document is empty. at 1");
}

#[test]
fn w27_unknown_data_type_is_invalid() {
    assert_invalid(r#"{"inputs":[{"name":"IN","datatype":"INT33","shape":[1],"data":[1]}]}"#);
    assert_invalid(r#"{"inputs":[{"name":"IN","datatype":"UINT8","shape":[1],"data":[256]}]}"#);
}

#[test]
fn w29_outputs() {
    let text = format!(
        r#"{{"outputs":[{{"name":"A","parameters":{{"binary_data":true}}}},{{"name":"B","parameters":{{"classification":3}}}},{{"name":"C"}}],"inputs":[{INPUT}]}}"#
    );
    with(&text, b"", |message| {
        let message = message.unwrap();
        let outputs: Vec<_> =
            message.outputs.iter().map(|output| (output.name.as_ref(), output.binary, output.classification)).collect();
        assert_eq!(outputs, [("A", true, 0), ("B", false, 3), ("C", false, 0)]);
    });
    with(&format!(r#"{{"outputs":[],"inputs":[{INPUT}]}}"#), b"", |message| {
        assert!(message.unwrap().outputs.is_empty())
    });
}

#[test]
fn w31_shape_overflow() {
    for (shape, what) in [("[16,1152921504606846978]", "element count"), ("[4,1152921504606846978]", "byte size")] {
        let text = format!(r#"{{"inputs":[{{"name":"IN","shape":{shape},"datatype":"INT32","data":[1]}}]}}"#);
        let error = error(&text, b"");
        assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains(&format!("causes total {what} to exceed maximum size of")), "{error}");
    }
    assert_invalid(r#"{"inputs":[{"name":"IN","shape":[9223372036854775808],"datatype":"INT32","data":[1]}]}"#);
}

#[test]
fn w32_unknown_members_are_ignored_but_must_be_json() {
    let text = format!(r#"{{"x":{{"y":[1,{{}},null]}},"inputs":[{INPUT}],"z":1e5}}"#);
    with(&text, b"", |message| assert_eq!(message.unwrap().inputs.len(), 1));
    assert_malformed(&format!(r#"{{"x":{{"y":[1,}}}},"inputs":[{INPUT}]}}"#));
}

#[test]
fn first_of_equal_members_wins() {
    let text = r#"{"id":"a","id":"b","inputs":[{"name":"IN","name":"X","shape":[1],"shape":[9],"datatype":"INT8","data":[1],"data":[2]}],"inputs":[]}"#;
    with(text, b"", |message| {
        let message = message.unwrap();
        assert_eq!((&*message.id, message.inputs[0].name.as_ref()), ("a", "IN"));
        assert_eq!(&inline(&message, 0)[..], [1]);
    });
}

#[test]
fn w35_zero_size_tensors() {
    let text = r#"{"inputs":[{"name":"IN","shape":[1,0],"datatype":"FP32","data":[]}]}"#;
    with(text, b"", |message| assert!(inline(&message.unwrap(), 0).is_empty()));
    let text = r#"{"inputs":[{"name":"IN","shape":[0],"datatype":"FP32","parameters":{"binary_data_size":0}}]}"#;
    with(text, b"", |message| assert!(inline(&message.unwrap(), 0).is_empty()));
}

#[test]
fn w40_binary_parts_are_slices_in_input_order() {
    let text = r#"{"inputs":[
        {"name":"A","shape":[1],"datatype":"INT32","parameters":{"binary_data_size":4}},
        {"name":"J","shape":[1],"datatype":"INT32","data":[9]},
        {"name":"B","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}]}"#;
    let body = Bytes::from([text.as_bytes(), &[1, 2, 3, 4, 5, 6, 7]].concat());
    let message = parse_infer(&body, text.len(), "m", &HttpLimits::default()).unwrap();
    assert_eq!(&inline(&message, 0)[..], [1, 2, 3, 4]);
    assert_eq!(&inline(&message, 2)[..], [5, 6, 7]);
    assert_eq!(inline(&message, 2).as_ptr(), body[text.len() + 4..].as_ptr());
}

#[test]
fn w42_binary_sizes_must_add_up() {
    let text = with_input(r#""parameters":{"binary_data_size":8}"#);
    let long = error(&text, &[0; 9]);
    assert_eq!(long.message(), "unexpected additional input data for model 'simple'");
    let short = error(&text, &[0; 5]);
    assert_eq!(short.message(), "unexpected size for input 'IN', expecting 3 additional bytes for model 'simple'");
    for error in [long, short] {
        assert_eq!(error.triton_code(), ErrorCode::InvalidArgument);
    }
    assert_invalid(&with_input(r#""parameters":{"binary_data_size":18446744073709551615}"#));
}

#[test]
fn w43_binary_part_without_header_is_malformed_json() {
    let text = with_input(r#""parameters":{"binary_data_size":8}"#);
    let body = Bytes::from([text.as_bytes(), &[1; 8]].concat());
    let error = parse_infer(&body, body.len(), "simple", &HttpLimits::default()).unwrap_err();
    assert_eq!(error.triton_code(), ErrorCode::Internal);
}

#[test]
fn w58_classification_bounds() {
    for value in ["0", "1000001", "2147483648", "18446744073709551615"] {
        assert_invalid(&format!(
            r#"{{"outputs":[{{"name":"A","parameters":{{"classification":{value}}}}}],"inputs":[{INPUT}]}}"#
        ));
    }
    assert_malformed(&format!(
        r#"{{"outputs":[{{"name":"A","parameters":{{"classification":-1}}}}],"inputs":[{INPUT}]}}"#
    ));
    assert_invalid(&format!(
        r#"{{"outputs":[{{"name":"A","parameters":{{"classification":1,"shared_memory_region":"r","shared_memory_byte_size":8}}}}],"inputs":[{INPUT}]}}"#
    ));
}

#[test]
fn w07_limits_at_and_one_over() {
    let text = format!(
        r#"{{"inputs":[{INPUT},{INPUT}],"outputs":[{{"name":"A"}},{{"name":"B"}}],"parameters":{{"a":1,"b":2}}}}"#
    );
    let body = Bytes::from(text.clone());
    let exact = HttpLimits {
        max_json_bytes: text.len(),
        max_json_tensor_bytes: 16,
        max_depth: 100,
        max_tensors: 2,
        max_rank: 1,
        max_parameters: 2,
    };
    assert!(parse_infer(&body, text.len(), "m", &exact).is_ok());
    let tighter = [
        HttpLimits { max_json_bytes: text.len() - 1, ..exact.clone() },
        HttpLimits { max_json_tensor_bytes: 15, ..exact.clone() },
        HttpLimits { max_tensors: 1, ..exact.clone() },
        HttpLimits { max_rank: 0, ..exact.clone() },
        HttpLimits { max_parameters: 1, ..exact.clone() },
    ];
    for limits in tighter {
        let error = parse_infer(&body, text.len(), "m", &limits).unwrap_err();
        assert_eq!(error.triton_code(), ErrorCode::InvalidArgument, "{limits:?}");
    }
    let error = json_too_large(11, 10);
    assert!(error.message().starts_with("Request JSON size"));
    assert!(error.message().contains("exceeds the maximum allowed value"));
    assert!(error.message().contains("Use --http-max-input-size to increase the limit"));
}

#[test]
fn w08_depth_in_every_place() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let nested = |levels: usize| format!("{}1,2{}", "[".repeat(levels), "]".repeat(levels));
    let ignored = |levels| format!(r#"{{"x":{},"inputs":[{INPUT}]}}"#, deep(levels));
    let data = |levels| with_input(&format!(r#""data":{}"#, nested(levels)));
    let late =
        |levels| format!(r#"{{"inputs":[{{"data":{},"name":"IN","shape":[2],"datatype":"INT8"}}]}}"#, nested(levels));
    for place in [&ignored as &dyn Fn(usize) -> String, &data, &late] {
        with(&place(100), b"", |message| assert!(message.is_ok()));
        assert_invalid(&place(101));
        assert_invalid(&place(250_000));
    }
    assert_invalid(&format!(r#"{{"parameters":{{"a":{}}},"inputs":[{INPUT}]}}"#, deep(101)));
}

proptest! {
    #[test]
    fn mutated_messages_never_panic(position in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400, header in 0_usize..400) {
        let text = r#"{"id":"\u00e9","parameters":{"sequence_id":5,"x":[1,{"a":null}],"binary_data_output":true},"inputs":[{"name":"A","shape":[1,2],"datatype":"FP32","data":[[1.5e3,-0.25]]},{"name":"B","shape":[2],"datatype":"BYTES","data":["a\n","\ud83d\ude00"]},{"name":"C","shape":[4],"datatype":"UINT8","parameters":{"binary_data_size":4}}],"outputs":[{"name":"O","parameters":{"classification":2}}]}"#;
        let mut bytes = [text.as_bytes(), &[1, 2, 3, 4]].concat();
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(length - cut % length);
        let body = Bytes::from(bytes);
        let _parsed = parse_infer(&body, header.min(body.len()), "m", &HttpLimits::default());
        let _parsed = parse_infer(&body, body.len(), "m", &HttpLimits::default());
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in 0_usize..200) {
        let body = Bytes::from(bytes);
        let _parsed = parse_infer(&body, header, "m", &HttpLimits::default());
    }

    #[test]
    fn data_equals_what_serde_json_reads(values in proptest::collection::vec(any::<f64>(), 1..20)) {
        prop_assume!(values.iter().all(|value| value.is_finite()));
        let data = serde_json::to_string(&values).unwrap();
        let text = format!(r#"{{"inputs":[{{"name":"A","shape":[{}],"datatype":"FP64","data":{data}}}]}}"#, values.len());
        let body = Bytes::from(text);
        let message = parse_infer(&body, body.len(), "m", &HttpLimits::default()).unwrap();
        prop_assert_eq!(message.inputs[0].data_type, DataType::Fp64);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        prop_assert_eq!(&inline(&message, 0)[..], &bytes[..]);
    }
}
