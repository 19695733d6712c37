//! Load and unload requests (W-72, W-73).

use hanok_backend::ServingError;

use super::wire::inference::model_repository_parameter::ParameterChoice;
use super::wire::inference::{RepositoryModelLoadRequest, RepositoryModelUnloadRequest};
use crate::v2_http::{LoadRequest, UnloadRequest};

/// The overrides of a load request.
///
/// # Errors
/// `InvalidArgument`; for unknown parameters and wrong types as Triton's INTERNAL.
pub fn parse_load_request(request: &mut RepositoryModelLoadRequest) -> Result<LoadRequest, ServingError> {
    let mut load = LoadRequest::default();
    for (name, parameter) in std::mem::take(&mut request.parameters) {
        if name == "config" {
            let Some(ParameterChoice::StringParam(text)) = parameter.parameter_choice else {
                return Err(wrong_type(&name, "string_param"));
            };
            load.config = Some(text);
        } else if let Some(path) = name.strip_prefix("file:") {
            let Some(ParameterChoice::BytesParam(content)) = parameter.parameter_choice else {
                return Err(wrong_type(&name, "bytes_param"));
            };
            load.files.push((path.to_owned(), content.into()));
        } else {
            return Err(ServingError::malformed(format!("unrecognized load parameter '{name}'")));
        }
    }
    load.check()
}

/// The options of an unload request.
///
/// # Errors
/// `InvalidArgument` as Triton's INTERNAL when an option has a wrong type.
pub fn parse_unload_request(request: &RepositoryModelUnloadRequest) -> Result<UnloadRequest, ServingError> {
    match request.parameters.get("unload_dependents").map(|parameter| &parameter.parameter_choice) {
        None => Ok(UnloadRequest::default()),
        Some(Some(ParameterChoice::BoolParam(value))) => Ok(UnloadRequest { unload_dependents: *value }),
        Some(_) => Err(wrong_type("unload_dependents", "bool_param")),
    }
}

fn wrong_type(name: &str, expected: &str) -> ServingError {
    ServingError::malformed(format!("invalid value type for '{name}' parameter, expected {expected}"))
}
