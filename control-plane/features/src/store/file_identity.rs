//! Which file stands at a path: an open file may have been replaced or removed since.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// A file, whatever its name. While it is open no other file has the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The file that stands at a path now; none where there is none.
    ///
    /// # Errors
    /// Also for what is no regular file: to open a pipe is to wait for somebody.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                let told = format!("{}: it is no regular file", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidInput, told))
            }
            Ok(found) => Ok(Some(Self { device: found.dev(), inode: found.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// When the content of a file was changed last, and how long it is; none where there is none.
pub(super) fn content_mark(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}
