//! The JSON form: Triton's choices when writing, strictness when reading.

use hanok_model_config::{ConfigError, parse_json, parse_pbtxt, to_json};
use serde_json::json;

#[test]
fn primitives_are_always_there_and_messages_only_when_set() {
    let config = parse_pbtxt(
        "name: 'm' max_batch_size: 4 input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 9007199254740993 ] }
         dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }
         parameters { key: 'k' value { string_value: 'v' } }",
    )
    .unwrap();
    let json = to_json(&config);
    assert_eq!(
        json["input"][0],
        json!({
            "name": "x", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [-1, 9_007_199_254_740_993_i64],
            "is_shape_tensor": false, "allow_ragged_batch": false, "optional": false, "is_non_linear_format_io": false
        })
    );
    assert_eq!(json["dynamic_batching"]["max_queue_delay_microseconds"], json!(u64::MAX));
    assert_eq!(json["parameters"], json!({"k": {"string_value": "v"}}));
    assert_eq!(json["platform"], json!(""));
    assert_eq!(json["output"], json!([]));
    assert_eq!(json["metric_tags"], json!({}));
    for absent in ["version_policy", "optimization", "sequence_batching", "ensemble_scheduling", "model_operations"] {
        assert_eq!(json.get(absent), None, "{absent}");
    }
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(&names[..5], ["name", "platform", "backend", "runtime", "max_batch_size"]);
}

#[test]
fn floats_are_written_short() {
    let config = parse_pbtxt("sequence_batching { direct { minimum_slot_utilization: 0.1 } }").unwrap();
    assert_eq!(to_json(&config)["sequence_batching"]["direct"]["minimum_slot_utilization"].to_string(), "0.1");
}

#[test]
fn both_spellings_of_names_and_numbers_are_read() {
    let text = r#"{"maxBatchSize": 8, "input": [{"name": "x", "dataType": "type_fp32", "dims": ["-1", 3.0, 5]}],
        "dynamicBatching": {"priorityQueuePolicy": {"2": {"timeout_action": 1}}}, "platform": null}"#;
    let expected = "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3, 5 ] }
        dynamic_batching { priority_queue_policy { key: 2 value { timeout_action: DELAY } } }";
    assert_eq!(parse_json(text).unwrap(), parse_pbtxt(expected).unwrap());
}

#[test]
fn every_wrong_member_is_reported_with_its_path() {
    let text = r#"{"max_batchsize": 8, "name": 5, "input": [{"dims": [1, "x", 1.5]}, {"data_type": "TYPE_FLOAT64"}, 7],
        "dynamic_batching": {}, "sequence_batching": {}, "parameters": {"a": "b"}, "max_batch_size": 3000000000,
        "output": {}, "instance_group": [{"passive": "yes"}]}"#;
    let Err(ConfigError::Invalid(problems)) = parse_json(text) else { panic!("accepted") };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "max_batchsize: unknown field in `ModelConfig`; did you mean `max_batch_size`",
            "name: expected a string, got `5`",
            "input[0].dims[1]: expected a 64-bit integer, got string `x`",
            "input[0].dims[2]: expected a 64-bit integer, got `1.5`",
            "input[1].data_type: unknown name `TYPE_FLOAT64` of enum `DataType`; did you mean `TYPE_FP64`",
            "input[2]: expected an object, got `7`",
            "sequence_batching: excludes another field, which is given already",
            "parameters[\"a\"]: expected an object, got string `b`",
            "max_batch_size: expected a 32-bit integer, got `3000000000`",
            "output: expected an array, got an object",
            "instance_group[0].passive: expected `true` or `false`, got string `yes`",
        ]
    );
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    assert_eq!(
        parse_json("{\n  \"name\" 5}"),
        Err(ConfigError::Syntax { line: 2, column: 10, message: "not JSON: expected `:`".to_owned() })
    );
    assert!(matches!(parse_json("[]"), Err(ConfigError::Invalid(_))));
    assert!(matches!(parse_json(""), Err(ConfigError::Syntax { .. })));
    assert!(matches!(parse_json(&"[".repeat(1 << 20)), Err(ConfigError::Syntax { .. })));
    assert!(matches!(parse_json(&" ".repeat((1 << 20) + 1)), Err(ConfigError::TooLarge { .. })));
}
