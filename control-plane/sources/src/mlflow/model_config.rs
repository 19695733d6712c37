//! Writes a `config.pbtxt` from what the publisher declared. Pure.
//!
//! The same decisions as the server's own completion from a graph: a batch where every first dimension varies, its size 4
//! as Triton's default, a dynamic batcher, scalars reshaped. What the publisher did not declare is left out, and the
//! server completes it from the graph; what contradicts the graph is refused when the model is loaded.

use std::fmt::Write as _;

use super::signature::{ModelSignature, SignatureTensor};

/// Triton's default for models that batch and name no size.
const MAX_BATCH_SIZE: u32 = 4;

/// The text of a configuration for the model file `file`; `origin` is named in a comment.
pub(super) fn written(file: &str, signature: Option<&ModelSignature>, origin: &str) -> String {
    let mut text = format!("# Written from {}.\n", one_line(origin));
    text.push_str("backend: \"onnxruntime\"\n");
    if file != "model.onnx" {
        push(&mut text, format_args!("default_model_filename: {}\n", quoted(file)));
    }
    let Some(signature) = signature else { return text };
    let batches = signature.batches();
    if batches {
        push(
            &mut text,
            format_args!(
                "# The publisher names no batch size; declare a larger one for larger batches.\nmax_batch_size: {MAX_BATCH_SIZE}\n"
            ),
        );
    }
    for (kind, tensors) in [("input", &signature.inputs), ("output", &signature.outputs)] {
        let entries: Vec<String> = tensors.iter().map(|tensor| entry(tensor, batches)).collect();
        push(&mut text, format_args!("{kind} [\n{}\n]\n", entries.join(",\n")));
    }
    if batches {
        text.push_str("dynamic_batching { }\n");
    }
    text
}

fn entry(tensor: &SignatureTensor, batches: bool) -> String {
    let dims: Vec<String> = tensor.dims.iter().skip(usize::from(batches)).map(i64::to_string).collect();
    let shape = if dims.is_empty() {
        "    dims: [ 1 ]\n    reshape { shape: [ ] }".to_owned()
    } else {
        format!("    dims: [ {} ]", dims.join(", "))
    };
    format!("  {{\n    name: {}\n    data_type: {}\n{shape}\n  }}", quoted(&tensor.name), tensor.data_type)
}

/// A string of text protobuf.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            _ if character.is_control() => character
                .encode_utf8(&mut [0; 4])
                .bytes()
                .for_each(|byte| push(&mut quoted, format_args!("\\{byte:03o}"))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Writing to a string cannot fail.
fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).ok();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn tensor(name: &str, data_type: &'static str, dims: &[i64]) -> SignatureTensor {
        SignatureTensor { name: name.into(), data_type, dims: dims.to_vec() }
    }

    #[test]
    fn batches_lose_their_first_dimension() {
        let signature = ModelSignature {
            inputs: vec![tensor("INPUT0", "TYPE_INT32", &[-1, 16])],
            outputs: vec![tensor("a \"b\"", "TYPE_FP32", &[-1])],
        };
        let text = written("model.onnx", Some(&signature), "mlflow://simple/1");
        assert_eq!(
            text,
            "# Written from mlflow://simple/1.
backend: \"onnxruntime\"
# The publisher names no batch size; declare a larger one for larger batches.
max_batch_size: 4
input [
  {
    name: \"INPUT0\"
    data_type: TYPE_INT32
    dims: [ 16 ]
  }
]
output [
  {
    name: \"a \\\"b\\\"\"
    data_type: TYPE_FP32
    dims: [ 1 ]
    reshape { shape: [ ] }
  }
]
dynamic_batching { }
"
        );
    }

    #[test]
    fn without_a_batch_dimensions_stay() {
        let signature = ModelSignature {
            inputs: vec![tensor("x", "TYPE_FP32", &[1, 3])],
            outputs: vec![tensor("y", "TYPE_FP32", &[])],
        };
        let text = written("net/a.onnx", Some(&signature), "x\ny");
        assert!(text.contains("dims: [ 1, 3 ]") && text.contains("default_model_filename: \"net/a.onnx\""), "{text}");
        assert!(!text.contains("max_batch_size") && !text.contains("dynamic_batching"), "{text}");
        assert_eq!(written("model.onnx", None, "x"), "# Written from x.\nbackend: \"onnxruntime\"\n");
        assert_eq!(quoted("a\n\u{7f}"), "\"a\\012\\177\"");
    }
}
