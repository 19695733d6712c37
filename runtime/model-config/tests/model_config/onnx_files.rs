//! ONNX files against what the onnx package finds in them, and damaged ones.

use std::path::Path;

use hanok_model_config::{ConfigError, SignatureTensor, read_onnx_signature};
use proptest::prelude::*;
use serde_json::{Value, json};

fn tensors(tensors: &[SignatureTensor]) -> Value {
    tensors
        .iter()
        .map(|tensor| json!([tensor.name, tensor.data_type.map(|data_type| data_type.name()), tensor.dims]))
        .collect()
}

#[test]
fn facts_are_those_of_the_onnx_package() {
    let expected: serde_json::Map<String, Value> =
        serde_json::from_str(include_str!("../golden/onnx_facts.json")).unwrap();
    assert!(expected.len() >= 3);
    for (path, expected) in expected {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        let facts = read_onnx_signature(&bytes).unwrap();
        let actual = json!({
            "inputs": tensors(&facts.signature.inputs),
            "overridable": tensors(&facts.signature.overridable_inputs),
            "outputs": tensors(&facts.signature.outputs),
            "operators": facts.operators.iter().map(|operator| json!([operator.domain, operator.op_type])).collect::<Vec<_>>(),
            "opsets": facts.opsets.iter().map(|opset| json!([opset.domain, opset.version])).collect::<Vec<_>>(),
            "external_data": facts.external_data,
        });
        assert_eq!(actual, expected, "{path}");
    }
}

fn reason(bytes: &[u8]) -> String {
    match read_onnx_signature(bytes) {
        Err(ConfigError::Onnx(reason)) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn what_is_no_model_is_refused() {
    assert_eq!(reason(b""), "it holds no graph");
    assert!(
        reason(b"not a model at all").contains("truncated") || reason(b"not a model at all").contains("does not exist")
    );
    assert!(reason(include_str!("../golden/onnx_facts.json").as_bytes()).len() > 5);
}

#[test]
fn every_truncation_is_an_error_or_a_smaller_model() {
    let whole = include_bytes!("../golden/unusual.onnx");
    let complete = read_onnx_signature(whole).unwrap();
    for length in 0..whole.len() {
        if let Ok(facts) = read_onnx_signature(&whole[..length]) {
            // A cut between two fields of the model message cannot be told from a model without the later ones.
            assert_eq!(facts.signature, complete.signature);
        }
    }
}

#[test]
fn nesting_and_counts_are_bounded() {
    let nested = |levels: usize| {
        let mut graph = field(1, &field(4, b"Leaf"));
        for _ in 0..levels {
            graph = field(1, &[field(4, b"If"), field(5, &field(6, &graph))].concat());
        }
        field(7, &graph)
    };
    assert_eq!(read_onnx_signature(&nested(32)).unwrap().operators.len(), 2);
    assert_eq!(reason(&nested(33)), "graphs are nested deeper than the maximum of `32`");
    assert!(reason(&nested(20_000)).contains("nested deeper"));
    let inputs = |count: usize| field(7, &field(11, &field(1, b"x")).repeat(count));
    assert_eq!(read_onnx_signature(&inputs(4096)).unwrap().signature.inputs.len(), 4096);
    assert_eq!(reason(&inputs(4097)), "the graph has more than the maximum of `4096` inputs");
    let rank = |rank: usize| field(7, &field(12, &field(2, &field(1, &field(2, &field(1, b"").repeat(rank))))));
    assert_eq!(read_onnx_signature(&rank(64)).unwrap().signature.outputs[0].dims, Some(vec![-1; 64]));
    assert_eq!(reason(&rank(65)), "a tensor has more than the maximum of `64` dimensions");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        drop(read_onnx_signature(&bytes));
        drop(read_onnx_signature(&field(7, &bytes)));
    }

    #[test]
    fn a_flipped_byte_never_panics(position in 0_usize..651, value in any::<u8>()) {
        let mut bytes = include_bytes!("../golden/unusual.onnx").to_vec();
        let position = position % bytes.len();
        bytes[position] = value;
        drop(read_onnx_signature(&bytes));
    }
}
