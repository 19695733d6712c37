//! One input of an infer request: JSON data, a binary part of the body, or a shared-memory range (W-24, W-42).
//!
//! `data` may come before `shape` and `datatype`; it is then passed over and read when the object has ended.

use std::borrow::Cow;

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_tensor::{DataType, Shape, ShapeError};

use super::infer_request::{HttpLimits, Inputs, each_element, expected, too_many};
use super::json_cursor::JsonCursor;
use super::json_tensor::{ExpectedData, read_data};
use super::shared_memory_range::RangeReader;
use crate::{MessageInput, SharedMemoryRange, TensorSource};

/// Reads inputs, and hands out the binary parts in their order.
pub(super) struct InputReader<'a, 'l> {
    body: &'a Bytes,
    /// Start of the next binary part.
    binary_at: usize,
    /// The first part that the body is too short for. Malformed JSON goes before it, so it waits for the end.
    shortage: Option<ServingError>,
    /// Bytes of JSON tensors that are still allowed.
    json_budget: usize,
    model_name: &'l str,
    limits: &'l HttpLimits,
    inputs: Inputs<'a>,
}

/// The members of one input, as far as they have been seen.
#[derive(Default)]
struct Members<'a> {
    name: Option<Cow<'a, str>>,
    data_type: Option<Cow<'a, str>>,
    shape: Option<Shape>,
    data: Data,
    parameters: Option<Parameters<'a>>,
}

/// The `data` member.
#[derive(Default)]
enum Data {
    #[default]
    Absent,
    /// Passed over; it starts there.
    At(usize),
    Read(Bytes),
}

#[derive(Default)]
struct Parameters<'a> {
    binary_data_size: Option<u64>,
    range: RangeReader<'a>,
}

impl<'a, 'l> InputReader<'a, 'l> {
    pub(super) fn new(body: &'a Bytes, json_length: usize, model_name: &'l str, limits: &'l HttpLimits) -> Self {
        Self {
            body,
            binary_at: json_length,
            shortage: None,
            json_budget: limits.max_json_tensor_bytes,
            model_name,
            limits,
            inputs: Inputs::new(),
        }
    }

    /// Reads the input at the cursor.
    pub(super) fn read(&mut self, cursor: &mut JsonCursor<'a>) -> Result<(), ServingError> {
        if self.inputs.len() >= self.limits.max_tensors {
            return Err(too_many("inputs", self.limits.max_tensors));
        }
        if !cursor.enter_object() {
            return Err(expected("inputs", "an array of objects"));
        }
        let mut members = Members::default();
        let mut first = true;
        while let Some(member) = cursor.next_member(&mut first)? {
            match member.as_ref() {
                "name" if members.name.is_none() => {
                    members.name = Some(cursor.optional_string()?.ok_or_else(|| expected("name", "a string"))?);
                }
                "datatype" if members.data_type.is_none() => {
                    let data_type = cursor.optional_string()?;
                    members.data_type = Some(data_type.ok_or_else(|| expected("datatype", "a string"))?);
                }
                "shape" if members.shape.is_none() => members.shape = Some(self.read_shape(cursor)?),
                "data" if matches!(members.data, Data::Absent) => {
                    members.data = match (&members.name, &members.data_type, &members.shape) {
                        (Some(name), Some(data_type), Some(shape)) => {
                            Data::Read(self.read_data(cursor, name, data_type, shape)?)
                        }
                        _ => {
                            let start = cursor.position();
                            cursor.skip_value()?;
                            Data::At(start)
                        }
                    };
                }
                "parameters" if members.parameters.is_none() => members.parameters = Some(read_parameters(cursor)?),
                _ => cursor.skip_value()?,
            }
        }
        self.complete(cursor, members)
    }

    fn complete(&mut self, cursor: &mut JsonCursor<'a>, members: Members<'a>) -> Result<(), ServingError> {
        let Some(name) = members.name else { return Err(expected("name", "a string, got nothing")) };
        let Some(data_type) = members.data_type else { return Err(expected("datatype", "a string, got nothing")) };
        let Some(shape) = members.shape else { return Err(expected("shape", "an array, got nothing")) };
        let parameters = members.parameters.unwrap_or_default();
        let range = parameters.range.finish()?;
        let data = match (members.data, parameters.binary_data_size, range) {
            (Data::Read(data), None, None) => TensorSource::Inline(data),
            (Data::At(start), None, None) => {
                let end = cursor.position();
                cursor.set_position(start);
                let data = self.read_data(cursor, &name, &data_type, &shape)?;
                cursor.set_position(end);
                TensorSource::Inline(data)
            }
            (Data::Absent, Some(size), None) => TensorSource::Inline(self.take_binary(&name, size)),
            (Data::Absent, None, Some(range)) => TensorSource::SharedMemory(range),
            (data, size, range) => return Err(not_exactly_one(&name, &data, size, range.as_ref())),
        };
        let data_type = parse_data_type(&name, &data_type)?;
        self.inputs.push(MessageInput { name, data_type, shape, data });
        Ok(())
    }

