//! Bodies of the repository routes: index, load, unload (W-70 to W-73).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanok_backend::{ParameterValue, ServingError};

use super::infer_request::expected;
use super::json_cursor::JsonCursor;

/// Nesting allowed in these bodies.
const MAX_DEPTH: u32 = 100;

/// What a client wants to see of the repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexRequest {
    /// Only models that are ready.
    pub ready: bool,
}

/// A model to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadRequest {
    /// Configuration to use instead of the repository's, as JSON text.
    pub config: Option<String>,
    /// Files to use instead of the repository's: path below the model's folder (`<version>/<name>`), and content.
    pub files: Vec<(String, Vec<u8>)>,
}

/// A model to unload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnloadRequest {
    /// Unload also the models that only this one needs.
    pub unload_dependents: bool,
}

/// Parses the body of an index request; an empty one asks for everything.
///
/// # Errors
/// `InvalidArgument`; malformed JSON as Triton's INTERNAL.
pub fn parse_index(body: &[u8]) -> Result<IndexRequest, ServingError> {
    let mut ready = None;
    each_member(body, |name, cursor| {
        if name == "ready" && ready.is_none() {
            ready = Some(
                cursor
                    .optional_bool()
                    .ok_or_else(|| ServingError::invalid("Unable to parse 'ready': expected a boolean"))?,
            );
            Ok(())
        } else {
            cursor.skip_value()
        }
    })?;
    Ok(IndexRequest { ready: ready.unwrap_or(false) })
}

/// Parses the body of a load request; an empty one asks for the model as the repository has it.
///
/// # Errors
/// `InvalidArgument`, for malformed JSON and unknown keys as Triton's INTERNAL (W-72).
pub fn parse_load(body: &[u8]) -> Result<LoadRequest, ServingError> {
    let mut request = LoadRequest::default();
    each_parameter(body, |name, value| match (name, value) {
        ("config", ParameterValue::String(text)) => {
            request.config.get_or_insert(text.into());
            Ok(())
        }
        ("config", _) => Err(expected("config", "a string")),
        (name, value) => {
            let Some(path) = name.strip_prefix("file:") else {
                return Err(ServingError::malformed(format!("unrecognized load parameter '{name}'")));
            };
            let ParameterValue::String(text) = value else { return Err(expected(name, "a string")) };
            let content = STANDARD
                .decode(text.as_bytes())
                .map_err(|_| ServingError::malformed(format!("Unable to parse '{name}': expected base64 text")))?;
            request.files.push((path.to_owned(), content));
            Ok(())
        }
    })?;
    request.check()
}

impl LoadRequest {
    /// Files need a configuration (W-72).
    pub(crate) fn check(self) -> Result<Self, ServingError> {
        if self.config.is_none() && !self.files.is_empty() {
            return Err(ServingError::invalid(
                "load with override files requires the model configuration as parameter 'config'",
            ));
        }
        Ok(self)
    }
}

/// Parses the body of an unload request; an empty one unloads the model alone.
///
/// # Errors
/// `InvalidArgument`; malformed JSON as Triton's INTERNAL.
pub fn parse_unload(body: &[u8]) -> Result<UnloadRequest, ServingError> {
    let mut request = UnloadRequest::default();
    each_parameter(body, |name, value| match (name, value) {
        ("unload_dependents", ParameterValue::Bool(value)) => {
            request.unload_dependents = value;
            Ok(())
        }
        ("unload_dependents", _) => Err(expected("unload_dependents", "a boolean")),
        _ => Ok(()),
    })?;
    Ok(request)
}

/// Calls `member` with each name of the outermost object, the cursor at its value. An empty body has none.
fn each_member<'a>(
    body: &'a [u8],
    mut member: impl FnMut(&str, &mut JsonCursor<'a>) -> Result<(), ServingError>,
) -> Result<(), ServingError> {
    if body.is_empty() {
        return Ok(());
    }
    let mut cursor = JsonCursor::new(body, MAX_DEPTH);
    cursor.enter_document()?;
    let mut first = true;
    while let Some(name) = cursor.next_member(&mut first)? {
        member(&name, &mut cursor)?;
    }
    cursor.finish()
}

/// Calls `parameter` with each member of the object called `parameters`.
fn each_parameter(
    body: &[u8],
    mut parameter: impl FnMut(&str, ParameterValue) -> Result<(), ServingError>,
) -> Result<(), ServingError> {
    let mut seen = false;
    each_member(body, |name, cursor| {
        if name != "parameters" || std::mem::replace(&mut seen, true) {
            return cursor.skip_value();
        }
        if !cursor.enter_object() {
            return Err(expected("parameters", "an object"));
        }
        let mut first = true;
        while let Some(name) = cursor.next_member(&mut first)? {
            let value = cursor.parameter_value()?.ok_or_else(|| expected(&name, "a string or a boolean"))?;
            parameter(&name, value)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_backend::ErrorCode;

    use super::*;

    #[test]
    fn w70_index_filter() {
        assert_eq!(parse_index(b""), Ok(IndexRequest { ready: false }));
        assert_eq!(parse_index(b"{}"), Ok(IndexRequest { ready: false }));
        assert_eq!(parse_index(br#"{"ready":true,"x":[]}"#), Ok(IndexRequest { ready: true }));
        assert_eq!(parse_index(br#"{"ready":"true"}"#).unwrap_err().triton_code(), ErrorCode::InvalidArgument);
        let error = parse_index(b"AAAA").unwrap_err();
        assert_eq!(error.message(), "failed to parse the request JSON buffer: Invalid value. at 0");
        assert_eq!(error.triton_code(), ErrorCode::Internal);
    }

    #[test]
    fn w72_load_overrides() {
        assert_eq!(parse_load(b""), Ok(LoadRequest::default()));
        let body = br#"{"parameters":{"config":"{\"backend\":\"x\"}","file:1/model.onnx":"AQID"}}"#;
        let request = parse_load(body).unwrap();
        assert_eq!(request.config.as_deref(), Some(r#"{"backend":"x"}"#));
        assert_eq!(request.files, [("1/model.onnx".to_owned(), vec![1, 2, 3])]);
        let unknown = parse_load(br#"{"parameters":{"other":1}}"#).unwrap_err();
        assert_eq!(unknown.triton_code(), ErrorCode::Internal);
        let alone = parse_load(br#"{"parameters":{"file:1/m":"AQID"}}"#).unwrap_err();
        assert_eq!(alone.triton_code(), ErrorCode::InvalidArgument);
        assert!(parse_load(br#"{"parameters":{"config":"{}","file:1/m":"*"}}"#).is_err());
        assert!(parse_load(br#"{"parameters":{"config":5}}"#).is_err());
    }

    #[test]
    fn w73_unload_dependents() {
        assert_eq!(parse_unload(b""), Ok(UnloadRequest { unload_dependents: false }));
        let body = br#"{"parameters":{"unload_dependents":true}}"#;
        assert_eq!(parse_unload(body), Ok(UnloadRequest { unload_dependents: true }));
        assert!(parse_unload(br#"{"parameters":{"unload_dependents":1}}"#).is_err());
    }
}
