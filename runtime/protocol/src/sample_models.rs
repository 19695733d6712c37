//! Model configurations for tests, read from the text that users write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_model_config::{CompletionFacts, ModelConfig, load_config};

fn model(name: &str, text: &str) -> ModelConfig {
    let text = format!("name: \"{name}\" backend: \"builtin\" {text}");
    load_config(&text, &CompletionFacts::new(name), None).expect("sample configurations are valid").config
}

/// Two INT32 inputs and outputs of 16 values, batches of 8.
pub(crate) fn simple() -> ModelConfig {
    model(
        "simple",
        r#"max_batch_size: 8
        input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [16] }, { name: "INPUT1" data_type: TYPE_INT32 dims: [16] } ]
        output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [16] }, { name: "OUTPUT1" data_type: TYPE_INT32 dims: [16] } ]"#,
    )
}

/// FP32 of any length, batches of 8.
pub(crate) fn identity_fp32() -> ModelConfig {
    model(
        "identity_fp32",
        r#"max_batch_size: 8
        input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [-1] } ]
        output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [-1] } ]"#,
    )
}

/// BYTES of any length, batches of 8.
pub(crate) fn identity_bytes() -> ModelConfig {
    model(
        "identity_bytes",
        r#"max_batch_size: 8
        input [ { name: "INPUT0" data_type: TYPE_STRING dims: [-1] } ]
        output [ { name: "OUTPUT0" data_type: TYPE_STRING dims: [-1] } ]"#,
    )
}

/// One BYTES element, no batching.
pub(crate) fn identity_bytes_one() -> ModelConfig {
    model(
        "identity_bytes_one",
        r#"input [ { name: "INPUT0" data_type: TYPE_STRING dims: [1] } ]
        output [ { name: "OUTPUT0" data_type: TYPE_STRING dims: [1] } ]"#,
    )
}

/// Two variable dimensions, no batching.
pub(crate) fn two_variable_dims() -> ModelConfig {
    model(
        "two_variable_dims",
        r#"input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [-1, -1] } ]
        output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [-1, -1] } ]"#,
    )
}

/// Clients see `[n]`, the model `[n, 1]`.
pub(crate) fn reshaped() -> ModelConfig {
    model(
        "reshaped",
        r#"max_batch_size: 8
        input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [-1] reshape { shape: [-1, 1] } } ]
        output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [-1] reshape { shape: [-1, 1] } } ]"#,
    )
}

/// One required and two optional inputs, no batching.
pub(crate) fn optional_inputs() -> ModelConfig {
    model(
        "optional_inputs",
        r#"input [ { name: "A" data_type: TYPE_INT32 dims: [1] },
                { name: "B" data_type: TYPE_INT32 dims: [1] optional: true },
                { name: "C" data_type: TYPE_INT32 dims: [1] optional: true } ]
        output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [1] } ]"#,
    )
}
