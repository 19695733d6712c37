//! Values in Triton's spellings.

use std::collections::BTreeMap;

/// Parses Triton's booleans: `true`, `false`, `1`, `0`, `on`, `off`, in any case.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(format!("expected `true` or `false`, got `{text}`")),
    }
}

/// One `--backend-config`: `NAME,key=value`, or `key=value` for all backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendSetting {
    pub(crate) backend: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Parses `NAME,key=value` or `key=value`.
pub(crate) fn backend_setting(text: &str) -> Result<BackendSetting, String> {
    let (backend, setting) = text.split_once(',').unwrap_or(("", text));
    match setting.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(BackendSetting { backend: backend.to_owned(), key: key.to_owned(), value: value.to_owned() })
        }
        _ => Err(format!("expected `BACKEND,key=value` or `key=value`, got `{text}`")),
    }
}

/// Settings by backend; those for all backends are under the empty name.
pub(crate) fn by_backend(settings: &[BackendSetting]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut result: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for setting in settings {
        result.entry(setting.backend.clone()).or_default().insert(setting.key.clone(), setting.value.clone());
    }
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn triton_spellings_are_understood() {
        assert_eq!(boolean("1"), Ok(true));
        assert_eq!(boolean("False"), Ok(false));
        assert!(boolean("maybe").is_err());
        let setting = backend_setting("onnxruntime,library=/x=y").unwrap();
        assert_eq!(
            (setting.backend.as_str(), setting.key.as_str(), setting.value.as_str()),
            ("onnxruntime", "library", "/x=y")
        );
        assert_eq!(backend_setting("default-max-batch-size=8").unwrap().backend, "");
        assert!(backend_setting("onnxruntime,novalue").is_err());
    }
}
