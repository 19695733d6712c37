//! What the repository index tells of a model: each version's state and the reason for it (W-70, W-71).

use std::collections::BTreeMap;

/// State of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// Serving.
    Ready,
    /// Not serving; the reason tells why.
    Unavailable,
    /// Being loaded.
    Loading,
    /// Finishing its last requests.
    Unloading,
}

impl VersionState {
    /// Triton's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
        }
    }
}

/// One line of the repository index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Name of the model.
    pub name: String,
    /// Version; `None` for a model of which nothing was ever loaded.
    pub version: Option<u64>,
    /// State; `None` as above.
    pub state: Option<VersionState>,
    /// Why, when there is something to say.
    pub reason: String,
}

/// States of one model's versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelState {
    pub(crate) versions: BTreeMap<u64, (VersionState, String)>,
    /// Why the model as a whole could not be loaded, when no version could be named.
    pub(crate) failure: Option<String>,
}

impl ModelState {
    pub(crate) fn set(&mut self, version: u64, state: VersionState, reason: impl Into<String>) {
        self.versions.insert(version, (state, reason.into()));
    }

    /// Forgets versions that could not be loaded, where `gone` says so. What was unloaded stays to be seen (W-73).
    pub(crate) fn forget_failures(&mut self, gone: impl Fn(u64) -> bool) {
        let failed = |state: &VersionState, reason: &str| *state == VersionState::Unavailable && reason != "unloaded";
        self.versions.retain(|version, (state, reason)| !(gone(*version) && failed(state, reason)));
    }

    pub(crate) fn entries(&self, name: &str, ready_only: bool, entries: &mut Vec<IndexEntry>) {
        if self.versions.is_empty() && !ready_only {
            let state = self.failure.as_ref().map(|_| VersionState::Unavailable);
            let reason = self.failure.clone().unwrap_or_default();
            entries.push(IndexEntry { name: name.to_owned(), version: None, state, reason });
        }
        for (&version, (state, reason)) in &self.versions {
            if !ready_only || *state == VersionState::Ready {
                entries.push(IndexEntry {
                    name: name.to_owned(),
                    version: Some(version),
                    state: Some(*state),
                    reason: reason.clone(),
                });
            }
        }
    }
}
