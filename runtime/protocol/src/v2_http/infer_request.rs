//! An infer request over HTTP: JSON, with the binary tensors that follow it (W-21 to W-32, W-40 to W-47).
//!
//! Read in one pass. A member given twice counts once, the first wins (as in Triton); members that nobody knows are
//! passed over (W-32), but must be JSON. Where Triton answers 500 for a malformed message, errors carry that
//! (`ServingError::malformed`).

use std::borrow::Cow;

use bytes::Bytes;
use hanok_backend::ServingError;
use smallvec::SmallVec;

use super::infer_input::InputReader;
use super::infer_output::read_output;
use super::json_cursor::JsonCursor;
use crate::parameters::{CollectedParameters, ParameterCollector, ParameterOrigin};
use crate::{InferMessage, MessageInput, RequestedOutput};

/// Bounds of an infer request. Reaching one is allowed, exceeding it is refused with 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Length of the JSON in bytes (W-07).
    pub max_json_bytes: usize,
    /// Bytes of all tensors that come as JSON, after conversion (W-07).
    pub max_json_tensor_bytes: usize,
    /// Nesting of any one value, at most 128 (W-08).
    pub max_depth: u32,
    /// Number of inputs, and of requested outputs.
    pub max_tensors: usize,
    /// Number of dimensions of a tensor.
    pub max_rank: usize,
    /// Number of parameters that are not reserved.
    pub max_parameters: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_json_bytes: 64 << 20,
            max_json_tensor_bytes: 64 << 20,
            max_depth: 100,
            max_tensors: 4096,
            max_rank: 128,
            max_parameters: 256,
        }
    }
}

/// Parses an infer body whose first `json_length` bytes are JSON (see [`super::body_layout`]).
///
/// Binary tensors are slices of `body`. `model_name` is for messages.
///
/// # Errors
/// `InvalidArgument` for everything that contradicts the protocol, marked where Triton answers INTERNAL (W-10).
pub fn parse_infer<'a>(
    body: &'a Bytes,
    json_length: usize,
    model_name: &str,
    limits: &HttpLimits,
) -> Result<InferMessage<'a>, ServingError> {
    let json = body.get(..json_length).unwrap_or(body);
    if json.len() > limits.max_json_bytes {
        return Err(json_too_large(json.len(), limits.max_json_bytes));
    }
    let mut cursor = JsonCursor::new(json, limits.max_depth);
    let mut inputs = InputReader::new(body, json.len(), model_name, limits);
    let members = Members::read(&mut cursor, &mut inputs, limits)?;
    cursor.finish()?;
    let parameters = members.parameters.unwrap_or_else(no_parameters);
    if !members.has_inputs {
        return Err(ServingError::malformed("Unable to parse 'inputs': expected an array, got nothing"));
    }
    Ok(InferMessage {
        id: members.id.unwrap_or_default().into(),
        parameters: parameters.ordinary,
        reserved: parameters.reserved,
        inputs: inputs.finish()?,
        outputs: members.outputs,
        unnamed_outputs_binary: parameters.binary_data_output,
    })
}

/// The refusal of a body or JSON above the limit (W-07).
#[must_use]
pub fn json_too_large(size: usize, limit: usize) -> ServingError {
    ServingError::invalid(format!(
        "Request JSON size of {size} bytes exceeds the maximum allowed value of {limit} bytes. \
         Use --http-max-input-size to increase the limit"
    ))
}

fn no_parameters() -> CollectedParameters {
    ParameterCollector::new(ParameterOrigin::Http, 0).finish()
}

/// The members of the outermost object, but for the inputs.
#[derive(Default)]
struct Members<'a> {
    id: Option<Cow<'a, str>>,
    parameters: Option<CollectedParameters>,
    outputs: SmallVec<[RequestedOutput<'a>; 2]>,
    has_inputs: bool,
    has_outputs: bool,
}

impl<'a> Members<'a> {
    fn read(
        cursor: &mut JsonCursor<'a>,
        inputs: &mut InputReader<'a, '_>,
        limits: &HttpLimits,
    ) -> Result<Self, ServingError> {
        let mut members = Self::default();
        cursor.enter_document()?;
        let mut first = true;
        while let Some(name) = cursor.next_member(&mut first)? {
            match name.as_ref() {
                "id" if members.id.is_none() => {
                    let id = cursor.optional_string()?;
                    members.id = Some(id.ok_or_else(|| expected("id", "a string"))?);
                }
                "parameters" if members.parameters.is_none() => {
                    members.parameters = Some(read_parameters(cursor, limits)?);
                }
                "inputs" if !members.has_inputs => {
                    members.has_inputs = true;
                    each_element(cursor, "inputs", |cursor| inputs.read(cursor))?;
                }
                "outputs" if !members.has_outputs => {
                    members.has_outputs = true;
                    each_element(cursor, "outputs", |cursor| {
                        if members.outputs.len() >= limits.max_tensors {
                            return Err(too_many("outputs", limits.max_tensors));
                        }
                        members.outputs.push(read_output(cursor)?);
                        Ok(())
                    })?;
                }
                _ => cursor.skip_value()?,
            }
        }
        Ok(members)
    }
}

fn read_parameters(cursor: &mut JsonCursor<'_>, limits: &HttpLimits) -> Result<CollectedParameters, ServingError> {
    if !cursor.enter_object() {
        return Err(expected("parameters", "an object"));
    }
    let mut collector = ParameterCollector::new(ParameterOrigin::Http, limits.max_parameters);
    let mut first = true;
    while let Some(name) = cursor.next_member(&mut first)? {
        let value = cursor.parameter_value()?.ok_or_else(|| {
            ServingError::invalid(format!(
                "parameter '{name}' has invalid type. It should be either 'int', 'float', 'bool', or 'string'."
            ))
        })?;
        collector.add(&name, value)?;
    }
    Ok(collector.finish())
}

/// Calls `element` at each element of the array called `member`.
pub(super) fn each_element<'a>(
    cursor: &mut JsonCursor<'a>,
    member: &str,
    mut element: impl FnMut(&mut JsonCursor<'a>) -> Result<(), ServingError>,
) -> Result<(), ServingError> {
    if !cursor.enter_array() {
        return Err(expected(member, "an array"));
    }
    let mut first = true;
    while cursor.next_element(&mut first)? {
        element(cursor)?;
    }
    Ok(())
}

/// A member of another type than the protocol's, or a missing one.
#[cold]
pub(super) fn expected(member: &str, what: &str) -> ServingError {
    ServingError::malformed(format!("Unable to parse '{member}': expected {what}"))
}

#[cold]
pub(super) fn too_many(what: &str, limit: usize) -> ServingError {
    ServingError::invalid(format!("request has more than `{limit}` {what}"))
}

/// Inputs of a message, as they are collected.
pub(super) type Inputs<'a> = SmallVec<[MessageInput<'a>; 2]>;

#[cfg(test)]
#[path = "infer_request_tests.rs"]
mod tests;
