//! Whether a candidate takes and gives what the version that serves does. Pure.
//!
//! One configuration serves both, and clients do not know which of them answers: a candidate with another signature can only
//! fail their requests, which look like the clients' own mistakes and would count against nobody.

use hanok_model_config::{ModelConfig, parse_pbtxt, wire};
use hanok_registry::{Signature, TensorSignature};
use hanok_tensor::DataType;

/// How a candidate compares with what serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// It says the same, as far as it says anything: its own configuration may serve both.
    Same,
    /// It also serves what clients send now, under the configuration that is in force.
    Compatible,
}

/// One side of a signature, as clients see it or as the graph has it; the batch dimension is -1.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tensor {
    name: String,
    data_type: Option<DataType>,
    shape: Vec<i64>,
    optional: bool,
}

/// Compares a candidate with the version that serves under `serving`. `own` is the candidate's configuration, if that is to
/// be used; `known` is what the registry knows of its graph.
///
/// # Errors
/// A text for the operator: what differs.
pub(super) fn compare(serving: &ModelConfig, own: Option<&str>, known: Option<&Signature>) -> Result<Compared, String> {
    let own = own.map(parse_pbtxt).transpose();
    let own = own.map_err(|error| format!("the candidate's config.pbtxt cannot be read: {error}"))?.unwrap_or_default();
    let file = |name: &str| if name.is_empty() { "model.onnx".to_owned() } else { name.to_owned() };
    let (theirs, ours) = (file(&serving.default_model_filename), file(&own.default_model_filename));
    let says = !(own.backend.is_empty() && own.default_model_filename.is_empty());
    if says && theirs != ours {
        return Err(format!("its model file: expected `{theirs}`, got `{ours}`"));
    }
    if !own.backend.is_empty() && own.backend != serving.backend {
        return Err(format!("its backend: expected `{}`, got `{}`", serving.backend, own.backend));
    }
    let smaller = (1..i64::from(serving.max_batch_size)).contains(&i64::from(own.max_batch_size));
    let inputs = side(&serving_inputs(serving), &own_inputs(&own), known.map(|known| known.inputs.as_slice()));
    let outputs = side(&serving_outputs(serving), &own_outputs(&own), known.map(|known| known.outputs.as_slice()));
    let mut same = !smaller;
    if let Some((expected, actual)) = inputs {
        same &= matches("input", &expected, &actual, |expected: i64, actual: i64| actual == -1 || actual == expected)?;
        let more =
            actual.iter().find(|tensor| !tensor.optional && expected.iter().all(|known| known.name != tensor.name));
        if let Some(more) = more {
            return Err(format!("input `{}`: expected no such input, got {}", more.name, shown(more)));
        }
    }
    if let Some((expected, actual)) = outputs {
        // A graph need not know its sizes; those that it declares must be the ones that clients get now.
        let fits = |expected: i64, actual: i64| actual == -1 || expected == -1 || actual == expected;
        same &= matches("output", &expected, &actual, fits)?;
    }
    Ok(if same { Compared::Same } else { Compared::Compatible })
}

/// What serves, and what the candidate says of the same side, in the same form; `None` where it says nothing.
fn side(
    (clients, graph): &(Vec<Tensor>, Vec<Tensor>),
    own: &[Tensor],
    known: Option<&[TensorSignature]>,
) -> Option<(Vec<Tensor>, Vec<Tensor>)> {
    if !own.is_empty() {
        return Some((clients.clone(), own.to_vec()));
    }
    let tensor = |tensor: &TensorSignature| Tensor {
        name: tensor.name.clone(),
        data_type: DataType::ALL.into_iter().find(|data_type| data_type.name() == tensor.data_type),
        shape: tensor.shape.clone(),
        optional: false,
    };
    known.map(|known| (graph.clone(), known.iter().map(tensor).collect()))
}

