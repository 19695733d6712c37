//! A `ModelInferRequest` to the neutral message (W-86, W-93).
//!
//! Raw contents are moved out of the request, not copied; names borrow from it.

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

use super::parameter_map::{shared_memory_range, unsigned, value};
use super::typed_contents::tensor_bytes;
use super::wire::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::wire::inference::{InferTensorContents, ModelInferRequest};
use crate::classification::check_count;
use crate::parameters::{ParameterCollector, ParameterOrigin};
use crate::{InferMessage, MessageInput, RequestedOutput, TensorSource};

/// Bounds of a request, besides its size. Reaching one is allowed, exceeding it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcLimits {
    /// Number of inputs, and of requested outputs.
    pub max_tensors: usize,
    /// Number of dimensions of a tensor.
    pub max_rank: usize,
    /// Number of parameters that are not reserved.
    pub max_parameters: usize,
}

impl Default for GrpcLimits {
    fn default() -> Self {
        Self { max_tensors: 4096, max_rank: 128, max_parameters: 256 }
    }
}

/// Makes the neutral message. Takes the id and the raw contents out of `request`; its names stay and are borrowed.
///
/// # Errors
/// `InvalidArgument` for everything that contradicts the protocol.
pub fn parse_infer_request<'a>(
    request: &'a mut ModelInferRequest,
    limits: &GrpcLimits,
) -> Result<InferMessage<'a>, ServingError> {
    let id = mem::take(&mut request.id).into_boxed_str();
    let raw = mem::take(&mut request.raw_input_contents);
    let request: &'a ModelInferRequest = request;
    if request.inputs.len() > limits.max_tensors || request.outputs.len() > limits.max_tensors {
        return Err(ServingError::invalid(format!("request has more than `{}` inputs or outputs", limits.max_tensors)));
    }
    let mut collector = ParameterCollector::new(ParameterOrigin::Grpc, limits.max_parameters);
    for (name, parameter) in &request.parameters {
        collector.add(name, value(name, parameter)?)?;
    }
    let parameters = collector.finish();
    Ok(InferMessage {
        id,
        parameters: parameters.ordinary,
        reserved: parameters.reserved,
        inputs: inputs(request, raw, limits)?,
        outputs: request.outputs.iter().map(output).collect::<Result<_, _>>()?,
        unnamed_outputs_binary: true,
    })
}

fn inputs<'a>(
    request: &'a ModelInferRequest,
    raw: Vec<Bytes>,
    limits: &GrpcLimits,
) -> Result<SmallVec<[MessageInput<'a>; 2]>, ServingError> {
    let model = request.model_name.as_str();
    let raw_count = raw.len();
    let mut raw = raw.into_iter();
    let mut inputs = SmallVec::with_capacity(request.inputs.len());
    let mut inline_count = 0;
    for input in &request.inputs {
        let Some(data_type) = DataType::from_name(input.datatype.as_bytes()) else {
            return Err(ServingError::invalid(format!("invalid datatype for input {}", input.name)));
        };
        let shape = shape(input, limits)?;
        let data = match shared_memory_range(&input.parameters)? {
            Some(range) => {
                if input.contents.as_ref().is_some_and(|contents| !is_empty(contents)) {
                    return Err(ServingError::invalid(format!(
                        "unexpected 'content' provided when using shared memory for input tensor '{}' for model '{model}'",
                        input.name
                    )));
                }
                TensorSource::SharedMemory(range)
            }
            None => {
                inline_count += 1;
                TensorSource::Inline(match (raw_count, &input.contents) {
                    (0, Some(contents)) => tensor_bytes(contents, data_type, &input.name, model)?,
                    (0, None) => Bytes::new(),
                    (_, Some(contents)) if !is_empty(contents) => {
                        return Err(ServingError::invalid(format!(
                            "unexpected explicit tensor data for input tensor '{}' for model '{model}', binary data was \
                             already supplied.",
                            input.name
                        )));
                    }
                    (_, _) => raw.next().unwrap_or_default(),
                })
            }
        };
        inputs.push(MessageInput { name: Cow::Borrowed(input.name.as_str()), data_type, shape, data });
    }
    if raw_count > 0 && raw_count != inline_count {
        return Err(ServingError::invalid(format!(
            "expected `{inline_count}` entries in raw_input_contents, one per input, got `{raw_count}` for model '{model}'"
        )));
    }
    Ok(inputs)
}

fn shape(input: &InferInputTensor, limits: &GrpcLimits) -> Result<Shape, ServingError> {
    if input.shape.len() > limits.max_rank {
        return Err(ServingError::invalid(format!("shape has more than `{}` dimensions", limits.max_rank)));
    }
    if let Some(dimension) = input.shape.iter().find(|&&dimension| dimension < 0) {
        return Err(ServingError::invalid(format!("input '{}' has negative dimension {dimension}", input.name)));
    }
    Ok(Shape::new(&input.shape))
}

fn is_empty(contents: &InferTensorContents) -> bool {
    contents.bool_contents.is_empty()
        && contents.int_contents.is_empty()
        && contents.int64_contents.is_empty()
        && contents.uint_contents.is_empty()
        && contents.uint64_contents.is_empty()
        && contents.fp32_contents.is_empty()
        && contents.fp64_contents.is_empty()
        && contents.bytes_contents.is_empty()
}

fn output(output: &InferRequestedOutputTensor) -> Result<RequestedOutput<'_>, ServingError> {
    let classification = unsigned(&output.parameters, "classification")?.map(check_count).transpose()?.unwrap_or(0);
    let shared_memory = shared_memory_range(&output.parameters)?;
    if classification > 0 && shared_memory.is_some() {
        return Err(ServingError::invalid("output can't set both 'shared_memory_region' and 'classification'"));
    }
    Ok(RequestedOutput { name: Cow::Borrowed(output.name.as_str()), binary: true, classification, shared_memory })
}

#[cfg(test)]
#[path = "infer_request_tests.rs"]
mod tests;
