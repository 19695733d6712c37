//! One thing that is wrong with a declaration: which line, where in the document, and what was expected.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which document of the text, from 0; none where it is about the text as a whole.
    pub document: Option<usize>,
    /// Line of the text, from 1, where it is about a place in it.
    pub line: Option<u64>,
    /// `KIND/NAME`, where they are known.
    pub resource: Option<String>,
    /// Where in the document, such as `spec.features[1].type`; empty for the whole.
    pub path: String,
    /// What: lower case, expected before found, values in backticks.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "line {line}")?,
            None => formatter.write_str("declaration")?,
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
