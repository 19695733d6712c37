//! Small texts in messages that stand for something else: versions and service names.

use hanok_backend::ServingError;

/// Reads a message's version; `None` when it is empty.
///
/// # Errors
/// `InvalidArgument` when it is not a number (W-85).
pub fn parse_version(version: &str) -> Result<Option<u64>, ServingError> {
    if version.is_empty() {
        return Ok(None);
    }
    match version.parse() {
        Ok(number) if number > 0 && version.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
        _ => Err(ServingError::invalid(format!(
            "failed to get model version from specified version string '{}', version should be an integral value > 0",
            version.chars().take(64).collect::<String>()
        ))),
    }
}

/// Whether a health check asks for the server or for the inference service, which are one (W-94).
#[must_use]
pub fn parse_health_service(service: &str) -> bool {
    matches!(service, "" | "inference.GRPCInferenceService")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w85_versions_are_numbers() {
        assert_eq!(parse_version(""), Ok(None));
        assert_eq!(parse_version("12"), Ok(Some(12)));
        for text in ["x", "-1", "+1", "0", "1.0", " 1", "99999999999999999999"] {
            assert!(parse_version(text).is_err(), "{text}");
        }
    }

    #[test]
    fn w94_known_services() {
        assert!(parse_health_service(""));
        assert!(parse_health_service("inference.GRPCInferenceService"));
        assert!(!parse_health_service("other"));
    }
}
