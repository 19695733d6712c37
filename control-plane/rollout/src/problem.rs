//! One thing wrong with a declared plan: where, and what.
//!
//! Validation returns all of them at once, so that a person mends a file in one go.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Where, such as `steps[1].weight_basis_points`.
    pub path: String,
    /// What: lower case, expected before found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Collects problems while a plan is walked.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem unless `holds`.
    pub(crate) fn expect(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.0.push(Problem { path: path.into(), message: message.into() });
        }
    }

    /// A name: 1 to 128 characters, none of them a control character.
    pub(crate) fn expect_name(&mut self, name: &str, path: impl Into<String>) {
        let fine = !name.is_empty() && name.chars().count() <= 128 && !name.chars().any(char::is_control);
        self.expect(fine, path, "expected a name of 1 to 128 printable characters");
    }

    /// A probability strictly between 0 and `most`.
    pub(crate) fn expect_probability(&mut self, value: f64, most: f64, path: impl Into<String>) {
        let fine = value > 0.0 && value < most;
        self.expect(fine, path, format!("expected a number above 0 and below {most}, found `{value}`"));
    }

    /// Names that must differ; `path` makes the place of the repeated one.
    pub(crate) fn expect_distinct<'a>(&mut self, names: impl Iterator<Item = &'a str>, path: impl Fn(usize) -> String) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, name) in names.enumerate() {
            self.expect(
                !seen.contains(&name),
                path(index),
                format!("expected a name of its own, found `{name}` again"),
            );
            seen.push(name);
        }
    }

    /// `value` when nothing was wrong, else everything that was.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}
