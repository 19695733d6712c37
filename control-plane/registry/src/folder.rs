//! The registry's folder: where files by content lie, and the one lock of those who change them.
//!
//! ```text
//! registry.sqlite        rows (write-ahead log beside it)
//! registry.lock          held while files are published or removed
//! blobs/ab/abcd...       one file per content, named by its SHA-256, read-only
//! staging/PID-N/         one folder per operation under way, its `lock` held by whoever works there
//! holds/DIGEST           held, shared, by whoever has a version's files in use
//! reserve                room that collecting takes back when the disk is full
//! ```
//!
//! What else lies there is nobody's business: it is passed over, and `verify` tells of it. Locks are the system's (`flock`):
//! they end with their process, however it ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt};
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

    pub(crate) fn path(&self) -> &Path {
        &self.root
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
        Ok(self
            .contents()?
            .into_iter()
            .filter_map(|(path, digest)| digest.filter(|own| self.blob(own) == path))
            .collect())
    }

    /// Whether anything lies among the blobs.
    pub(crate) fn has_blobs(&self) -> Result<bool, RegistryError> {
        for group in fs::read_dir(self.root.join("blobs"))? {
            let group = group?;
            if group.file_type()?.is_dir() && fs::read_dir(group.path())?.next().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Paths, from the root, of what somebody else has put among the registry's files.
    pub(crate) fn strays(&self) -> Result<Vec<String>, RegistryError> {
        let mut strays = Vec::new();
        for (path, digest) in self.contents()? {
            if digest.is_none_or(|own| self.blob(&own) != path) {
                strays.push(path);
            }
        }
        for entry in fs::read_dir(self.staging())? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                strays.push(entry.path());
            }
        }
        for entry in fs::read_dir(self.root.join("holds"))? {
            let path = entry?.path();
            if digest_named(&path).is_none() {
                strays.push(path);
            }
        }
        let mut strays: Vec<String> = strays
            .iter()
            .map(|path| path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned())
            .collect();
        strays.sort();
        Ok(strays)
    }

    /// Everything in the folders of blobs, and what else lies beside those folders, with the digests that names tell.
    fn contents(&self) -> Result<Vec<(PathBuf, Option<Digest>)>, RegistryError> {
        let mut found = Vec::new();
        for group in fs::read_dir(self.root.join("blobs"))? {
            let group = group?;
            if !group.file_type()?.is_dir() {
                found.push((group.path(), None));
                continue;
            }
            for blob in fs::read_dir(group.path())? {
                let blob = blob?;
                let named = if blob.file_type()?.is_file() { digest_named(&blob.path()) } else { None };
                found.push((blob.path(), named));
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
            if digest_named(&path).is_some() && is_free(&File::open(&path)?)? {
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

/// Whether a registry was made in this folder. One that has lost its database is one all the same.
#[must_use]
pub fn is_registry(folder: &Path) -> bool {
    folder.join(DATABASE).is_file() || (folder.join("blobs").is_dir() && folder.join("staging").is_dir())
}

/// The digest that a file's name tells.
fn digest_named(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.parse().ok()
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
/// A sweep by somebody who does not share the caller's registry may meet the folder before the lock is taken, and remove it:
/// then another is made.
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
                if lies_at(&lock, &path.join("lock"))? {
                    return Ok((path, lock));
                }
            }
            // Whoever had the number before was still removing a folder of that name, and removed this one.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RegistryError::corrupt("no number is left for a folder"))
}

/// Whether the open file is still the one at `path`.
fn lies_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
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