/// `true` when all of it is equal.
fn matches(
    side: &str,
    expected: &[Tensor],
    actual: &[Tensor],
    fits: impl Fn(i64, i64) -> bool,
) -> Result<bool, String> {
    for tensor in expected {
        let Some(found) = actual.iter().find(|found| found.name == tensor.name) else {
            if tensor.optional {
                continue;
            }
            return Err(format!("{side} `{}`: expected {}, got none", tensor.name, shown(tensor)));
        };
        let sizes = || tensor.shape.iter().zip(&found.shape).all(|(expected, actual)| fits(*expected, *actual));
        if tensor.data_type != found.data_type || tensor.shape.len() != found.shape.len() || !sizes() {
            return Err(format!("{side} `{}`: expected {}, got {}", tensor.name, shown(tensor), shown(found)));
        }
    }
    let equal = |(one, other): (&Tensor, &Tensor)| one.name == other.name && one.shape == other.shape;
    Ok(expected.len() == actual.len() && expected.iter().zip(actual).all(equal))
}

fn shown(tensor: &Tensor) -> String {
    let sizes: Vec<String> = tensor.shape.iter().map(i64::to_string).collect();
    format!("{}[{}]", tensor.data_type.map_or("another type", DataType::name), sizes.join(","))
}

fn batched(batches: bool, dims: &[i64]) -> Vec<i64> {
    let batch: &[i64] = if batches { &[-1] } else { &[] };
    [batch, dims].concat()
}

fn serving_inputs(config: &ModelConfig) -> (Vec<Tensor>, Vec<Tensor>) {
    let tensor = |input: &hanok_model_config::InputSpec, dims: &[i64]| Tensor {
        name: input.name.clone(),
        data_type: Some(input.data_type),
        shape: batched(config.max_batch_size > 0, dims),
        optional: input.optional,
    };
    let graph = |input: &hanok_model_config::InputSpec| tensor(input, input.reshape.as_ref().unwrap_or(&input.dims));
    (config.inputs.iter().map(|input| tensor(input, &input.dims)).collect(), config.inputs.iter().map(graph).collect())
}

fn serving_outputs(config: &ModelConfig) -> (Vec<Tensor>, Vec<Tensor>) {
    let tensor = |output: &hanok_model_config::OutputSpec, dims: &[i64]| Tensor {
        name: output.name.clone(),
        data_type: Some(output.data_type),
        shape: batched(config.max_batch_size > 0, dims),
        optional: false,
    };
    let graph =
        |output: &hanok_model_config::OutputSpec| tensor(output, output.reshape.as_ref().unwrap_or(&output.dims));
    (
        config.outputs.iter().map(|output| tensor(output, &output.dims)).collect(),
        config.outputs.iter().map(graph).collect(),
    )
}

fn own_inputs(own: &wire::ModelConfig) -> Vec<Tensor> {
    let tensor = |input: &wire::ModelInput| Tensor {
        name: input.name.clone(),
        data_type: data_type(input.data_type),
        shape: batched(own.max_batch_size > 0, &input.dims),
        optional: input.optional,
    };
    own.input.iter().map(tensor).collect()
}

fn own_outputs(own: &wire::ModelConfig) -> Vec<Tensor> {
    let tensor = |output: &wire::ModelOutput| Tensor {
        name: output.name.clone(),
        data_type: data_type(output.data_type),
        shape: batched(own.max_batch_size > 0, &output.dims),
        optional: false,
    };
    own.output.iter().map(tensor).collect()
}

