//! An ONNX file, read and checked against the configuration, from which plans are made.
//!
//! The file is mapped and decoded once; its protobuf form is dropped when the first plan stands. Only what the
//! configured outputs depend on is kept. Weights are shared by all plans.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use hanok_backend::ServingError;
use hanok_tensor::{DataType, Shape};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use tract_onnx::prelude::{Framework as _, InferenceModel, TractError};
use tract_onnx::tract_hir::internal::DatumType;

use crate::contract::{Contract, Port};
use crate::data_type::data_type;
use crate::failure;
use crate::operators::front_end;

/// One dimension of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// The number of rows.
    Rows,
    /// Known.
    Fixed(usize),
    /// The request's choice; with the graph's name for it, if it has one.
    Variable(Option<String>),
}

/// Kinds of operators that tract treats in ways of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Character {
    /// Convolutions: laid out well only for known sizes, and slower per row in a batch than alone.
    pub(crate) convolutional: bool,
    /// Recurrent operators: tract panics when it does not know the number of rows.
    pub(crate) recurrent: bool,
}

impl Character {
    fn of(graph: &GraphProto) -> Self {
        let has = |name: &dyn Fn(&str) -> bool| graph.node.iter().any(|node| name(&node.op_type));
        Self {
            convolutional: has(&|name| name.starts_with("Conv")),
            recurrent: has(&|name| matches!(name, "LSTM" | "GRU" | "RNN")),
        }
    }

    /// Whether a plan for any sizes is worth trying.
    pub(crate) const fn suits_any_size(self) -> bool {
        !self.convolutional && !self.recurrent
    }
}

/// A graph that fits the configuration.
#[derive(Debug)]
pub(crate) struct Graph {
    proto: ModelProto,
    folder: Option<String>,
    /// Dimensions of the inputs, in the contract's order.
    pub(crate) axes: Vec<Vec<Axis>>,
    /// What decides which plans are worth having.
    pub(crate) character: Character,
    /// Size of the file.
    pub(crate) file_bytes: u64,
}

impl Graph {
    /// Reads the file and checks it against `contract`.
    ///
    /// # Errors
    /// `InvalidArgument` for a file that is missing, not ONNX, or at odds with the contract; `Unsupported` for
    /// operators that tract lacks.
    pub(crate) fn read(path: &Path, contract: &Contract) -> Result<Self, ServingError> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of_model = format!("file '{file}' of model '{}'", contract.model);
        let metadata = std::fs::metadata(path).map_err(|error| {
            let what = if error.kind() == std::io::ErrorKind::NotFound { "does not exist" } else { "cannot be read" };
            ServingError::invalid(format!("{of_model} {what}"))
                .with_operator_detail(format!("{}: {error}", path.display()))
        })?;
        let mut proto = front_end().proto_model_for_path(path).map_err(|error| {
            ServingError::invalid(format!("{of_model} is not a valid ONNX model"))
                .with_operator_detail(format!("{}: {error:#}", path.display()))
        })?;
        let Some(graph) = proto.graph.as_mut() else {
            return Err(ServingError::invalid(format!("{of_model} is not a valid ONNX model: it holds no graph")));
        };
        select_outputs(graph, contract)?;
        let missing = missing_operators(graph);
        if !missing.is_empty() {
            return Err(failure::missing_operators(&contract.model, &missing));
        }
        let axes = order_inputs(graph, contract)?;
        let character = Character::of(graph);
        let folder = path.parent().and_then(Path::to_str).map(str::to_owned);
        Ok(Self { proto, folder, axes, character, file_bytes: metadata.len() })
    }

    /// tract's form of the graph. Facts about tensors between nodes are heeded only with `use_value_info`.
    pub(crate) fn translate(&self, use_value_info: bool) -> Result<InferenceModel, TractError> {
        let front_end = front_end().clone().with_ignore_value_info(!use_value_info);
        let parsed = front_end.parse(&self.proto, self.folder.as_deref())?;
        if let Some(unresolved) = parsed.unresolved_inputs.first() {
            return Err(TractError::msg(format!("tensor `{unresolved}` is computed nowhere")));
        }
        Ok(parsed.model)
    }
}

/// Leaves the contract's outputs, in its order, and the nodes that they depend on.
fn select_outputs(graph: &mut GraphProto, contract: &Contract) -> Result<(), ServingError> {
    let mut outputs = Vec::with_capacity(contract.outputs.len());
    for port in &contract.outputs {
        let Some(output) = graph.output.iter().find(|output| output.name == port.name) else {
            let allowed = graph.output.iter().map(|output| output.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ServingError::invalid(format!(
                "unexpected inference output '{}', allowed outputs are: {allowed}",
                port.name
            )));
        };
        check_type(output, port, contract)?;
        outputs.push(output.clone());
    }
    graph.output = outputs;
    let mut needed: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    // Nodes stand in an order in which they can be computed, so one pass from the back finds all that is needed.
    let mut kept: Vec<NodeProto> = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            collect_inputs(&node, &mut needed);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|initializer| needed.contains(&initializer.name));
    Ok(())
}

/// Names that a node reads, also those that graphs within it read from outside.
fn collect_inputs(node: &NodeProto, needed: &mut HashSet<String>) {
    needed.extend(node.input.iter().cloned());
    for graph in subgraphs(&node.attribute) {
        needed.extend(graph.output.iter().map(|output| output.name.clone()));
        graph.node.iter().for_each(|node| collect_inputs(node, needed));
    }
}

