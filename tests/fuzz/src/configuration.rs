//! Model configurations, as text and as JSON, and the graph that completes them.

use hanok_model_config::{
    CompletionFacts, load_config, load_wire_config, parse_json, parse_pbtxt, read_onnx_signature, to_json,
};

/// A `config.pbtxt`: parsed, completed and validated; what was parsed survives being written as JSON and read again.
pub fn config_pbtxt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(parsed) = parse_pbtxt(text) else {
        return;
    };
    let json = to_json(&parsed).to_string();
    let again = parse_json(&json).unwrap_or_else(|error| panic!("written and refused: {error}\n{json}"));
    assert_eq!(parsed, again, "{json}");
    drop(load_config(text, &CompletionFacts::new("fuzzed"), None));
}

/// A configuration in a load request.
pub fn config_json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(parsed) = parse_json(text) else { return };
    drop(load_wire_config(parsed, &CompletionFacts::new("fuzzed"), None));
}

/// An ONNX file, of which only the graph's signature is read.
pub fn onnx_signature(input: &[u8]) {
    drop(read_onnx_signature(input));
}
