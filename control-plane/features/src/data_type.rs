//! What a feature's value may be: eight element types, alone or as a list.
//!
//! The set is the one that online stores and tensors share; maps, sets and nested lists are not in it.

use std::fmt;
use std::str::FromStr;

/// Type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementType {
    /// True or false.
    Bool,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// Microseconds since the Unix epoch, in UTC.
    Timestamp,
}

impl ElementType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::String,
        Self::Bytes,
        Self::Timestamp,
    ];

    /// As it is declared.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
        }
    }

    /// Bytes of one element where it has a fixed width; none for text and bytes.
    #[must_use]
    pub const fn width(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp => Some(8),
            Self::String | Self::Bytes => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Type of a feature: an element, or a list of elements of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureType {
    /// Type of the elements.
    pub element: ElementType,
    /// Whether a value is a list of them.
    pub list: bool,
}

impl FeatureType {
    /// One element.
    #[must_use]
    pub const fn scalar(element: ElementType) -> Self {
        Self { element, list: false }
    }

    /// A list of elements.
    #[must_use]
    pub const fn list(element: ElementType) -> Self {
        Self { element, list: true }
    }

    /// Whether a value has no fixed width.
    #[must_use]
    pub const fn is_variable(self) -> bool {
        self.list || self.element.width().is_none()
    }

    /// Every declared form.
    pub(crate) fn all_names() -> Vec<String> {
        let scalars = ElementType::ALL.into_iter().map(Self::scalar);
        scalars.chain(ElementType::ALL.into_iter().map(Self::list)).map(|one| one.to_string()).collect()
    }
}

impl fmt::Display for FeatureType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.list { write!(formatter, "list<{}>", self.element) } else { self.element.fmt(formatter) }
    }
}

impl FromStr for FeatureType {
    type Err = ();

    /// Reads `float32` or `list<float32>`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let inner = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>'));
        let element = inner.unwrap_or(text);
        let element = ElementType::ALL.into_iter().find(|one| one.as_str() == element).ok_or(())?;
        Ok(Self { element, list: inner.is_some() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::FeatureType;

    #[test]
    fn every_name_is_read_back() {
        let names = FeatureType::all_names();
        assert_eq!(names.len(), 16);
        for name in names {
            assert_eq!(name.parse::<FeatureType>().unwrap().to_string(), name);
        }
        for wrong in ["", "float", "list<>", "list<list<int32>>", "List<int32>", "int32>"] {
            assert!(wrong.parse::<FeatureType>().is_err(), "{wrong}");
        }
    }
}
