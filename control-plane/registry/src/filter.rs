//! Which versions have something in common: trained on the same data, made by the same commit, tagged alike.

use std::collections::BTreeMap;

use crate::stage::Stage;
use crate::version::Version;

/// What a version must have; what is left empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionFilter {
    /// It is in this stage.
    pub stage: Option<Stage>,
    /// It has these tags with these values.
    pub tags: BTreeMap<String, String>,
    /// It was trained on the data of this reference or digest.
    pub training_data: Option<String>,
    /// Its commit begins with these digits.
    pub git_commit: Option<String>,
    /// It was pulled from a reference, asked for or pinned, that begins with this.
    pub origin: Option<String>,
}

impl VersionFilter {
    /// Whether the version has everything that is asked for.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        let facts = &version.facts;
        let data = |wanted: &String| {
            facts
                .training_data
                .as_ref()
                .is_some_and(|data| data.reference == *wanted || data.digest.as_ref() == Some(wanted))
        };
        let commit = |wanted: &String| {
            let begins =
                |commit: &str| commit.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
            facts.git.as_ref().is_some_and(|git| begins(&git.commit))
        };
        let origin = |wanted: &String| {
            facts.origin.as_ref().is_some_and(|origin| {
                origin.asked.starts_with(wanted.as_str()) || origin.pinned.starts_with(wanted.as_str())
            })
        };
        self.stage.is_none_or(|stage| version.stage == stage)
            && self.tags.iter().all(|(tag, value)| facts.tags.get(tag) == Some(value))
            && self.training_data.as_ref().is_none_or(data)
            && self.git_commit.as_ref().is_none_or(commit)
            && self.origin.as_ref().is_none_or(origin)
    }
}
