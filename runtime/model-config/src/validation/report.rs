//! Collects what validation finds.

use crate::{ConfigProblem, Notice};

/// Problems and notices in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) notices: Vec<Notice>,
}

impl Report {
    /// The configuration is wrong at `path`.
    pub(super) fn problem(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(ConfigProblem::new(path, message));
    }

    /// The field at `path` would change results and is not acted upon yet.
    pub(super) fn not_offered(&mut self, path: impl Into<String>, effect: &str) {
        self.problem(path, format!("not offered yet: {effect}"));
    }

    /// The field at `path` is accepted and has no effect.
    pub(super) fn no_effect(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.notices.push(Notice { path: path.into(), message: reason.into() });
    }
}
