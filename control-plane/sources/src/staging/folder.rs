//! The partial folder of one destination: opened under a lock, continued or begun anew, published by one rename.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::{FolderLock, LOCK};
use super::receipt::{FetchedFile, Receipt};
use super::{PartFile, Written, durable, hash_file, sync_folder};
use crate::{ArtifactPath, Sha256Digest, SourceError, SourceErrorCode};

/// What the destination already is.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Everything was fetched before and is still as it was.
    Complete(Vec<FetchedFile>),
    /// There is work to do.
    Partial(StagingFolder),
}

/// The partial folder of one destination. Blocking, all of it; the lock goes with the value and its last part.
#[derive(Debug)]
pub(crate) struct StagingFolder {
    destination: PathBuf,
    partial: PathBuf,
    revision: String,
    lock: Arc<FolderLock>,
}

impl StagingFolder {
    /// Opens the partial folder of `destination` for `revision`. What is there of another revision is thrown away.
    ///
    /// # Errors
    /// `Busy` while another fetch has it, `AlreadyExists` when the destination holds something else, `Disk`.
    pub(crate) fn open(destination: &Path, revision: &str) -> Result<Opened, SourceError> {
        let disk = |error: std::io::Error| SourceError::disk("opening the staging folder", &error);
        let partial = beside(destination, "partial")?;
        let lock = FolderLock::take(&partial)?;
        if destination.symlink_metadata().is_ok() {
            let receipt: Option<Receipt> = fs::read(beside(destination, "receipt.json")?)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let files = match receipt.filter(|receipt| receipt.revision == revision) {
                Some(receipt) => receipt.verified(destination)?,
                None => None,
            };
            let files = files.ok_or_else(|| {
                SourceError::new(
                    SourceErrorCode::AlreadyExists,
                    "the destination exists and is not what the reference names now",
                    "remove the destination, or fetch to another one",
                )
            })?;
            fs::remove_dir_all(&partial).map_err(disk)?;
            return Ok(Opened::Complete(files));
        }
        let folder =
            Self { destination: destination.to_owned(), partial, revision: revision.to_owned(), lock: Arc::new(lock) };
        folder.continue_or_empty()?;
        Ok(Opened::Partial(folder))
    }

    fn continue_or_empty(&self) -> Result<(), SourceError> {
        let disk = |error: std::io::Error| SourceError::disk("preparing the staging folder", &error);
        let note = self.partial.join("revision");
        if fs::read(&note).ok().as_deref() != Some(self.revision.as_bytes()) {
            for entry in fs::read_dir(&self.partial).map_err(disk)? {
                let entry = entry.map_err(disk)?;
                if entry.file_name() != LOCK {
                    remove(&entry.path()).map_err(disk)?;
                }
            }
            durable::replace(&note, self.revision.as_bytes())?;
        }
        for folder in [FILES, "incoming"] {
            fs::create_dir_all(self.partial.join(folder)).map_err(disk)?;
        }
        Ok(())
    }

    /// Size and digest of a file that an earlier fetch finished.
    pub(crate) fn finished(&self, path: &ArtifactPath) -> Result<Option<(u64, Sha256Digest)>, SourceError> {
        let found = self.finished_path(path);
        if found.symlink_metadata().is_ok_and(|data| data.is_file()) { hash_file(&found).map(Some) } else { Ok(None) }
    }

    /// Forgets a finished file.
    pub(crate) fn forget(&self, path: &ArtifactPath) -> Result<(), SourceError> {
        remove(&self.finished_path(path))
            .map_err(|error| SourceError::disk("removing a file of the staging folder", &error))
    }

    /// The part of the file `path`.
    pub(crate) fn part(&self, path: &ArtifactPath) -> Result<PartFile, SourceError> {
        PartFile::open(&self.partial.join("incoming"), path, Arc::clone(&self.lock))
    }

    /// A folder of the source's own, such as a repository; kept for the next try, never published.
    pub(crate) fn workplace(&self, name: &str) -> Result<PathBuf, SourceError> {
        let path = self.partial.join(name);
        fs::create_dir_all(&path).map_err(|error| SourceError::disk("preparing the staging folder", &error))?;
        Ok(path)
    }

    /// Where `path` stands once it is finished.
    pub(crate) fn finished_path(&self, path: &ArtifactPath) -> PathBuf {
        self.partial.join(FILES).join(path.to_relative_path())
    }

    /// An empty folder whose content will be published instead of the finished files.
    pub(crate) fn emptied(&self, name: &str) -> Result<PathBuf, SourceError> {
        let path = self.partial.join(name);
        remove(&path).map_err(|error| SourceError::disk("emptying a folder of the staging folder", &error))?;
        self.workplace(name)
    }

    /// Puts a verified file to the finished ones.
    pub(crate) fn finish(&self, path: &ArtifactPath, written: Written) -> Result<FetchedFile, SourceError> {
        let target = self.finished_path(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|error| SourceError::disk("preparing the staging folder", &error))?;
        }
        let Written { part, bytes, sha256 } = written;
        part.move_to(&target)?;
        Ok(FetchedFile { path: path.clone(), bytes, sha256 })
    }

    /// Makes the folder `name` within the partial one, which holds `files`, the destination. Afterwards nothing of the
    /// partial folder is left.
    pub(crate) fn publish(&self, name: &str, files: &[FetchedFile]) -> Result<(), SourceError> {
        let disk = |error: std::io::Error| SourceError::disk("publishing the fetched folder", &error);
        let finished = self.partial.join(name);
        let listed: HashSet<PathBuf> = files.iter().map(|file| file.path.to_relative_path()).collect();
        let above = listed.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
        prune(&finished, Path::new(""), &listed, &above).map_err(disk)?;
        sync_tree(&finished)?;
        let receipt = serde_json::to_vec_pretty(&Receipt::new(&self.revision, files)).unwrap_or_default();
        durable::replace(&beside(&self.destination, "receipt.json")?, &receipt)?;
        fs::rename(&finished, &self.destination).map_err(disk)?;
        self.destination.parent().map_or(Ok(()), sync_folder)?;
        // What is left of the partial folder is of no use and no harm.
        fs::remove_dir_all(&self.partial).ok();
        Ok(())
    }
}

/// Folder of the finished files.
pub(crate) const FILES: &str = "files";

/// `D.ENDING` for the destination `D`.
fn beside(destination: &Path, ending: &str) -> Result<PathBuf, SourceError> {
    let Some(name) = destination.file_name() else {
        return Err(SourceError::new(
            SourceErrorCode::InvalidSetting,
            "the destination of a fetch has no name of its own",
            "name a folder that does not exist yet, in a folder that does",
        ));
    };
    let mut name = name.to_owned();
    name.push(".");
    name.push(ending);
    Ok(destination.with_file_name(name))
}

/// Removes what is no file of `listed` and no folder above one, links included, so that what is published is what was verified.
fn prune(root: &Path, within: &Path, listed: &HashSet<PathBuf>, above: &HashSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(within))? {
        let entry = entry?;
        let relative = within.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && above.contains(&relative) {
            prune(root, &relative, listed, above)?;
        } else if !(kind.is_file() && listed.contains(&relative)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn sync_tree(folder: &Path) -> Result<(), SourceError> {
    let disk = |error: std::io::Error| SourceError::disk("syncing the fetched folder", &error);
    for entry in fs::read_dir(folder).map_err(disk)? {
        let entry = entry.map_err(disk)?;
        if entry.file_type().map_err(disk)?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// Removes a file, link or folder; what is not there is removed already.
fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
