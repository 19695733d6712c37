//! The file of the embedded store: made with mode 0600, owned by one process at a time.
//!
//! The owner holds an advisory lock on a file beside it, which the system releases with the process, however it ends.
//! The database itself stays readable for the usual tools meanwhile.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{EngineFailure, StateError};

/// Only the owner reads and writes: documents and outcomes are nobody else's business.
const FILE_MODE: u32 = 0o600;
/// For folders that have to be made.
const FOLDER_MODE: u32 = 0o700;

/// How long an owner may take to end.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between two tries.
const RETRY: Duration = Duration::from_millis(5);

/// A database file that this process owns until this is dropped.
#[derive(Debug)]
pub(crate) struct OwnedFile {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl OwnedFile {
    /// Makes the file and its folder if need be, and takes ownership.
    pub(crate) fn take(path: &Path) -> Result<Self, StateError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(|error| refused(&error))?;
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = open_private(Path::new(&lock_path))?;
        take_lock(&lock, path)?;
        drop(open_private(path)?);
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

/// Locks, and waits a moment for an owner that is just ending: also for a child of it that is not yet the program that it
/// is to become, and holds all that its parent had open.
fn take_lock(lock: &File, path: &Path) -> Result<(), StateError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => {
                let detail = format!("{} is locked", path.display());
                return Err(StateError::Engine(EngineFailure::Locked, detail.into()));
            }
            Err(TryLockError::Error(error)) => return Err(refused(&error)),
        }
    }
}

/// Opens for reading and writing, makes it if need be, and takes others' permissions away.
fn open_private(path: &Path) -> Result<File, StateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let file = options.open(path).map_err(|error| refused(&error))?;
    let mode = file.metadata().map_err(|error| refused(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(|error| refused(&error))?;
    }
    Ok(file)
}

fn refused(error: &Error) -> StateError {
    let failure = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => EngineFailure::ReadOnly,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => EngineFailure::DiskFull,
        _ => EngineFailure::Internal,
    };
    StateError::Engine(failure, error.to_string().into())
}
