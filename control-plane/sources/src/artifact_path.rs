//! A file's name within a model, checked before it can become a path of this machine.
//!
//! The only way from a stranger's name to the file system. Refuses everything that could leave the folder or mean
//! something to a shell, a terminal or another operating system.

use std::fmt;
use std::path::PathBuf;

use crate::{SourceError, SourceErrorCode};

const LONGEST_BYTES: usize = 1024;
const LONGEST_PART_BYTES: usize = 255;
const DEEPEST: usize = 32;

/// A relative path of plain parts with `/` between them: no `..`, no root, no back slash, no control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`SourceErrorCode::UnsafePath`] with the rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(rule) => Err(SourceError::new(
                SourceErrorCode::UnsafePath,
                format!("the source names a file `{}`, which {rule}", shown(text)),
                "rename the file at its source; nothing of this listing was taken",
            )),
        }
    }

    /// The path as text, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Last part.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// As a relative path of this operating system.
    #[must_use]
    pub fn to_relative_path(&self) -> PathBuf {
        self.0.split('/').collect()
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn broken_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > LONGEST_BYTES {
        return Some("is longer than 1024 bytes");
    }
    if text.starts_with('/') {
        return Some("is absolute");
    }
    if text.contains('\\') {
        return Some("contains a back slash");
    }
    if text.chars().any(|character| character.is_control() || is_invisible(character)) {
        return Some("contains a control character");
    }
    let mut depth = 0;
    for part in text.split('/') {
        depth += 1;
        match part {
            "" => return Some("has an empty part"),
            "." | ".." => return Some("has a part that leads elsewhere"),
            _ if part.len() > LONGEST_PART_BYTES => return Some("has a part longer than 255 bytes"),
            _ if depth == 1 && part.len() == 2 && part.ends_with(':') => return Some("starts with a drive letter"),
            _ => {}
        }
    }
    (depth > DEEPEST).then_some("is deeper than 32 folders")
}

/// Characters that reorder or hide what stands beside them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `text` for a message: short, one line, nothing that acts on a terminal.
pub(crate) fn shown(text: &str) -> String {
    shown_up_to(120, text)
}

/// The same, cut after `most` characters.
pub(crate) fn shown_up_to(most: usize, text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(most)
        .map(|character| if character.is_control() || is_invisible(character) { '?' } else { character })
        .collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./a",
            "a/./b",
            "a\\b",
            "..\\x",
            "C:/x",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            "\u{feff}a",
        ] {
            let error = ArtifactPath::parse(text).unwrap_err();
            assert_eq!(error.code(), SourceErrorCode::UnsafePath, "{text:?}");
        }
        assert!(ArtifactPath::parse(&"a".repeat(256)).is_err());
        assert!(ArtifactPath::parse(&["a"; 33].join("/")).is_err());
        assert!(ArtifactPath::parse(&"ab/".repeat(500)).is_err());
    }

    #[test]
    fn ordinary_names_are_taken() {
        for text in ["model.onnx", "1/model.onnx", "a b/ü.txt", "...", "..a/b..", ".gitkeep", "a:b/c", "-rf"] {
            assert_eq!(ArtifactPath::parse(text).unwrap().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_inside(text in "[a./\\\\:\\x00-\\x1f\u{e9}-]{0,40}") {
            if let Ok(path) = ArtifactPath::parse(&text) {
                let relative = path.to_relative_path();
                let all_plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
                prop_assert!(all_plain, "{relative:?}");
                let joined = Path::new("folder").join(&relative);
                prop_assert_eq!(joined.to_string_lossy(), format!("folder/{text}"));
            }
        }
    }
}
