//! The registry's folder: where files by content lie, and the one lock of those who change them.
//!
//! ```text
//! registry.sqlite        rows (write-ahead log beside it)
//! registry.lock          held while files are published or removed
//! blobs/ab/abcd...       one file per content, named by its SHA-256, read-only
//! staging/PID-N/         one folder per operation under way, its `lock` held by whoever works there
//! holds/DIGEST           held, shared, by whoever has a version's files in use
//! ```
//!
//! Locks are the system's (`flock`): they end with their process, however it ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::error::{RegistryError, StorageFailure};

/// For folders that have to be made.
const FOLDER_MODE: u32 = 0o700;
/// For files that change.
const FILE_MODE: u32 = 0o600;
/// For files by content: nobody has a reason to write there.
pub(crate) const BLOB_MODE: u32 = 0o400;
/// How long whoever publishes or removes files is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether the lock is free: `flock` has no form that waits for a limited time.
const LOOK: Duration = Duration::from_millis(1);
const DATABASE: &str = "registry.sqlite";

/// The folder of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Makes the folder and what belongs in it.
    pub(crate) fn open(root: &Path) -> Result<Self, RegistryError> {
        let folder = Self { root: root.to_owned() };
        for part in ["", "blobs", "staging", "holds"] {
            make_folder(&folder.root.join(part))?;
        }
        sync_folder(root)?;
        Ok(folder)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Where this content lies, if it is here.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let name = digest.hex();
        self.root.join("blobs").join(&name[..2]).join(name)
    }

    /// Digests of everything that lies among the blobs.
    pub(crate) fn blobs(&self) -> Result<Vec<Digest>, RegistryError> {
        let mut found = Vec::new();
        for group in fs::read_dir(self.root.join("blobs"))? {
            for blob in fs::read_dir(group?.path())? {
                if let Some(digest) = blob?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    found.push(digest);
                }
            }
        }
        Ok(found)
    }

    /// Waits for the right to publish or remove files; it ends when the lock is dropped.
    pub(crate) fn lock(&self) -> Result<File, RegistryError> {
        let lock = open_private(&self.root.join("registry.lock"))?;
        let until = Instant::now() + PATIENCE;
        while !is_free(&lock)? {
            if Instant::now() > until {
                let detail = format!("registry.lock is held for more than {} s", PATIENCE.as_secs());
                return Err(RegistryError::Storage(StorageFailure::Busy, detail.into()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(lock)
    }

    /// Marks the content as in use until what is returned is dropped.
    pub(crate) fn hold(&self, digest: &Digest) -> Result<File, RegistryError> {
        let lock = open_private(&self.root.join("holds").join(digest.hex()))?;
        lock.lock_shared()?;
        Ok(lock)
    }

    /// Whether somebody has the content in use.
    pub(crate) fn is_held(&self, digest: &Digest) -> Result<bool, RegistryError> {
        match File::open(self.root.join("holds").join(digest.hex())) {
            Ok(file) => Ok(!is_free(&file)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the marks that nobody holds any more. The caller holds the registry's lock, without which nobody marks.
    pub(crate) fn remove_free_marks(&self, _held: &File) -> Result<(), RegistryError> {
        for mark in fs::read_dir(self.root.join("holds"))? {
            let path = mark?.path();
            if is_free(&File::open(&path)?)? {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Removes files by content, those that are there.
    pub(crate) fn remove_blobs<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<(), RegistryError> {
        for digest in digests {
            remove_if_there(&self.blob(digest))?;
        }
        Ok(())
    }
}

/// Whether a registry was made in this folder.
#[must_use]
pub fn is_registry(folder: &Path) -> bool {
    folder.join(DATABASE).is_file()
}

/// Takes the lock if nobody has it; it ends when the file is dropped.
pub(crate) fn is_free(file: &File) -> Result<bool, RegistryError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Opens for reading and writing, and makes it if need be, for this user only.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Makes a folder with a number of its own behind `prefix`, and takes the lock in it that says that somebody works there.
/// The caller holds the registry's lock, so that no sweep meets the folder without it.
pub(crate) fn make_working_folder(parent: &Path, prefix: &str) -> Result<(PathBuf, File), RegistryError> {
    let process = std::process::id();
    for number in 0_u64.. {
        let path = parent.join(format!("{prefix}{process}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error.into()),
        }
        match open_private(&path.join("lock")) {
            Ok(lock) => {
                lock.lock()?;
                return Ok((path, lock));
            }
            // Whoever had the number before was still removing a folder of that name, and removed this one.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RegistryError::corrupt("no number is left for a folder"))
}

/// Makes a folder for this user only, and those above it.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Makes what was renamed into a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    gone(fs::remove_file(path))
}

/// Removes a folder and what is in it; somebody else may be doing the same.
pub(crate) fn remove_folder_if_there(path: &Path) -> io::Result<()> {
    gone(fs::remove_dir_all(path))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
