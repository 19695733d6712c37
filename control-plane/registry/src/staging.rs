//! Operations under way: files come to lie in a folder of their own first, and into sight by rename.
//!
//! A folder whose lock is free belongs to nobody any more: its process ended. Sweeping removes it, and those of the files
//! named in its `intent` that nothing refers to, so that an operation that was killed leaves nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, DigestBuilder};
use crate::error::RegistryError;
use crate::folder::{
    BLOB_MODE, Folder, is_free, make_folder, make_working_folder, open_private, remove_folder_if_there, sync_folder,
};
use crate::manifest::FileContent;

/// Digests that are about to appear or disappear, one a line.
const INTENT: &str = "intent";

/// A folder of an operation under way. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    files: u64,
    abandoned: bool,
    _lock: File,
}

impl Staging {
    /// Makes a folder of its own. The caller holds the registry's lock, so that no sweep meets it without its lock.
    pub(crate) fn make(folder: &Folder, _held: &File) -> Result<Self, RegistryError> {
        let (path, lock) = make_working_folder(&folder.staging(), "")?;
        Ok(Self { path, files: 0, abandoned: false, _lock: lock })
    }

    /// A new file in the folder.
    pub(crate) fn file(&mut self) -> Result<StagedFile, RegistryError> {
        let path = self.path.join(self.files.to_string());
        self.files += 1;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(BLOB_MODE).open(&path)?;
        Ok(StagedFile { path, file, digest: DigestBuilder::default(), bytes: 0 })
    }

    /// Notes, durably, what is about to appear or disappear.
    pub(crate) fn intend(&self, digests: &[Digest]) -> Result<(), RegistryError> {
        let mut file = open_private(&self.path.join(INTENT))?;
        let lines: String = digests.iter().map(|digest| format!("{}\n", digest.hex())).collect();
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        sync_folder(&self.path)?;
        Ok(())
    }

    /// Leaves the folder, and with it the intent, to the next sweep.
    pub(crate) fn abandon(mut self) {
        self.abandoned = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Where this fails, the next sweep does it.
        if !self.abandoned {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct StagedFile {
    path: PathBuf,
    file: File,
    digest: DigestBuilder,
    bytes: u64,
}

/// A file that is complete, but not in sight yet.
#[derive(Debug)]
pub(crate) struct CompleteFile {
    path: PathBuf,
    pub(crate) content: FileContent,
}

impl StagedFile {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file, and what is to be synchronised before it may be published.
    pub(crate) fn finish(self) -> (CompleteFile, File) {
        let content = FileContent { digest: self.digest.finish(), bytes: self.bytes };
        (CompleteFile { path: self.path, content }, self.file)
    }
}

/// Brings durable files to their places among the blobs. One that is there already is replaced by itself, which also heals it.
pub(crate) fn publish<'a>(
    files: impl IntoIterator<Item = &'a CompleteFile>,
    folder: &Folder,
) -> Result<(), RegistryError> {
    let mut changed = BTreeSet::new();
    for file in files {
        let place = folder.blob(&file.content.digest);
        if let Some(group) = place.parent() {
            if !group.is_dir() {
                make_folder(group)?;
                changed.extend(group.parent().map(Path::to_owned));
            }
            changed.insert(group.to_owned());
        }
        fs::rename(&file.path, &place)?;
    }
    // Once for each folder, however many files.
    Ok(changed.iter().try_for_each(|folder| sync_folder(folder))?)
}

/// What operations that are gone have left: their folders, and the digests that they meant to publish or remove.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    folders: Vec<PathBuf>,
    pub(crate) intended: Vec<Digest>,
}

impl Leftovers {
    /// Looks for them. The caller holds the registry's lock.
    pub(crate) fn find(folder: &Folder, _held: &File) -> Result<Self, RegistryError> {
        let mut found = Self::default();
        for entry in fs::read_dir(folder.staging())? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let path = entry.path();
            let abandoned = match File::open(path.join("lock")) {
                Ok(lock) => is_free(&lock)?,
                Err(error) if error.kind() == ErrorKind::NotFound => true,
                Err(error) => return Err(error.into()),
            };
            if abandoned {
                found.intended.extend(intended(&path)?);
                found.folders.push(path);
            }
        }
        Ok(found)
    }

    /// Removes the folders.
    pub(crate) fn remove(self) -> Result<(), RegistryError> {
        for path in self.folders {
            remove_folder_if_there(&path)?;
        }
        Ok(())
    }
}

/// An intent that is cut off was not acted upon: nothing is published before it is durable.
fn intended(path: &Path) -> io::Result<Vec<Digest>> {
    match fs::read_to_string(path.join(INTENT)) {
        Ok(lines) => Ok(lines.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