fn data_type(number: i32) -> Option<DataType> {
    DataType::from_config_name(wire::DataType::try_from(number).ok()?.as_str_name())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_model_config::{CompletionFacts, load_config};

    use super::*;

    fn text(input: &str, output: &str, more: &str) -> String {
        format!(
            "backend: \"onnxruntime\" max_batch_size: 4 {more}
             input {{ name: \"x\" data_type: TYPE_FP32 dims: [ {input} ] }}
             output {{ name: \"y\" data_type: TYPE_FP32 dims: [ {output} ] }}"
        )
    }

    fn serving(text: &str) -> ModelConfig {
        load_config(text, &CompletionFacts::new("m".to_owned()), None).unwrap().config
    }

    #[test]
    fn another_signature_is_refused_and_a_wider_one_is_not() {
        let serves = serving(&text("4", "2", ""));
        let own = |text: &str| compare(&serves, Some(text), None);
        assert_eq!(own(&text("4", "2", "dynamic_batching { }")), Ok(Compared::Same));
        assert_eq!(own(""), Ok(Compared::Same), "the graph has the last word");
        assert_eq!(own(&text("-1", "2", "")), Ok(Compared::Compatible));
        assert_eq!(own(&text("4", "2", "").replace("size: 4", "size: 2")), Ok(Compared::Compatible));
        let optional = "input { name: \"z\" data_type: TYPE_FP32 dims: [ 1 ] optional: true }";
        assert_eq!(own(&text("4", "2", optional)), Ok(Compared::Compatible));
        let refused = |text: String| own(&text).unwrap_err();
        assert_eq!(refused(text("5", "2", "")), "input `x`: expected FP32[-1,4], got FP32[-1,5]");
        assert_eq!(refused(text("4", "3", "")), "output `y`: expected FP32[-1,2], got FP32[-1,3]");
        assert_eq!(refused(text("4, 1", "2", "")), "input `x`: expected FP32[-1,4], got FP32[-1,4,1]");
        assert_eq!(refused(text("4", "2", "").replace("\"x\"", "\"w\"")), "input `x`: expected FP32[-1,4], got none");
        let another_type = text("4", "2", "").replacen("TYPE_FP32", "TYPE_INT64", 1);
        assert_eq!(refused(another_type), "input `x`: expected FP32[-1,4], got INT64[-1,4]");
        assert!(refused(text("4", "2", &optional.replace("optional: true", ""))).contains("input `z`"));
        assert!(refused(text("4", "2", "default_model_filename: \"b.onnx\"")).contains("`model.onnx`, got `b.onnx`"));
        assert!(refused(text("4", "2", "").replace("onnxruntime", "tract")).contains("backend"));
        assert!(refused("input {".to_owned()).contains("cannot be read"));
    }

    #[test]
    fn what_the_registry_knows_of_the_graph_counts() {
        let tensor = |name: &str, shape: &[i64]| TensorSignature {
            name: name.to_owned(),
            data_type: "FP32".to_owned(),
            shape: shape.to_vec(),
        };
        let known = |input: &[i64], output: &[i64]| Signature {
            inputs: vec![tensor("x", input)],
            outputs: vec![tensor("y", output)],
        };
        let serves = serving(&text("4", "2", ""));
        let compared = |input: &[i64], output: &[i64]| compare(&serves, None, Some(&known(input, output)));
        assert_eq!(compared(&[-1, 4], &[-1, 2]), Ok(Compared::Same));
        assert_eq!(compared(&[-1, -1], &[-1, -1]), Ok(Compared::Compatible));
        assert_eq!(compared(&[-1, 5], &[-1, 2]).unwrap_err(), "input `x`: expected FP32[-1,4], got FP32[-1,5]");
        assert!(compared(&[1, 4], &[1, 2]).is_err(), "it takes no batches");
        // Scalars per row, as the graph has them and as clients send them.
        let scalars = text("1", "1", "").replace("[ 1 ]", "[ 1 ] reshape { shape: [ ] }");
        assert_eq!(compare(&serving(&scalars), None, Some(&known(&[-1], &[-1]))), Ok(Compared::Same));
        assert_eq!(compare(&serving(&scalars), Some(&scalars), None), Ok(Compared::Same));
        assert_eq!(compare(&serves, None, None), Ok(Compared::Same), "nothing is known");
    }
}
