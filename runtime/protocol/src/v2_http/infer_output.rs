//! One requested output of an infer request (W-29, W-47, W-58).

use std::borrow::Cow;

use hanok_backend::ServingError;

use super::infer_request::expected;
use super::json_cursor::JsonCursor;
use super::shared_memory_range::RangeReader;
use crate::RequestedOutput;
use crate::classification::check_count;

/// Reads the requested output at the cursor.
pub(super) fn read_output<'a>(cursor: &mut JsonCursor<'a>) -> Result<RequestedOutput<'a>, ServingError> {
    if !cursor.enter_object() {
        return Err(expected("outputs", "an array of objects"));
    }
    let mut name: Option<Cow<'a, str>> = None;
    let mut parameters: Option<OutputParameters<'a>> = None;
    let mut first = true;
    while let Some(member) = cursor.next_member(&mut first)? {
        match member.as_ref() {
            "name" if name.is_none() => {
                name = Some(cursor.optional_string()?.ok_or_else(|| expected("name", "a string"))?);
            }
            "parameters" if parameters.is_none() => parameters = Some(OutputParameters::read(cursor)?),
            _ => cursor.skip_value()?,
        }
    }
    let name = name.ok_or_else(|| expected("name", "a string, got nothing"))?;
    let parameters = parameters.unwrap_or_default();
    let shared_memory = parameters.range.finish()?;
    let classification = parameters.classification.unwrap_or(0);
    if shared_memory.is_some() && classification > 0 {
        return Err(ServingError::invalid(
            "'classification' and 'shared_memory_region' cannot both be set for an output",
        ));
    }
    Ok(RequestedOutput { name, binary: parameters.binary.unwrap_or(false), classification, shared_memory })
}

#[derive(Default)]
struct OutputParameters<'a> {
    binary: Option<bool>,
    classification: Option<u32>,
    range: RangeReader<'a>,
}

impl<'a> OutputParameters<'a> {
    fn read(cursor: &mut JsonCursor<'a>) -> Result<Self, ServingError> {
        let mut parameters = Self::default();
        if !cursor.enter_object() {
            return Err(expected("parameters", "an object"));
        }
        let mut first = true;
        while let Some(member) = cursor.next_member(&mut first)? {
            match member.as_ref() {
                "binary_data" if parameters.binary.is_none() => {
                    let binary = cursor.optional_bool().ok_or_else(|| expected("binary_data", "a boolean"))?;
                    parameters.binary = Some(binary);
                }
                "classification" if parameters.classification.is_none() => {
                    let count = cursor.optional_unsigned();
                    let count = count.ok_or_else(|| expected("classification", "an unsigned integer"))?;
                    parameters.classification = Some(check_count(count)?);
                }
                name => {
                    if !parameters.range.read(name, cursor)? {
                        cursor.skip_value()?;
                    }
                }
            }
        }
        Ok(parameters)
    }
}
