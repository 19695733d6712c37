//! One file on its way: its bytes so far, and a note of how many of them are on the disk and what they are part of.
//!
//! Only noted bytes are built upon. After a crash of this program the page cache still has the rest, after a loss of power
//! nobody knows; so the file is cut back to the note, at most [`NOTE_EVERY_BYTES`] behind.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::durable;
use super::lock::FolderLock;
use crate::digest::Sha256Stream;
use crate::{ArtifactPath, Sha256Digest, SourceError};

/// How much may be lost by a crash.
const NOTE_EVERY_BYTES: u64 = 8 << 20;

/// What is known of the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    bytes: u64,
    mark: String,
}

/// One file on its way. Blocking: for a thread that may wait.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    note_path: PathBuf,
    file: File,
    bytes: u64,
    noted: u64,
    mark: Option<String>,
    digest: Sha256Stream,
    /// Who writes outlives the fetch that was dropped, and until then nobody else may write here.
    _lock: Arc<FolderLock>,
}

impl PartFile {
    /// Opens the part of the file that will be called `name`, in `folder`, whose lock it keeps; empty unless a note vouches
    /// for what is there.
    pub(crate) fn open(folder: &Path, name: &ArtifactPath, lock: Arc<FolderLock>) -> Result<Self, SourceError> {
        let id = Sha256Digest::of(name.as_str().as_bytes()).to_string();
        let path = folder.join(format!("{}.part", &id[..32]));
        let note_path = path.with_extension("json");
        let disk = |error: std::io::Error| SourceError::disk("opening a partial file", &error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(disk)?;
        let note: Option<Note> = fs::read(&note_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let length = file.metadata().map_err(disk)?.len();
        let note = note.filter(|note| note.bytes <= length);
        let bytes = note.as_ref().map_or(0, |note| note.bytes);
        file.set_len(bytes).map_err(disk)?;
        let mut digest = Sha256Stream::default();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer).map_err(disk)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
        }
        Ok(Self { path, note_path, file, bytes, noted: bytes, mark: note.map(|note| note.mark), digest, _lock: lock })
    }

    /// Bytes that are there, and the mark of what they are part of.
    pub(crate) fn progress(&self) -> (u64, Option<String>) {
        (self.bytes, self.mark.clone())
    }

    /// Forgets what is there, and from now on holds bytes of what `mark` names; `None` when nothing names them, so that
    /// they will not be continued.
    pub(crate) fn restart(&mut self, mark: Option<String>) -> Result<(), SourceError> {
        let disk = |error: std::io::Error| SourceError::disk("emptying a partial file", &error);
        match fs::remove_file(&self.note_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(disk(error)),
            _ => {}
        }
        self.file.set_len(0).map_err(disk)?;
        self.file.seek(SeekFrom::Start(0)).map_err(disk)?;
        self.bytes = 0;
        self.noted = 0;
        self.mark = mark;
        self.digest = Sha256Stream::default();
        Ok(())
    }

    /// Appends `piece`.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), SourceError> {
        self.file.write_all(piece).map_err(|error| SourceError::disk("writing a file", &error))?;
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        if self.bytes - self.noted >= NOTE_EVERY_BYTES { self.note() } else { Ok(()) }
    }

    /// Puts on the disk what is there, and notes it.
    pub(crate) fn note(&mut self) -> Result<(), SourceError> {
        let Some(mark) = &self.mark else { return Ok(()) };
        if self.bytes == self.noted {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| SourceError::disk("syncing a file", &error))?;
        let note = Note { bytes: self.bytes, mark: mark.clone() };
        let text = serde_json::to_vec(&note).unwrap_or_default();
        durable::replace(&self.note_path, &text)?;
        self.noted = self.bytes;
        Ok(())
    }

    /// Bytes written and their digest.
    pub(crate) fn seal(&self) -> (u64, Sha256Digest) {
        (self.bytes, self.digest.clone().finish())
    }

    /// Moves the file to `target`, whose folder exists, for good.
    pub(crate) fn move_to(self, target: &Path) -> Result<(), SourceError> {
        let moved = || {
            self.file.sync_all()?;
            fs::rename(&self.path, target)?;
            match fs::remove_file(&self.note_path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        moved().map_err(|error| SourceError::disk("moving a finished file", &error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn open(folder: &Path) -> PartFile {
        let lock = FolderLock::take(tempfile::tempdir().unwrap().path()).unwrap();
        PartFile::open(folder, &ArtifactPath::parse("m").unwrap(), Arc::new(lock)).unwrap()
    }

    #[test]
    fn only_noted_bytes_are_continued() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = open(folder.path());
        part.restart(Some("one".into())).unwrap();
        part.write(b"abc").unwrap();
        part.note().unwrap();
        part.write(b"def").unwrap();
        drop(part);
        let mut part = open(folder.path());
        assert_eq!(part.progress(), (3, Some("one".into())));
        part.write(b"xyz").unwrap();
        assert_eq!(part.seal(), (6, Sha256Digest::of(b"abcxyz")));
        let target = folder.path().join("done");
        part.move_to(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcxyz");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_no_mark_names_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = open(folder.path());
        part.restart(None).unwrap();
        part.write(b"abc").unwrap();
        part.note().unwrap();
        drop(part);
        assert_eq!(open(folder.path()).progress(), (0, None));
    }

    #[test]
    fn a_note_about_more_than_there_is_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = open(folder.path());
        part.restart(Some("one".into())).unwrap();
        part.write(b"abc").unwrap();
        part.note().unwrap();
        part.file.set_len(2).unwrap();
        drop(part);
        assert_eq!(open(folder.path()).progress(), (0, None));
        let note = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.ends_with(".json"));
        if let Some(note) = note {
            fs::write(note, b"{").unwrap();
        }
        assert_eq!(open(folder.path()).progress(), (0, None));
    }
}
