//! One thing that is wrong with a declaration: which document, where in it, and what was expected.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Which document of the file, from 0; none for one that is stored already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// `KIND/NAME`, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Where in the document, such as `spec.arms[1].weight`; empty for the whole.
    pub path: String,
    /// What: lower case, expected before found, values in backticks.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(document) = self.document {
            write!(formatter, "document {document}")?;
        } else {
            formatter.write_str("stored")?;
        }
        if let Some(resource) = &self.resource {
            write!(formatter, " ({resource})")?;
        }
        if !self.path.is_empty() {
            write!(formatter, ": {}", self.path)?;
        }
        write!(formatter, ": {}", self.message)
    }
}
