//! Headers that become request parameters, where the operator asks for it (W-99).

use hanok_backend::{ParameterValue, Parameters, ServingError};
use hanok_protocol::is_reserved_parameter;
use http::HeaderMap;
use regex::Regex;

/// Adds every header whose whole name matches `pattern` as a string parameter.
///
/// # Errors
/// `InvalidArgument` when such a name is reserved, or its value is not text.
pub(crate) fn forward_headers(
    pattern: Option<&Regex>,
    headers: &HeaderMap,
    parameters: &mut Parameters,
) -> Result<(), ServingError> {
    let Some(pattern) = pattern else { return Ok(()) };
    for (name, value) in headers {
        let name = name.as_str();
        if pattern.find(name).is_none_or(|found| found.len() != name.len()) {
            continue;
        }
        if is_reserved_parameter(name) {
            return Err(ServingError::invalid(format!(
                "forwarded header `{name}` has the name of a reserved parameter"
            )));
        }
        let text = value
            .to_str()
            .map_err(|_| ServingError::invalid(format!("the value of the forwarded header `{name}` is not text")))?;
        parameters.push((name.into(), ParameterValue::String(text.into())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn w99_only_whole_matches_and_no_reserved_names() {
        let pattern = Regex::new("my-.*|sequence_id").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("my-header", "a".parse().unwrap());
        headers.insert("not-my-header", "b".parse().unwrap());
        let mut parameters = Vec::new();
        forward_headers(Some(&pattern), &headers, &mut parameters).unwrap();
        assert_eq!(parameters, [("my-header".into(), ParameterValue::String("a".into()))]);
        headers.insert("sequence_id", "1".parse().unwrap());
        assert!(forward_headers(Some(&pattern), &headers, &mut parameters).is_err());
        assert!(forward_headers(None, &headers, &mut parameters).is_ok());
    }
}
