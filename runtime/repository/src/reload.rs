//! What a load may keep of the one before. Pure.
//!
//! A version that goes on as it is costs no second copy in memory, and its counters go on.

use std::collections::BTreeSet;

use hanok_model_config::ModelConfig;

use crate::ReadyVersion;
use crate::layout::{Fingerprint, ModelFolder};

/// Why a model is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// At start, or by a client: always, all of it.
    Asked,
    /// A look at the folders: if anything changed, all of it.
    Polled,
    /// By this process itself: what changed.
    Refreshed,
}

/// How a folder compares with the last load.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Nothing but the configuration changed.
    same_files: bool,
    /// Versions that go on if their configuration does.
    unchanged: BTreeSet<u64>,
}

impl Kept {
    /// Compares `folder` with what it was at the last load.
    pub(crate) fn since(before: Option<&Fingerprint>, folder: &ModelFolder, occasion: Occasion) -> Self {
        let unchanged = before.filter(|_| occasion == Occasion::Refreshed);
        Self {
            same_files: before.is_some_and(|before| before.same_but_configuration(&folder.fingerprint)),
            unchanged: unchanged.map_or_else(BTreeSet::new, |before| folder.unchanged_versions(before)),
        }
    }

    /// Whether the version goes on as it is: its files did not change, nor did its configuration, whatever that says about
    /// which versions serve.
    pub(crate) fn whole(&self, old: &ReadyVersion, config: &ModelConfig) -> bool {
        let (mut before, mut after) = (old.config.wire.clone(), config.wire.clone());
        before.version_policy = None;
        after.version_policy = None;
        self.unchanged.contains(&old.version) && before == after
    }

    /// Whether its counters go on: a change of nothing but the instances is no new model (W-75).
    pub(crate) fn counters(&self, old: &ReadyVersion, config: &ModelConfig) -> bool {
        let (mut before, mut after) = (old.config.wire.clone(), config.wire.clone());
        before.instance_group.clear();
        after.instance_group.clear();
        self.same_files && old.config.instance_groups != config.instance_groups && before == after
    }
}