fn subgraphs(attributes: &[AttributeProto]) -> impl Iterator<Item = &GraphProto> {
    attributes.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Operators that nobody registered, each once, in the order of their first use.
fn missing_operators(graph: &GraphProto) -> Vec<&str> {
    let mut missing = Vec::new();
    let mut open = vec![graph];
    while let Some(graph) = open.pop() {
        for node in &graph.node {
            let name = node.op_type.as_str();
            if !front_end().op_register.0.contains_key(name) && !missing.contains(&name) {
                missing.push(name);
            }
            open.extend(subgraphs(&node.attribute));
        }
    }
    missing
}

/// Puts the graph's inputs into the contract's order and tells their dimensions.
fn order_inputs(graph: &mut GraphProto, contract: &Contract) -> Result<Vec<Vec<Axis>>, ServingError> {
    let stored: HashSet<&str> = graph.initializer.iter().map(|initializer| initializer.name.as_str()).collect();
    let (constants, real): (Vec<_>, Vec<_>) =
        graph.input.iter().cloned().partition(|input| stored.contains(input.name.as_str()));
    let mut by_name: HashMap<String, ValueInfoProto> =
        real.iter().map(|input| (input.name.clone(), input.clone())).collect();
    let mut ordered = Vec::with_capacity(graph.input.len());
    let mut axes = Vec::with_capacity(contract.inputs.len());
    for port in &contract.inputs {
        let Some(input) = by_name.remove(&port.name) else {
            let allowed = real.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ServingError::invalid(format!(
                "unexpected inference input '{}', allowed inputs are: {allowed}",
                port.name
            )));
        };
        check_type(&input, port, contract)?;
        axes.push(input_axes(&input, port, contract)?);
        ordered.push(input);
    }
    if !by_name.is_empty() {
        return Err(ServingError::invalid(format!(
            "failed to load '{}', configuration expects {} inputs, model provides {}",
            contract.model,
            contract.inputs.len(),
            real.len()
        )));
    }
    ordered.extend(constants);
    graph.input = ordered;
    Ok(axes)
}

/// Element type and dimensions that the graph declares; `None` for what it leaves open.
fn declared(value: &ValueInfoProto) -> (Option<DataType>, Option<Vec<Option<Dimension>>>) {
    let Some(TypeValue::TensorType(tensor)) = value.r#type.as_ref().and_then(|r#type| r#type.value.as_ref()) else {
        return (None, None);
    };
    let element = tract_onnx::pb::tensor_proto::DataType::try_from(tensor.elem_type).ok();
    let element = element.and_then(|element| DatumType::try_from(element).ok()).and_then(data_type);
    let dimensions = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(|dim| dim.value.clone()).collect());
    (element, dimensions)
}

fn check_type(value: &ValueInfoProto, port: &Port, contract: &Contract) -> Result<(), ServingError> {
    match declared(value).0 {
        Some(declared) if declared != port.data_type => Err(ServingError::invalid(format!(
            "model '{}', tensor '{}': the model expects data-type {} but the model configuration specifies data-type {}",
            contract.model,
            port.name,
            declared.config_name(),
            port.data_type.config_name()
        ))),
        _ => Ok(()),
    }
}

/// Merges what graph and configuration know of an input's dimensions.
fn input_axes(input: &ValueInfoProto, port: &Port, contract: &Contract) -> Result<Vec<Axis>, ServingError> {
    let configured =
        contract.max_rows.map(|_| Axis::Rows).into_iter().chain(
            port.dims.iter().map(|&dimension| usize::try_from(dimension).map_or(Axis::Variable(None), Axis::Fixed)),
        );
    let mut axes: Vec<Axis> = configured.collect();
    let Some(declared) = declared(input).1 else { return Ok(axes) };
    let shape = || -> Shape {
        let known = |dimension: &Option<Dimension>| match dimension {
            Some(Dimension::DimValue(value)) => *value,
            _ => -1,
        };
        declared.iter().map(known).collect()
    };
    if axes.len() != declared.len() {
        return Err(ServingError::invalid(format!(
            "model '{}', tensor '{}': the model expects {} dimensions (shape {}) but the model configuration specifies \
             {} dimensions",
            contract.model,
            port.name,
            declared.len(),
            shape(),
            axes.len()
        )));
    }
    for (axis, dimension) in axes.iter_mut().zip(&declared) {
        match (&axis, dimension) {
            (Axis::Rows, Some(Dimension::DimValue(value))) if *value > 0 => {
                return Err(ServingError::invalid(format!(
                    "model '{}', tensor '{}': for the model to support batching the shape should have at least 1 \
                     dimension and the first dimension must be -1; but shape expected by the model is {}",
                    contract.model,
                    port.name,
                    shape()
                )));
            }
            (Axis::Fixed(configured), Some(Dimension::DimValue(value)))
                if *value > 0 && usize::try_from(*value) != Ok(*configured) =>
            {
                return Err(ServingError::invalid(format!(
                    "model '{}', tensor '{}': the model expects shape {} but the model configuration specifies shape {}",
                    contract.model,
                    port.name,
                    shape(),
                    port.dims
                )));
            }
            (Axis::Variable(_), Some(Dimension::DimValue(value))) if *value > 0 => {
                *axis = Axis::Fixed(usize::try_from(*value).unwrap_or(usize::MAX));
            }
            (Axis::Variable(_), Some(Dimension::DimParam(name))) => *axis = Axis::Variable(Some(name.clone())),
            _ => {}
        }
    }
    Ok(axes)
}
