//! `hanok serve --locked`: the models of the repository are exactly those of a lock file, at start and at every later load.
//!
//! Whoever can write to the repository between this check and the backend's reading of the file is not kept out: that is
//! for the folder's permissions.

use std::path::{Path, PathBuf};

use hanok_registry::{LockFile, LockProblem, check_locked, check_model, find_model, find_models};
use hanok_repository::LoadGate;

use crate::commands::error::CommandError;

/// A lock file that is in force.
#[derive(Debug)]
pub(crate) struct LockedModels {
    lock: LockFile,
}

impl LockedModels {
    /// Reads the lock file, and refuses when the repository holds anything else than what it pins.
    pub(crate) fn read(file: &Path, roots: &[PathBuf]) -> Result<Self, CommandError> {
        let lock = LockFile::read(file)?;
        let problems = check_locked(&lock, &find_models(roots.iter().map(PathBuf::as_path))?);
        if !problems.is_empty() {
            let told: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            return Err(CommandError::failed(format!(
                "--locked: the model repository is not what `{}` pins; restore it, or pin it anew with `hanok lock`{}",
                file.display(),
                told.concat()
            )));
        }
        let versions: usize = lock.models.values().map(|model| model.versions.len()).sum();
        tracing::info!(models = lock.models.len(), versions, "the repository is what the lock file pins");
        Ok(Self { lock })
    }
}

impl LoadGate for LockedModels {
    fn admit(&self, model: &str, folder: &Path) -> Result<(), String> {
        let found = find_model(folder).map_err(|error| error.to_string())?.unwrap_or_default();
        match check_model(&self.lock, model, &found).as_slice() {
            [] => Ok(()),
            problems => Err(problems.iter().map(LockProblem::to_string).collect::<Vec<_>>().join("; ")),
        }
    }
}
