//! The text form: against google.protobuf's reader, and where a mistake is reported.

use hanok_model_config::{ConfigError, parse_pbtxt, to_json};
use serde_json::Value;

/// Where we differ from google.protobuf's Python reader on purpose. Its C++ reader, which Triton uses, decides the
/// first two as we do.
const ACCEPTED_ONLY_HERE: [&str; 1] = ["max_batch_size: - 5"];
const REFUSED_ONLY_HERE: [&str; 1] = [r"name: '\q'"];

#[test]
fn reads_as_google_protobuf_does() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/texts.json")).unwrap();
    assert!(cases.len() > 100);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let parsed = parse_pbtxt(text).map(|config| to_json(&config));
        if ACCEPTED_ONLY_HERE.contains(&text) {
            assert!(case["json"].is_null() && parsed.is_ok(), "{text}");
        } else if REFUSED_ONLY_HERE.contains(&text) {
            assert!(!case["json"].is_null() && parsed.is_err(), "{text}");
        } else if case["json"].is_null() {
            assert!(parsed.is_err(), "accepted: {text}");
        } else {
            assert_eq!(parsed.as_ref().map_err(ToString::to_string), Ok(&case["json"]), "{text}");
        }
    }
}

fn refusal(text: &str) -> (usize, usize, String) {
    match parse_pbtxt(text) {
        Err(ConfigError::Syntax { line, column, message }) => (line, column, message),
        other => panic!("expected a syntax error, got {other:?}"),
    }
}

#[test]
fn an_unknown_field_is_refused_with_its_place_and_the_nearest_name() {
    let text = "name: \"a\"\ninput [\n  {\n    name: \"x\"\n    datatype: TYPE_FP32\n  }\n]\n";
    assert_eq!(refusal(text), (5, 5, "unknown field `datatype` in `ModelInput`; did you mean `data_type`".to_owned()));
    assert_eq!(
        refusal("max_batchsize: 8"),
        (1, 1, "unknown field `max_batchsize` in `ModelConfig`; did you mean `max_batch_size`".to_owned())
    );
    assert_eq!(refusal("# ä\n\t frobnicate { }"), (2, 3, "unknown field `frobnicate` in `ModelConfig`".to_owned()));
    assert_eq!(
        refusal("optimization { enable_pinned_input: true }"),
        (1, 16, "unknown field `enable_pinned_input` in `ModelOptimizationPolicy`".to_owned())
    );
}

#[test]
fn mistakes_are_reported_where_they_are() {
    for (text, line, column, message) in [
        (
            "input { data_type: TYPE_FLOAT64 }",
            1,
            20,
            "unknown name `TYPE_FLOAT64` of enum `DataType`; did you mean `TYPE_FP64`",
        ),
        ("max_batch_size: 'a'", 1, 17, "expected a 32-bit integer, got string `a`"),
        ("max_batch_size: 3000000000", 1, 17, "expected a 32-bit integer, got `3000000000`"),
        ("max_batch_size: -3000000000", 1, 17, "expected a 32-bit integer, got `-3000000000`"),
        ("name: \"a\"\nname: \"b\"", 2, 1, "field `name` is given twice"),
        (
            "dynamic_batching { }\n  sequence_batching { }",
            2,
            3,
            "field `sequence_batching` excludes `dynamic_batching`, which is given already",
        ),
        (
            "metric_tags { key: 'a' value: 'b' }\nmetric_tags { key: 'a' value: 'c' }",
            2,
            13,
            "key `a` is given twice in `metric_tags`",
        ),
        ("name: 'abc\\q'", 1, 11, "`\\\\q` is not an escape sequence"),
        ("name: 'abc", 1, 7, "string is not closed with `'` on its line"),
        ("input {\n", 2, 1, "expected a field name, got end of text"),
        ("input { dims: [ 1, 2, ] }", 1, 23, "expected a 64-bit integer, got `]`"),
        ("name: 'a' }", 1, 11, "expected a field name, got `}`"),
        ("name 'a'", 1, 6, "expected `:`, got string `a`"),
        ("name: 'a' @", 1, 11, "unexpected character `@`"),
        ("max_batch_size: 12abc", 1, 17, "`12abc` is not a number"),
    ] {
        assert_eq!(refusal(text), (line, column, message.to_owned()), "{text}");
    }
}

#[test]
fn size_and_nesting_are_bounded() {
    let filler = "#".repeat((1 << 20) - 9);
    assert!(parse_pbtxt(&format!("{filler}\nname:'a'")).is_ok());
    let error = parse_pbtxt(&format!("{filler}#\nname:'a'")).unwrap_err();
    assert_eq!(error, ConfigError::TooLarge { maximum: 1 << 20, actual: (1 << 20) + 1 });
    for unit in ["input{", "[", "<", "input[", "optimization{cuda{graph_spec{input{value{"] {
        assert!(parse_pbtxt(&unit.repeat((1 << 20) / unit.len())).is_err());
    }
}
