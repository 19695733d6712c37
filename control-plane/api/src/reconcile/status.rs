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
    /// When it was last read, in milliseconds since the Unix epoch; 0: never.
    #[serde(skip)]
    pub(crate) read_at_millis: u64,
    /// Why it could not be read.
    pub(crate) failure: Option<LookFailure>,
    /// What it held when it could be read.
    pub(crate) read: Option<ReadFacts>,
    /// What is wrong with that.
    pub(crate) problems: Vec<DeclaredProblem>,
    /// What was last taken from it.
    pub(crate) in_force: Option<DeclaredRecord>,
    /// Resources that differed from it at that look.
    pub(crate) differences: usize,
    /// What the last valid declaration holds.
    #[serde(skip)]
    pub(crate) resources: Option<Arc<Vec<Declared>>>,
}

impl DeclaredStatus {
    /// The same, where so many resources differ now: changes by hand since the last look are no news of the place, and told
    /// all the same.
    pub(crate) fn with_differences(&self, differences: usize) -> Self {
        let mut now = Self { differences, ..self.clone() };
        match (self.state, differences) {
            (DeclaredState::InStep, 1..) => {
                let then = if self.corrects_drift { SET_BACK_SOON } else { SET_BACK_BY_ORDER };
                (now.state, now.reason) = (DeclaredState::Drifted, Some(then.to_owned()));
            }
            (DeclaredState::Drifted, 0) => (now.state, now.reason) = (DeclaredState::InStep, None),
            _ => {}
        }
        now
    }
}

/// What becomes of changes by hand, where they are only told.
pub(super) const SET_BACK_BY_ORDER: &str = "resources were changed by hand; `hanok declared sync` sets them back";
const SET_BACK_SOON: &str = "resources were changed by hand; they are set back at the next look";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_by_hand_since_the_last_look_is_not_in_step() {
        let mut status =
            DeclaredStatus { state: DeclaredState::InStep, corrects_drift: true, ..DeclaredStatus::default() };
        assert_eq!(status.with_differences(0).state, DeclaredState::InStep);
        let drifted = status.with_differences(2);
        assert_eq!((drifted.state, drifted.differences), (DeclaredState::Drifted, 2));
        assert_eq!(drifted.reason.as_deref(), Some(SET_BACK_SOON));
        assert_eq!(drifted.with_differences(0).state, DeclaredState::InStep);
        status.corrects_drift = false;
        assert_eq!(status.with_differences(1).reason.as_deref(), Some(SET_BACK_BY_ORDER));
        status.state = DeclaredState::Broken;
        assert_eq!(status.with_differences(1).state, DeclaredState::Broken, "what is wrong with the place comes first");
    }
}
