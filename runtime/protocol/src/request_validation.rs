//! A message against a model's configuration: names, data types, shapes, batch size, byte sizes (W-30, W-31, W-44).
//!
//! Pure. What passes is in the configuration's order and safe to batch; shapes are still the client's (backends reshape). Texts are
//! Triton's, which its clients and its test suite know.

use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{
    InferenceRequest, InputTensor, OutputSelection, RegionOutput, RegionSlice, RequestRegions, ServingError,
};
use hanok_model_config::{InputSpec, ModelConfig};
use hanok_tensor::{BytesElementError, BytesElements, Shape, ShapeError};
use smallvec::{SmallVec, smallvec};

use crate::classification::check_data_type;
use crate::{
    InferMessage, MessageInput, NoRegions, OutputPlan, PlannedOutput, RegionLookup, RequestedOutput, TensorSource,
};

type Inputs = SmallVec<[Option<InputTensor>; 2]>;

/// A way of asking for exactly one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryEndpoint {
    /// HTTP infer.
    Http,
    /// gRPC `ModelInfer`.
    Grpc,
}

/// Refuses a decoupled model where only one response can be sent (W-34, W-89).
///
/// # Errors
/// `Unsupported`.
pub fn refuse_decoupled(config: &ModelConfig, endpoint: UnaryEndpoint) -> Result<(), ServingError> {
    match (config.decoupled, endpoint) {
        (false, _) => Ok(()),
        (true, UnaryEndpoint::Http) => {
            Err(ServingError::unsupported("HTTP end point doesn't support models with decoupled transaction policy"))
        }
        (true, UnaryEndpoint::Grpc) => {
            Err(ServingError::unsupported("ModelInfer RPC doesn't support models with decoupled transaction policy"))
        }
    }
}

/// Validates a message and makes the request and the plan of its reply.
///
/// Tensors are moved, not copied. `received` and `deadline` are passed on.
///
/// # Errors
/// `InvalidArgument` for every contradiction to the configuration; `Unsupported` for shared memory.
pub fn prepare(
    message: InferMessage<'_>,
    config: &ModelConfig,
    received: Instant,
    deadline: Option<Instant>,
) -> Result<(InferenceRequest, OutputPlan), ServingError> {
    prepare_with_regions(message, config, &NoRegions, received, deadline)
}

/// As [`prepare`], for a server whose clients may name what `lookup` finds.
///
/// # Errors
/// As [`prepare`], and what `lookup` answers.
pub fn prepare_with_regions(
    message: InferMessage<'_>,
    config: &ModelConfig,
    lookup: &dyn RegionLookup,
    received: Instant,
    deadline: Option<Instant>,
) -> Result<(InferenceRequest, OutputPlan), ServingError> {
    let mut regions = Regions { lookup, found: None };
    let plan = plan_outputs(&message.outputs, message.unnamed_outputs_binary, config, &mut regions)?;
    let outputs = match &plan {
        OutputPlan::All { .. } => OutputSelection::All,
        OutputPlan::Only(outputs) => OutputSelection::Only(outputs.iter().map(|output| output.index).collect()),
    };
    let (inputs, rows) = validate_inputs(message.inputs, config, &mut regions)?;
    let request = InferenceRequest {
        id: message.id,
        inputs,
        regions: regions.found,
        rows,
        outputs,
        parameters: message.parameters,
        sequence: message.reserved.sequence.map(Box::new),
        priority: message.reserved.priority,
        timeout_microseconds: message.reserved.timeout_microseconds,
        received,
        deadline,
        trace: None,
    };
    Ok((request, plan))
}

/// Where regions are looked up, and those that the request names.
struct Regions<'a> {
    lookup: &'a dyn RegionLookup,
    found: Option<Box<RequestRegions>>,
}

impl Regions<'_> {
    fn found(&mut self) -> &mut RequestRegions {
        self.found.get_or_insert_default()
    }
}

