//! Parameters as gRPC messages carry them (W-93).

use std::borrow::Cow;
use std::collections::BTreeMap;

use hanok_backend::{ParameterValue, Parameters, ServingError};

use super::wire::inference::InferParameter;
use super::wire::inference::infer_parameter::ParameterChoice;
use crate::SharedMemoryRange;

pub(super) type ParameterMap = BTreeMap<String, InferParameter>;

/// The value of a parameter.
pub(super) fn value(name: &str, parameter: &InferParameter) -> Result<ParameterValue, ServingError> {
    match &parameter.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Ok(ParameterValue::Bool(*value)),
        Some(ParameterChoice::Int64Param(value)) => Ok(ParameterValue::Int(*value)),
        Some(ParameterChoice::Uint64Param(value)) => Ok(ParameterValue::Uint(*value)),
        Some(ParameterChoice::DoubleParam(value)) => Ok(ParameterValue::Double(*value)),
        Some(ParameterChoice::StringParam(value)) => Ok(ParameterValue::String(value.as_str().into())),
        None => Err(ServingError::invalid(format!("parameter '{name}' has no value"))),
    }
}

/// Response parameters as a message's map.
pub(super) fn map_of(parameters: &Parameters) -> ParameterMap {
    parameters
        .iter()
        .map(|(name, value)| {
            let choice = match value {
                ParameterValue::Bool(value) => ParameterChoice::BoolParam(*value),
                ParameterValue::Int(value) => ParameterChoice::Int64Param(*value),
                ParameterValue::Uint(value) => ParameterChoice::Uint64Param(*value),
                ParameterValue::Double(value) => ParameterChoice::DoubleParam(*value),
                ParameterValue::String(value) => ParameterChoice::StringParam(value.to_string()),
            };
            (name.to_string(), InferParameter { parameter_choice: Some(choice) })
        })
        .collect()
}

/// An unsigned number among a tensor's parameters.
pub(super) fn unsigned(map: &ParameterMap, name: &str) -> Result<Option<u64>, ServingError> {
    let Some(parameter) = map.get(name) else { return Ok(None) };
    let number = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(value)) => u64::try_from(value).ok(),
        Some(ParameterChoice::Uint64Param(value)) => Some(value),
        _ => None,
    };
    number.map(Some).ok_or_else(|| {
        ServingError::invalid(format!("invalid value for '{name}' parameter, expected an unsigned integer"))
    })
}

/// The shared-memory range among a tensor's parameters (W-63).
pub(super) fn shared_memory_range(map: &ParameterMap) -> Result<Option<SharedMemoryRange<'_>>, ServingError> {
    let Some(region) = map.get("shared_memory_region") else { return Ok(None) };
    let Some(ParameterChoice::StringParam(region)) = &region.parameter_choice else {
        return Err(ServingError::invalid(
            "invalid value type for 'shared_memory_region' parameter, expected string_param",
        ));
    };
    let byte_size = unsigned(map, "shared_memory_byte_size")?
        .ok_or_else(|| ServingError::invalid("'shared_memory_byte_size' must be given with 'shared_memory_region'"))?;
    let offset = unsigned(map, "shared_memory_offset")?.unwrap_or(0);
    Ok(Some(SharedMemoryRange { region: Cow::Borrowed(region), offset, byte_size }))
}
