//! Declarations that are kept elsewhere, in a folder or on a Git branch, and are brought and kept in force from there.
//!
//! A thread looks at the place; reading, comparing and deciding are pure functions; putting in force is an ordinary apply,
//! with the commit on record in the same transaction. Knows no webhook: whoever has verified one calls
//! [`DeclaredHandle::look`].
//!
//! Invariants: what is in force changes whole or not at all; a place that is broken, gone or half written changes nothing;
//! nothing but a person's order ends what the kill switch did.

mod decision;
mod desk;
mod folder;
mod folder_source;
mod git;
mod git_command;
mod located;
mod place;
mod reading;
mod record;
mod snapshot;
mod status;
mod task;

use std::path::Path;

pub use place::{DeclaredPlace, GitBranch};
pub use reading::DeclaredProblem;
pub(crate) use record::{DeclaredOrigin, DeclaredRecord};
pub use snapshot::LookFailure;
pub(crate) use status::{DeclaredState, DeclaredStatus};
pub(crate) use task::{DeclaredHandle, DeclaredThread};

/// Why a folder's declarations are not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderFault {
    /// The folder cannot be read.
    Unreadable(LookFailure),
    /// What is wrong, by file and line.
    Problems(Vec<DeclaredProblem>),
}

/// Checks a folder of declarations, taken for itself: how many files and resources it has. Asks no server. Blocks on the disk.
///
/// # Errors
/// Everything that is wrong.
pub fn check_declared_folder(folder: &Path) -> Result<(usize, usize), FolderFault> {
    let snapshot = folder::read_folder(folder).map_err(FolderFault::Unreadable)?;
    let reading = reading::check_snapshot(&snapshot).map_err(FolderFault::Problems)?;
    Ok((snapshot.files().len(), reading.resources.len()))
}