    fn read_shape(&self, cursor: &mut JsonCursor<'a>) -> Result<Shape, ServingError> {
        let mut shape = Shape::default();
        each_element(cursor, "shape", |cursor| {
            if shape.rank() >= self.limits.max_rank {
                return Err(ServingError::invalid(format!(
                    "shape has more than `{}` dimensions",
                    self.limits.max_rank
                )));
            }
            let dimension = cursor.optional_unsigned().ok_or_else(|| expected("shape", "unsigned integers"))?;
            shape.push(i64::try_from(dimension).map_err(|_| {
                ServingError::invalid(format!("dimension `{dimension}` exceeds the maximum size of {}", i64::MAX))
            })?);
            Ok(())
        })?;
        Ok(shape)
    }

    fn read_data(
        &mut self,
        cursor: &mut JsonCursor<'a>,
        name: &str,
        data_type: &str,
        shape: &Shape,
    ) -> Result<Bytes, ServingError> {
        let data_type = parse_data_type(name, data_type)?;
        shape.byte_size(data_type).map_err(|error| shape_error(name, shape, data_type, error))?;
        let element_count = shape.element_count().map_err(|error| shape_error(name, shape, data_type, error))?;
        let expected = ExpectedData { input: name, data_type, element_count, byte_budget: self.json_budget };
        let data = read_data(cursor, expected)?;
        self.json_budget -= data.len();
        Ok(data)
    }

    /// The next `size` bytes of the binary part (W-42).
    fn take_binary(&mut self, name: &str, size: u64) -> Bytes {
        let start = self.binary_at;
        let left = self.body.len() - start;
        if let Some(size) = usize::try_from(size).ok().filter(|&size| size <= left) {
            self.binary_at += size;
            return self.body.slice(start..self.binary_at);
        }
        self.shortage.get_or_insert_with(|| {
            ServingError::invalid(format!(
                "unexpected size for input '{name}', expecting {} additional bytes for model '{}'",
                size - left as u64,
                self.model_name
            ))
        });
        Bytes::new()
    }

    /// All inputs; the binary part must be used up (W-42).
    pub(super) fn finish(self) -> Result<Inputs<'a>, ServingError> {
        if let Some(shortage) = self.shortage {
            return Err(shortage);
        }
        if self.binary_at < self.body.len() {
            return Err(ServingError::invalid(format!(
                "unexpected additional input data for model '{}'",
                self.model_name
            )));
        }
        Ok(self.inputs)
    }
}

fn read_parameters<'a>(cursor: &mut JsonCursor<'a>) -> Result<Parameters<'a>, ServingError> {
    if !cursor.enter_object() {
        return Err(expected("parameters", "an object"));
    }
    let mut parameters = Parameters::default();
    let mut first = true;
    while let Some(member) = cursor.next_member(&mut first)? {
        if member == "binary_data_size" && parameters.binary_data_size.is_none() {
            let size = cursor.optional_unsigned();
            parameters.binary_data_size = Some(size.ok_or_else(|| expected(&member, "an unsigned integer"))?);
        } else if !parameters.range.read(&member, cursor)? {
            cursor.skip_value()?;
        }
    }
    Ok(parameters)
}

fn parse_data_type(name: &str, data_type: &str) -> Result<DataType, ServingError> {
    DataType::from_name(data_type.as_bytes())
        .ok_or_else(|| ServingError::invalid(format!("invalid datatype for input {name}")))
}

/// A shape without a size (W-31).
pub(crate) fn shape_error(name: &str, shape: &Shape, data_type: DataType, error: ShapeError) -> ServingError {
    match error {
        ShapeError::Negative { dimension } => ServingError::malformed(format!(
            "Unable to parse 'shape': input '{name}' has negative dimension {dimension}"
        )),
        ShapeError::Overflow => {
            let what = if shape.element_count().is_err() { "element count" } else { "byte size" };
            ServingError::invalid(format!(
                "input '{name}' of type {data_type} causes total {what} to exceed maximum size of {}",
                i64::MAX
            ))
        }
    }
}

#[cold]
fn not_exactly_one(name: &str, data: &Data, size: Option<u64>, range: Option<&SharedMemoryRange<'_>>) -> ServingError {
    let given = usize::from(!matches!(data, Data::Absent)) + usize::from(size.is_some()) + usize::from(range.is_some());
    ServingError::invalid(format!(
        "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', \
         'shared_memory_region' in 'parameters'. Input '{name}' sets {given}"
    ))
}
