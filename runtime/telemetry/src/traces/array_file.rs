//! A file that is a whole JSON array after every write, so that whoever reads it, whenever, reads what was written so far,
//! also after the process was killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// An array that grows. Its last byte is always its closing bracket, which the next write replaces.
#[derive(Debug)]
pub(super) struct ArrayFile {
    file: File,
    length: u64,
}

impl ArrayFile {
    /// Makes the file, or empties the one that is there.
    ///
    /// # Errors
    /// When it cannot be written, is no regular file, or is a link: it may lead into what is not ours.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.set_len(0)?;
        Ok(Self { file, length: 0 })
    }

    /// Adds elements, separated by commas. A write that fails leaves what was there, whole.
    ///
    /// # Errors
    /// What the system says, such as that the disk is full.
    pub(super) fn append(&mut self, elements: &str) -> io::Result<()> {
        let (at, opening) = match self.length {
            0 => (0, "["),
            length => (length - 1, ",\n"),
        };
        let text = format!("{opening}{elements}]");
        match self.file.write_all_at(text.as_bytes(), at) {
            Ok(()) => {
                self.length = at + text.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.restore()?;
                Err(error)
            }
        }
    }

    fn restore(&self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        // The place of the bracket is the file's already: this takes no room.
        if self.length > 0 { self.file.write_all_at(b"]", self.length - 1) } else { Ok(()) }
    }
}

/// Whether the file can be written, or made; one that is not there is not left behind.
///
/// # Errors
/// As [`ArrayFile::create`].
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made {
        Ok(_file) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path).map(drop),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Without waiting, should it be a pipe that nobody reads.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a link, which is not followed"),
        Some(libc::ENXIO) => io::Error::other("it is a pipe, not a file"),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn it_is_an_array_after_every_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        std::fs::write(&path, "what an earlier run has left, which is longer").unwrap();
        let mut file = ArrayFile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        file.append("1,2").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[1,2]");
        file.append("3").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[1,2,\n3]");
    }

    #[test]
    fn a_write_that_fails_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let mut file = ArrayFile::create(&path).unwrap();
        file.append("1").unwrap();
        // What a write that had room for a part leaves behind.
        file.file.write_all_at(b",\n2, and not the end", 2).unwrap();
        file.restore().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[1]");
        file.append("3").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[1,\n3]");
    }

    #[test]
    fn links_pipes_and_folders_are_no_trace_files() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, link) = (folder.path().join("theirs"), folder.path().join("link"));
        std::fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, &link).unwrap();
        let dangling = folder.path().join("dangling");
        symlink(folder.path().join("nowhere"), &dangling).unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&link, &dangling, &pipe, &folder.path().to_path_buf(), &folder.path().join("none/trace.json")] {
            assert!(probe(path).is_err(), "{path:?}");
            assert!(ArrayFile::create(path).is_err(), "{path:?}");
        }
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
        probe(&theirs).unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs", "asking changes nothing");
        probe(&folder.path().join("new")).unwrap();
        assert!(!folder.path().join("new").exists());
    }
}
