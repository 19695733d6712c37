//! What the last look at the place of declarations gave, where others can read it without asking.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::reading::DeclaredProblem;
use super::record::DeclaredRecord;
use super::snapshot::{Commit, LookFailure};
use crate::declared::Declared;

/// How what is declared and what is in force stand to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeclaredState {
    /// Nobody has looked yet, or what was seen changes still.
    #[default]
    Reading,
    /// What is declared is in force.
    InStep,
    /// Somebody changed by hand what is declared, and it is only told.
    Drifted,
    /// What is declared cannot be put in force now.
    Refused,
    /// The declaration is not valid: what was in force before is.
    Broken,
    /// The place cannot be read: what was in force before is.
    Unreachable,
    /// The kill switch holds the table.
    Held,
    /// Another replica acts.
    Standby,
}

/// What was read of the place, valid or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReadFacts {
    pub(crate) digest: String,
    pub(crate) commit: Option<Commit>,
    pub(crate) files: usize,
    /// `None`: it is not valid.
    pub(crate) resources: Option<usize>,
}

/// What the last look gave.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct DeclaredStatus {
    pub(crate) place: String,
    pub(crate) corrects_drift: bool,
    pub(crate) state: DeclaredState,
    /// Why it is not in step, on one line.
    pub(crate) reason: Option<String>,
    /// When the place was last looked at.
    pub(crate) looked_at: Option<String>,
    /// Why it could not be read.
    pub(crate) failure: Option<LookFailure>,
    /// What it held when it could be read.
    pub(crate) read: Option<ReadFacts>,
    /// What is wrong with that.
    pub(crate) problems: Vec<DeclaredProblem>,
    /// What was last taken from it.
    pub(crate) in_force: Option<DeclaredRecord>,
    /// Resources that differ from it.
    pub(crate) differences: usize,
    /// What the last valid declaration holds.
    #[serde(skip)]
    pub(crate) resources: Option<Arc<Vec<Declared>>>,
}

/// Where the status is put and read.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    shown: Mutex<Arc<DeclaredStatus>>,
}

impl StatusBoard {
    pub(crate) fn show(&self, status: DeclaredStatus) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }

    pub(crate) fn read(&self) -> Arc<DeclaredStatus> {
        Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
