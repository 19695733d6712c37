//! Batch size, inputs and outputs from the model's graph.

use super::{CompletionFacts, FilledField, control_names};
use crate::wire::model_config::SchedulingChoice;
use crate::{ConfigProblem, ModelSignature, SignatureTensor, element_type, wire};

/// Nothing is filled where inputs and outputs are both declared: such a configuration is taken as complete, so that
/// an absent `max_batch_size` means 0 there, as in Triton.
pub(super) fn complete(
    config: &mut wire::ModelConfig,
    signature: &ModelSignature,
    facts: &CompletionFacts,
    filled: &mut Vec<FilledField>,
    problems: &mut Vec<ConfigProblem>,
) {
    if !config.input.is_empty() && !config.output.is_empty() {
        return;
    }
    batch_size(config, signature, facts, filled, problems);
    let batches = config.max_batch_size > 0;
    if config.input.is_empty() {
        let controls: Vec<_> = control_names(config).map(str::to_owned).collect();
        let offered = signature.inputs.iter().filter(|tensor| !controls.contains(&tensor.name));
        for tensor in offered {
            let path = format!("input[{}]", config.input.len());
            let Some((data_type, dims, reshape)) = declared(tensor, &path, batches, problems) else { continue };
            filled.push(FilledField::new(
                &path,
                describe(&tensor.name, data_type, &dims),
                "input of the model's graph",
            ));
            config.input.push(wire::ModelInput {
                name: tensor.name.clone(),
                data_type,
                dims,
                reshape,
                ..Default::default()
            });
        }
    }
    if config.output.is_empty() {
        for tensor in &signature.outputs {
            let path = format!("output[{}]", config.output.len());
            let Some((data_type, dims, reshape)) = declared(tensor, &path, batches, problems) else { continue };
            filled.push(FilledField::new(
                &path,
                describe(&tensor.name, data_type, &dims),
                "output of the model's graph",
            ));
            config.output.push(wire::ModelOutput {
                name: tensor.name.clone(),
                data_type,
                dims,
                reshape,
                ..Default::default()
            });
        }
    }
}

/// A model can batch when every input and output has a first dimension that varies.
fn batch_size(
    config: &mut wire::ModelConfig,
    signature: &ModelSignature,
    facts: &CompletionFacts,
    filled: &mut Vec<FilledField>,
    problems: &mut Vec<ConfigProblem>,
) {
    let fixed = signature
        .inputs
        .iter()
        .chain(&signature.outputs)
        .find(|tensor| tensor.dims.as_deref().and_then(<[i64]>::first) != Some(&-1));
    if let Some(fixed) = fixed {
        if config.max_batch_size > 0 {
            problems.push(ConfigProblem::new(
                "max_batch_size",
                format!(
                    "autofill failed for model '{}': model does not support batching while non-zero max_batch_size is \
                     specified (the first dimension of `{}` does not vary)",
                    config.name, fixed.name
                ),
            ));
        }
        return;
    }
    if signature.inputs.is_empty() || signature.outputs.is_empty() {
        return;
    }
    if config.max_batch_size == 0 {
        let Ok(default @ 1..) = i32::try_from(facts.default_max_batch_size) else { return };
        if declared_whole(config, signature) {
            return;
        }
        config.max_batch_size = default;
        let reason = "the first dimension of every input and output of the graph varies, and no size is given; declare a \
                      larger size for larger batches";
        filled.push(FilledField::new("max_batch_size", default.to_string(), reason));
    }
    if config.max_batch_size > 1 && config.scheduling_choice.is_none() {
        config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(wire::ModelDynamicBatching::default()));
        filled.push(FilledField::new("dynamic_batching", "{}", "the model can batch and no scheduler is given"));
    }
}

/// Whether a declared tensor has as many dimensions as the graph's, so that the first one is not a batch dimension.
fn declared_whole(config: &wire::ModelConfig, signature: &ModelSignature) -> bool {
    let whole = |tensors: &[SignatureTensor], name: &str, dims: &[i64], reshape: Option<&wire::ModelTensorReshape>| {
        let rank =
            tensors.iter().find(|tensor| tensor.name == name).and_then(|tensor| tensor.dims.as_ref()).map(Vec::len);
        rank == Some(reshape.map_or(dims.len(), |reshape| reshape.shape.len()))
    };
    config.input.iter().any(|input| whole(&signature.inputs, &input.name, &input.dims, input.reshape.as_ref()))
        || config
            .output
            .iter()
            .any(|output| whole(&signature.outputs, &output.name, &output.dims, output.reshape.as_ref()))
}

/// Data type, dims and reshape of a tensor of the graph, as a configuration declares them. A tensor without dimensions
/// of its own is `[ 1 ]` to clients and reshaped to none for the model.
fn declared(
    tensor: &SignatureTensor,
    path: &str,
    batches: bool,
    problems: &mut Vec<ConfigProblem>,
) -> Option<(i32, Vec<i64>, Option<wire::ModelTensorReshape>)> {
    let unknown = |what: &str| {
        let name = &tensor.name;
        Some(ConfigProblem::new(
            path,
            format!("the graph gives `{name}` no {what}; declare inputs and outputs in the configuration"),
        ))
    };
    let Some(data_type) = tensor.data_type else {
        problems.extend(unknown("tensor type that can be served"));
        return None;
    };
    let Some(dims) = &tensor.dims else {
        problems.extend(unknown("shape"));
        return None;
    };
    let dims = dims.get(usize::from(batches)..).unwrap_or_default().to_vec();
    let data_type = element_type::to_wire(data_type);
    if dims.is_empty() {
        Some((data_type, vec![1], Some(wire::ModelTensorReshape::default())))
    } else {
        Some((data_type, dims, None))
    }
}

fn describe(name: &str, data_type: i32, dims: &[i64]) -> String {
    format!("{name} {} {}", element_type::spelling(data_type), hanok_tensor::Shape::new(dims))
}
