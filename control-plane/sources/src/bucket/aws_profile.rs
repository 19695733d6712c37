//! The credentials file of Amazon's tools: `[PROFILE]` sections of `KEY = VALUE` lines. Pure.

use std::collections::BTreeMap;

use crate::credentials::Secret;
use crate::{SourceError, SourceErrorCode};

/// The keys of `profile` in `text`.
pub(super) fn keys(text: &str, profile: &str) -> Result<BTreeMap<String, Secret>, SourceError> {
    let mut section = "";
    let mut keys = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim();
        } else if section == profile
            && let Some((key, value)) = line.split_once('=')
        {
            keys.insert(key.trim().to_ascii_lowercase(), Secret::new(value.trim().to_owned()));
        }
    }
    if keys.contains_key("aws_access_key_id") && keys.contains_key("aws_secret_access_key") {
        return Ok(keys);
    }
    Err(SourceError::new(
        SourceErrorCode::InvalidSetting,
        format!("AWS_SHARED_CREDENTIALS_FILE has no key in its profile `{}`", crate::artifact_path::shown(profile)),
        "write aws_access_key_id and aws_secret_access_key below [PROFILE], or name another one with AWS_PROFILE",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_profile_is_found_among_others() {
        let text = "# mine\n[default]\naws_access_key_id=A\naws_secret_access_key=s3cret\n\n[ci]\naws_access_key_id = B\naws_secret_access_key = t/=\n";
        assert_eq!(keys(text, "ci").unwrap()["aws_secret_access_key"].expose(), "t/=");
        assert_eq!(keys(text, "default").unwrap()["aws_access_key_id"].expose(), "A");
        let error = keys(text, "other").unwrap_err();
        assert!(!format!("{error}").contains("s3cret"));
    }
}