fn plan_outputs(
    requested: &[RequestedOutput<'_>],
    unnamed_binary: bool,
    config: &ModelConfig,
    regions: &mut Regions<'_>,
) -> Result<OutputPlan, ServingError> {
    if requested.is_empty() {
        return Ok(OutputPlan::All { binary: unnamed_binary });
    }
    let mut planned: SmallVec<[PlannedOutput; 2]> = SmallVec::new();
    let mut seen: SmallVec<[bool; 16]> = smallvec![false; config.outputs.len()];
    for (position, output) in requested.iter().enumerate() {
        let found = match config.outputs.get(position) {
            Some(spec) if *spec.name == *output.name => Some(position),
            _ => config.output_index(&output.name),
        };
        let Some((index, spec, seen)) = found
            .and_then(|index| Some((u16::try_from(index).ok()?, config.outputs.get(index)?, seen.get_mut(index)?)))
        else {
            return Err(ServingError::invalid(format!(
                "unexpected inference output '{}' for model '{}'",
                output.name, config.name
            )));
        };
        if std::mem::replace(seen, true) {
            return Err(ServingError::invalid(format!("output '{}' already exists in request", output.name)));
        }
        if let Some(range) = &output.shared_memory {
            let slice = regions.lookup.find(range)?;
            regions.found().outputs.push(RegionOutput { index, name: spec.name.as_str().into(), slice });
        }
        if output.classification > 0 {
            check_data_type(spec.data_type)?;
        }
        let placed = output.shared_memory.is_some();
        planned.push(PlannedOutput { index, binary: output.binary, classification: output.classification, placed });
    }
    Ok(OutputPlan::Only(planned))
}

fn validate_inputs(
    sent: SmallVec<[MessageInput<'_>; 2]>,
    config: &ModelConfig,
    regions: &mut Regions<'_>,
) -> Result<(Inputs, u32), ServingError> {
    let count = sent.len();
    let mut placed: SmallVec<[Option<MessageInput<'_>>; 2]> = SmallVec::new();
    placed.resize_with(config.inputs.len(), || None);
    let mut unknown = None;
    for (position, input) in sent.into_iter().enumerate() {
        // Clients mostly keep the configuration's order.
        let found = match config.inputs.get(position) {
            Some(spec) if *spec.name == *input.name => Some(position),
            _ => config.input_index(&input.name),
        };
        match found.and_then(|index| placed.get_mut(index)) {
            Some(Some(_)) => {
                return Err(ServingError::invalid(format!("input '{}' already exists in request", input.name)));
            }
            Some(slot) => *slot = Some(input),
            None => unknown = Some(unknown.unwrap_or(input)),
        }
    }
    check_presence(&placed, unknown.as_ref(), count, config)?;
    let rows = batch_size(&placed, config)?;
    let mut inputs = Inputs::new();
    for (index, (spec, input)) in (0..).zip(config.inputs.iter().zip(placed)) {
        inputs.push(input.map(|input| validate_input(input, (index, spec), config, regions)).transpose()?);
    }
    Ok((inputs, rows))
}

/// Every required input must be there, and nothing else (W-30).
fn check_presence(
    placed: &[Option<MessageInput<'_>>],
    unknown: Option<&MessageInput<'_>>,
    count: usize,
    config: &ModelConfig,
) -> Result<(), ServingError> {
    let missing = || config.inputs.iter().zip(placed).filter(|(spec, input)| !spec.optional && input.is_none());
    let required = config.inputs.iter().filter(|spec| !spec.optional).count();
    let wrong_count = count < required || count > config.inputs.len();
    if let (Some(unknown), false) = (unknown, wrong_count) {
        return Err(ServingError::invalid(format!(
            "unexpected inference input '{}' for model '{}'",
            unknown.name, config.name
        )));
    }
    if !wrong_count && missing().next().is_none() {
        return Ok(());
    }
    let total = config.inputs.len();
    let expected = if required == total {
        format!("expected {total} inputs")
    } else {
        format!("expected number of inputs between {required} and {total}")
    };
    let got = placed.iter().flatten().chain(unknown).map(|input| input.name.as_ref());
    Err(ServingError::invalid(format!(
        "{expected} but got {count} inputs for model '{}'. Got input(s) {}, but missing required input(s) {}. \
         Please provide all required input(s).",
        config.name,
        quoted_list(got),
        quoted_list(missing().map(|(spec, _)| spec.name.as_str())),
    )))
}

fn quoted_list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    format!("[{}]", quoted.join(","))
}

/// Rows in the batch dimension, which all inputs share; 1 for a model that does not batch.
fn batch_size(placed: &[Option<MessageInput<'_>>], config: &ModelConfig) -> Result<u32, ServingError> {
    if !config.batches() {
        return Ok(1);
    }
    let mut rows = None;
    for input in placed.iter().flatten() {
        let Some(&first) = input.shape.first() else {
            return Err(ServingError::invalid(format!(
                "input '{}' has no shape but model requires batch dimension for '{}'",
                input.name, config.name
            )));
        };
        if *rows.get_or_insert(first) != first {
            return Err(ServingError::invalid(format!(
                "input '{}' batch size does not match other inputs for '{}'",
                input.name, config.name
            )));
        }
    }
    // Only a model whose inputs are all optional can be without any.
    let rows = rows.unwrap_or(1);
    match u32::try_from(rows) {
        Ok(0) => Err(ServingError::invalid(format!("inference request batch-size must be >= 1 for '{}'", config.name))),
        Ok(rows) if rows <= config.max_batch_size => Ok(rows),
        _ if rows < 0 => Err(ServingError::malformed(format!("batch size {rows} is negative"))),
        _ => Err(ServingError::invalid(format!(
            "inference request batch-size must be <= {} for '{}'",
            config.max_batch_size, config.name
        ))),
    }
}

fn validate_input(
    input: MessageInput<'_>,
    (index, spec): (u16, &InputSpec),
    config: &ModelConfig,
    regions: &mut Regions<'_>,
) -> Result<InputTensor, ServingError> {
    if input.data_type != spec.data_type {
        return Err(ServingError::invalid(format!(
            "inference input '{}' data-type is '{}', but model '{}' expects '{}'",
            input.name, input.data_type, config.name, spec.data_type
        )));
    }
    let leading = usize::from(config.batches());
    let dims = input.shape.get(leading..).unwrap_or_default();
    let fits = dims.len() == spec.dims.rank()
        && dims
            .iter()
            .zip(spec.dims.iter())
            .all(|(&sent, &configured)| sent == configured || (configured < 0 && sent >= 0));
    if !fits {
        return Err(unexpected_shape(&input, spec, config));
    }
    let (data, slice) = match input.data {
        TensorSource::Inline(data) => (data, None),
        TensorSource::SharedMemory(range) => (Bytes::new(), Some(regions.lookup.find(&range)?)),
    };
    let length = slice.as_ref().map_or(data.len(), RegionSlice::length);
    match input.shape.byte_size(spec.data_type).map_err(|error| no_size(spec, config, error))? {
        Some(size) if size == length => {}
        Some(size) => {
            return Err(ServingError::invalid(format!(
                "input byte size mismatch for input '{}' for model '{}'. Expected {size}, got {length}",
                spec.name, config.name
            )));
        }
        // Elements in a region are counted when they were copied out of it.
        None if slice.is_some() => {}
        None => check_elements(&data, &input.shape, spec, config)?,
    }
    if let Some(slice) = slice {
        regions.found().inputs.push((index, slice));
    }
    Ok(InputTensor { shape: input.shape, data })
}

fn unexpected_shape(input: &MessageInput<'_>, spec: &InputSpec, config: &ModelConfig) -> ServingError {
    if let Some(&dimension) = input.shape.iter().find(|&&dimension| dimension < 0) {
        return ServingError::malformed(format!("input '{}' has negative dimension {dimension}", spec.name));
    }
    let mut full = Shape::new(if config.batches() { &[-1] } else { &[] });
    for &dimension in spec.dims.iter() {
        full.push(dimension);
    }
    let note = if config.batches() {
        ". NOTE: max_batch_size is above zero, so the shape of every input begins with a batch dimension, which the \
         dims in the model configuration leave out"
    } else {
        ""
    };
    ServingError::invalid(format!(
        "unexpected shape for input '{}' for model '{}'. Expected {full}, got {}{note}",
        spec.name, config.name, input.shape
    ))
}

fn no_size(spec: &InputSpec, config: &ModelConfig, error: ShapeError) -> ServingError {
    match error {
        ShapeError::Negative { dimension } => {
            ServingError::malformed(format!("input '{}' has negative dimension {dimension}", spec.name))
        }
        ShapeError::Overflow => ServingError::invalid(format!(
            "input '{}' for model '{}' causes total element count or byte size to exceed maximum size of {}",
            spec.name,
            config.name,
            i64::MAX
        )),
    }
}

/// Counts the elements of a BYTES tensor against its shape.
fn check_elements(data: &[u8], shape: &Shape, spec: &InputSpec, config: &ModelConfig) -> Result<(), ServingError> {
    let expected = shape.element_count().map_err(|error| no_size(spec, config, error))?;
    let (input, model) = (&spec.name, &config.name);
    let mut found = 0_usize;
    let mut elements = BytesElements::new(data);
    loop {
        let left = elements.rest().len();
        let Some(element) = elements.next() else { break };
        match element {
            Ok(_) => found += 1,
            Err(BytesElementError::IncompleteLength { .. }) => {
                return Err(ServingError::invalid(format!(
                    "incomplete string length indicator for inference input '{input}' for model '{model}', expecting 4 \
                     bytes but only {left} bytes available"
                )));
            }
            Err(BytesElementError::BeyondEnd { length, available, .. }) => {
                return Err(ServingError::invalid(format!(
                    "incomplete string data for inference input '{input}' for model '{model}', expecting string of \
                     length {length} but only {available} bytes available"
                )));
            }
        }
        if found > expected {
            return Err(ServingError::invalid(format!(
                "unexpected number of string elements {} for inference input '{input}' for model '{model}', expecting \
                 {expected}",
                expected + 1
            )));
        }
    }
    if found < expected {
        return Err(ServingError::invalid(format!(
            "expected {expected} string elements for inference input '{input}' for model '{model}', got {found}"
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_validation_tests.rs"]
mod tests;
