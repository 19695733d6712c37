//! Names and paths that come in, and the rules that they obey.
//!
//! Names end up in references, lock files and folder names, so they are stricter than the server's: no separators, no
//! reference marks, no look-alikes. Nothing is trimmed, folded or repaired.

use std::fmt;
use std::str::FromStr;

use crate::error::RegistryError;

/// Longest name of a model or an alias, in bytes.
pub const NAME_BYTES: usize = 128;
/// Longest path of a file in a version, in bytes.
pub const PATH_BYTES: usize = 1_024;
/// Most folders above a file in a version.
pub const PATH_DEPTH: usize = 32;

/// Checks the name of a model or an alias: `A-Z a-z 0-9 _ . -`, at most [`NAME_BYTES`], not beginning with `.` or `-`,
/// without `..`.
///
/// # Errors
/// `InvalidArgument`.
pub fn check_name(field: &'static str, name: &str) -> Result<(), RegistryError> {
    if name.is_empty() || name.len() > NAME_BYTES {
        let reason = format!("expected 1 to {NAME_BYTES} bytes, got {}", name.len());
        return Err(RegistryError::invalid(field, reason));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.bytes().all(allowed) || name.starts_with(['.', '-']) || name.contains("..") {
        let reason = format!(
            "expected letters, digits, `_`, `.` and `-`, beginning with a letter, a digit or `_` and without `..`, got `{}`",
            name.escape_debug()
        );
        return Err(RegistryError::invalid(field, reason));
    }
    Ok(())
}

/// Checks the path of a file inside a version: relative, `/` between parts, no part that is empty, `.` or `..`, no `\`, no
/// control characters, at most [`PATH_BYTES`] and [`PATH_DEPTH`].
///
/// # Errors
/// `InvalidArgument`.
pub fn check_path(path: &str) -> Result<(), RegistryError> {
    let refuse = |reason: String| Err(RegistryError::invalid("path", reason));
    if path.is_empty() || path.len() > PATH_BYTES {
        return refuse(format!("expected 1 to {PATH_BYTES} bytes, got {}", path.len()));
    }
    if path.chars().any(|character| character.is_control() || character == '\\') {
        return refuse(format!("must not contain control characters or `\\`, got `{}`", path.escape_debug()));
    }
    let parts = path.split('/').count();
    if parts > PATH_DEPTH + 1 {
        return refuse(format!("expected at most {PATH_DEPTH} folders, got {}", parts - 1));
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.len() > 255) {
        return refuse(format!("expected a relative path of plain names, got `{path}`"));
    }
    Ok(())
}

/// One version of one model: `MODEL/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct VersionName {
    /// The model.
    pub model: String,
    /// The version's number, from 1.
    pub number: u64,
}

impl fmt::Display for VersionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.model, self.number)
    }
}

/// Which version of a model is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one with the highest number.
    Newest,
    /// The one with this number.
    Number(u64),
    /// The one that this alias points at.
    Alias(String),
}

/// A version as people write it: `MODEL`, `MODEL/NUMBER` or `MODEL@ALIAS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionReference {
    /// The model.
    pub model: String,
    /// Which of its versions.
    pub selector: Selector,
}

impl FromStr for VersionReference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let (model, selector) = if let Some((model, alias)) = text.split_once('@') {
            check_name("alias", alias)?;
            (model, Selector::Alias(alias.to_owned()))
        } else if let Some((model, number)) = text.split_once('/') {
            let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
                RegistryError::invalid("version", format!("expected a number from 1, got `{}`", number.escape_debug()))
            })?;
            (model, Selector::Number(number))
        } else {
            (text, Selector::Newest)
        };
        check_name("model", model)?;
        Ok(Self { model: model.to_owned(), selector })
    }
}

impl From<VersionName> for VersionReference {
    fn from(name: VersionName) -> Self {
        Self { model: name.model, selector: Selector::Number(name.number) }
    }
}

impl fmt::Display for VersionReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Newest => formatter.write_str(&self.model),
            Selector::Number(number) => write!(formatter, "{}/{number}", self.model),
            Selector::Alias(alias) => write!(formatter, "{}@{alias}", self.model),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_attack_table_are_refused() {
        let long = "x".repeat(129);
        let bad = [
            "", ".", "..", "a/b", "/etc", "a\\b", "a\0b", "a\nb", " ", ".. ", "m..1", "-x", ".x", "a@b", "ⅿodel", &long,
        ];
        for name in bad {
            assert!(check_name("model", name).is_err(), "{name:?}");
        }
        for name in ["m", "flight_delay", "v1.2-rc3", "_x", &"x".repeat(128)] {
            assert!(check_name("model", name).is_ok(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_inside(path in "[a./\\\\ \u{0}-\u{7f}é]{0,40}") {
            if check_path(&path).is_ok() {
                prop_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
            }
            if check_name("model", &path).is_ok() {
                prop_assert_eq!(Path::new(&path).components().count(), 1);
                prop_assert!(matches!(Path::new(&path).components().next(), Some(Component::Normal(_))));
            }
        }

        #[test]
        fn references_are_read_as_written(model in "[a-z][a-z0-9_]{0,9}", number in 1_u64.., alias in "[a-z]{1,9}") {
            for selector in [Selector::Newest, Selector::Number(number), Selector::Alias(alias)] {
                let reference = VersionReference { model: model.clone(), selector };
                prop_assert_eq!(reference.to_string().parse::<VersionReference>().unwrap(), reference);
            }
        }
    }

    #[test]
    fn references_that_mean_nothing_are_refused() {
        for bad in ["", "@a", "m@", "m/", "m/0", "m/-1", "m/1/2", "m@a@b", "m/1@a", "../m", "m/18446744073709551616"] {
            assert!(bad.parse::<VersionReference>().is_err(), "{bad}");
        }
    }
}
