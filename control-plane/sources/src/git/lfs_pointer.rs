//! Recognises a Git LFS pointer: the small text that stands in a repository for a file kept elsewhere.
//!
//! Format: the Git LFS specification, "The Pointer". Pure.

use crate::artifact_path::shown;
use crate::{ArtifactPath, SourceError, SourceErrorCode};

/// Longest pointer, by its specification.
pub(super) const LONGEST_BYTES: u64 = 1024;

/// The refusal of the file `path`, if `bytes`, its start, are a pointer.
pub(super) fn refusal(path: &ArtifactPath, bytes: &[u8]) -> Option<SourceError> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text
        .strip_prefix("version https://git-lfs.github.com/spec/")
        .or_else(|| text.strip_prefix("version https://hawser.github.com/spec/"))?;
    let value = |key: &str| rest.lines().find_map(|line| line.strip_prefix(key)).map(shown).unwrap_or_default();
    let (object, size) = (value("oid "), value("size "));
    Some(SourceError::new(
        SourceErrorCode::LfsPointer,
        format!("`{path}` is a Git LFS pointer (`{object}`, `{size}` bytes), not the file itself"),
        "pull the model from where its bytes are: its release file over https (pin it with #sha256=…), a bucket, or MLflow; \
         LFS storage is not read",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn pointers_are_recognised_and_named() {
        let path = ArtifactPath::parse("1/model.onnx").unwrap();
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
        let error = refusal(&path, pointer).unwrap();
        assert_eq!(error.code(), SourceErrorCode::LfsPointer);
        assert!(error.message().contains("1/model.onnx") && error.message().contains("12345"), "{error}");
        assert!(refusal(&path, b"version 2\n").is_none());
        assert!(refusal(&path, b"\xff").is_none());
    }
}
