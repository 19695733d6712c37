//! The lock on the partial folder of a destination: one fetch at a time writes there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::{SourceError, SourceErrorCode};

/// Its name within the folder.
pub(super) const LOCK: &str = "lock";

/// A held lock. It is given back by word, not by closing the file: a process that is being started meanwhile has the file open
/// too, until it becomes another program, and would hold it for as long.
#[derive(Debug)]
pub(crate) struct FolderLock(File);

impl FolderLock {
    /// Locks the partial folder, made if it is not there. A lock on a file that its last owner has just removed is no lock:
    /// then the folder is made anew.
    ///
    /// # Errors
    /// `Busy` while another fetch has it, `Disk`.
    pub(crate) fn take(partial: &Path) -> Result<Self, SourceError> {
        let disk = |error: std::io::Error| SourceError::disk("locking the staging folder", &error);
        loop {
            fs::create_dir_all(partial).map_err(disk)?;
            let path = partial.join(LOCK);
            let file = match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(disk)?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(SourceError::new(
                        SourceErrorCode::Busy,
                        "another fetch is writing to the same destination",
                        "wait for it to end, then repeat the command",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(disk(error)),
            }
            let held = file.metadata().map_err(disk)?;
            if path.symlink_metadata().is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                return Ok(Self(file));
            }
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file gives it back, too.
        self.0.unlock().ok();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn it_is_free_though_a_process_that_starts_has_the_file_open() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        let of_the_process = lock.0.try_clone().unwrap();
        assert_eq!(FolderLock::take(folder.path()).unwrap_err().code(), SourceErrorCode::Busy);
        drop(lock);
        FolderLock::take(folder.path()).unwrap();
        drop(of_the_process);
    }
}
