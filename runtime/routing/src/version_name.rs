//! How a version is named: by number, by `latest`, or by a label.
//!
//! A label is a word that cannot be taken for a number, so that it may stand wherever a version stands.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The word for the highest version that serves.
const LATEST: &str = "latest";

/// A version as a traffic table names it. In serialised form a number, `latest` or a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionName {
    /// The highest version that serves.
    #[default]
    Latest,
    /// This version.
    Number(u64),
    /// The version that the model's table entry gives this label.
    Label(String),
}

/// A version as the request gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedVersion<'a> {
    /// None: the traffic table chooses.
    Any,
    /// A number: no traffic rule applies.
    Number(u64),
    /// A word in the place of a version: a label of the table, or `latest`.
    Label(&'a str),
}

/// The version to serve, when labels are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedVersion {
    /// The highest version that serves; the repository knows which.
    Latest,
    /// This version.
    Number(u64),
}

impl VersionName {
    /// Reads a word: `latest`, or a label.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        if word == LATEST { Self::Latest } else { Self::Label(word.to_owned()) }
    }
}

/// Whether `word` means the highest version.
pub(crate) fn is_latest(word: &str) -> bool {
    word == LATEST
}

/// What is wrong with `label`, if anything: labels start with a letter, go on with letters, digits, `.`, `_` and `-`, have
/// at most 64 bytes, and are not `latest`.
pub(crate) fn label_fault(label: &str) -> Option<&'static str> {
    let mut bytes = label.bytes();
    if !bytes.next().is_some_and(|first| first.is_ascii_alphabetic()) {
        return Some("a label starts with a letter");
    }
    if !bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Some("a label has letters, digits, `.`, `_` and `-` only");
    }
    if label.len() > 64 {
        return Some("a label has at most 64 bytes");
    }
    is_latest(label).then_some("`latest` is reserved")
}

impl fmt::Display for VersionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => formatter.write_str(LATEST),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Label(label) => formatter.write_str(label),
        }
    }
}

impl Serialize for VersionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Latest => serializer.serialize_str(LATEST),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Label(label) => serializer.serialize_str(label),
        }
    }
}

impl<'de> Deserialize<'de> for VersionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = VersionName;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a version number, `latest` or a label")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<VersionName, E> {
        Ok(VersionName::Number(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<VersionName, E> {
        u64::try_from(value).map(VersionName::Number).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<VersionName, E> {
        Ok(VersionName::from_word(value))
    }
}
