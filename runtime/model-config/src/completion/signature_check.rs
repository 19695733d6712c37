//! Declared tensors against those of the model's graph; the texts are those of Triton's ONNX Runtime backend.

use hanok_tensor::Shape;

use super::{FilledField, control_names};
use crate::{ConfigProblem, ModelSignature, SignatureTensor, element_type, wire};

/// A declared input or output.
struct Declared<'a> {
    direction: &'static str,
    index: usize,
    name: &'a str,
    data_type: i32,
    dims: &'a [i64],
    reshape: &'a mut Option<wire::ModelTensorReshape>,
}

/// Checks names, data types and dimensions; fills the reshape of scalars.
pub(super) fn check(
    config: &mut wire::ModelConfig,
    signature: &ModelSignature,
    filled: &mut Vec<FilledField>,
    problems: &mut Vec<ConfigProblem>,
) {
    let model = config.name.clone();
    let batches = config.max_batch_size > 0;
    missing_inputs(config, signature, problems);
    let inputs: Vec<_> = signature.inputs.iter().chain(&signature.overridable_inputs).collect();
    let outputs: Vec<_> = signature.outputs.iter().collect();
    let declared_inputs = config.input.iter_mut().enumerate().map(|(index, input)| {
        let wire::ModelInput { name, data_type, dims, reshape, .. } = input;
        Declared { direction: "input", index, name, data_type: *data_type, dims, reshape }
    });
    let declared_outputs = config.output.iter_mut().enumerate().map(|(index, output)| {
        let wire::ModelOutput { name, data_type, dims, reshape, .. } = output;
        Declared { direction: "output", index, name, data_type: *data_type, dims, reshape }
    });
    for declared in declared_inputs {
        tensor(declared, &inputs, &model, batches, filled, problems);
    }
    for declared in declared_outputs {
        tensor(declared, &outputs, &model, batches, filled, problems);
    }
}

/// Every input of the graph must be declared or be a control of the sequence batcher, which in turn must exist.
fn missing_inputs(config: &wire::ModelConfig, signature: &ModelSignature, problems: &mut Vec<ConfigProblem>) {
    let model = &config.name;
    let missing: Vec<_> = signature
        .inputs
        .iter()
        .filter(|tensor| !config.input.iter().any(|input| input.name == tensor.name))
        .filter(|tensor| !control_names(config).any(|name| name == tensor.name))
        .map(|tensor| format!("`{}`", tensor.name))
        .collect();
    if !missing.is_empty() && !config.input.is_empty() {
        problems.push(ConfigProblem::new(
            "input",
            format!(
                "unable to load model '{model}', configuration expects {} inputs, model provides {}; missing are {}",
                config.input.len() + control_names(config).count(),
                signature.inputs.len(),
                missing.join(", ")
            ),
        ));
    }
    for (index, name) in control_names(config).enumerate() {
        if !signature.inputs.iter().any(|tensor| tensor.name == name) {
            problems.push(ConfigProblem::new(
                format!("sequence_batching.control_input[{index}].name"),
                format!("unable to load model '{model}', configuration specified sequence control '{name}', but model does not \
                     provide that input"),
            ));
        }
    }
}

fn tensor(
    declared: Declared<'_>,
    offered: &[&SignatureTensor],
    model: &str,
    batches: bool,
    filled: &mut Vec<FilledField>,
    problems: &mut Vec<ConfigProblem>,
) {
    let Declared { direction, index, name, data_type, dims, reshape } = declared;
    let path = format!("{direction}[{index}]");
    let Some(graph) = offered.iter().find(|tensor| tensor.name == name) else {
        let allowed: Vec<_> = offered.iter().map(|tensor| tensor.name.as_str()).collect();
        let message =
            format!("unexpected inference {direction} '{name}', allowed {direction}s are: {}", allowed.join(", "));
        problems.push(ConfigProblem::new(format!("{path}.name"), message));
        return;
    };
    match graph.data_type {
        Some(provided) if element_type::from_wire(data_type) != Some(provided) => problems.push(ConfigProblem::new(
            format!("{path}.data_type"),
            format!(
                "unable to load model '{model}', configuration expects datatype {} for {direction} '{name}', model \
                 provides {}",
                element_type::spelling(data_type),
                provided.config_name()
            ),
        )),
        Some(_) => {}
        None => problems.push(ConfigProblem::new(
            path.clone(),
            format!("{direction} `{name}` of the graph is not a tensor that can be served"),
        )),
    }
    let Some(graph_dims) = &graph.dims else { return };
    if graph_dims.is_empty() && !batches && dims == [1] && reshape.is_none() {
        *reshape = Some(wire::ModelTensorReshape::default());
        filled.push(FilledField::new(format!("{path}.reshape"), "{}", "the graph has a scalar here"));
    }
    let model_dims = reshape.as_ref().map_or(dims, |reshape| reshape.shape.as_slice());
    if let Some(message) = dims_mismatch(graph_dims, model_dims, batches) {
        problems
            .push(ConfigProblem::new(format!("{path}.dims"), format!("model '{model}', tensor '{name}': {message}")));
    }
}

/// A fixed dimension of the graph must be declared as it is; a varying one may be declared fixed.
fn dims_mismatch(graph: &[i64], declared: &[i64], batches: bool) -> Option<String> {
    if batches && graph.first() != Some(&-1) {
        return Some(format!(
            "for the model to support batching the shape should have at least 1 dimension and the first dimension must be \
             -1; but shape expected by the model is {}",
            Shape::new(graph)
        ));
    }
    let whole: Shape = batches.then_some(-1).into_iter().chain(declared.iter().copied()).collect();
    if graph.len() != whole.len() {
        let initial = if batches {
            "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making \
             complete shape "
        } else {
            "shape "
        };
        return Some(format!(
            "the model expects {} dimensions (shape {}) but the model configuration specifies {} dimensions \
             ({initial}{whole})",
            graph.len(),
            Shape::new(graph),
            whole.len(),
        ));
    }
    let equal = graph.iter().zip(whole.iter()).all(|(&graph, &declared)| graph == -1 || graph == declared);
    (!equal).then(|| {
        format!("the model expects shape {} but the model configuration specifies shape {whole}", Shape::new(graph))
    })
}
