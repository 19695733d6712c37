//! One thing that is wrong with a declaration: which document, where in it, and what was expected.

use std::fmt;

use serde::Serialize;

/// What sort of fault it is: what helps against it depends on that, never on the words of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// A value that is not as expected, by itself or beside others.
    #[default]
    Value,
    /// A field that does not exist.
    UnknownField,
    /// A field that is not there.
    MissingField,
    /// A document of another kind or version, or of another program.
    Foreign,
    /// A kind and name that another document has.
    NameTaken,
    /// A text that is no YAML or JSON.
    Text,
    /// A text that is larger than is taken.
    TooLarge,
    /// More resources than are taken.
    TooMany,
    /// A change that has to wait for a rollout.
    UnderWay,
}

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
    /// What sort of fault it is.
    #[serde(skip)]
    pub kind: ProblemKind,
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
