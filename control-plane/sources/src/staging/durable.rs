//! Small writes that survive a loss of power: write beside, sync, rename, sync the folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::SourceError;

/// Makes the entries of `folder` survive.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), SourceError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| SourceError::disk("syncing a folder", &error))
}

/// Replaces `path` by `bytes`, wholly or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| SourceError::disk("writing a record", &error))?;
    path.parent().map_or(Ok(()), sync_folder)
}
