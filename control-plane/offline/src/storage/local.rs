//! Files on this machine's disks.
//!
//! New files are written beside their place under a name that no listing shows, synced, and renamed over it; their folder
//! is synced too. A process that is killed leaves at most such a hidden file, which the next run of its name replaces.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::pattern::{is_hidden, is_pattern, name_fits};
use super::{NewFile, RandomRead, Storage};
use crate::error::OfflineError;

/// Folders within folders that are looked through.
const DEEPEST: usize = 16;
/// Files that one path may mean.
const MOST_FILES: usize = 100_000;
const WRITE_BUFFER: usize = 1 << 20;

/// Files found from a folder.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    folder: PathBuf,
}

impl LocalStorage {
    /// Paths that are relative are found from `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Gathers files under `folder` that fit the rest of a pattern.
    fn gather(folder: &Path, rest: &[&str], found: &mut Vec<PathBuf>, depth: usize) -> Result<(), OfflineError> {
        let Some((first, behind)) = rest.split_first() else { return Ok(()) };
        if depth > DEEPEST || found.len() > MOST_FILES {
            let (what, limit) = if depth > DEEPEST { ("folders deep", DEEPEST) } else { ("files", MOST_FILES) };
            return Err(OfflineError::LimitReached { what, limit: limit as u64 });
        }
        if *first == "**" {
            Self::gather(folder, behind, found, depth)?;
        } else if !is_pattern(first) {
            let path = folder.join(first);
            return match fs::metadata(&path) {
                Ok(known) if known.is_dir() => Self::gather(&path, behind, found, depth + 1),
                Ok(_) if behind.is_empty() => {
                    found.push(path);
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(OfflineError::unavailable(folder.display().to_string(), error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| OfflineError::unavailable(folder.display().to_string(), error))?;
            let (name, path) = (entry.file_name(), entry.path());
            let Some(name) = name.to_str().filter(|name| !is_hidden(name)) else { continue };
            // Links are followed, as a reader of the file would.
            let is_folder = fs::metadata(&path).is_ok_and(|known| known.is_dir());
            if *first == "**" {
                if is_folder {
                    Self::gather(&path, rest, found, depth + 1)?;
                }
            } else if name_fits(first, name) {
                if is_folder {
                    Self::gather(&path, behind, found, depth + 1)?;
                } else if behind.is_empty() {
                    found.push(path);
                }
            }
        }
        Ok(())
    }
}

impl Storage for LocalStorage {
    fn list(&self, path: &str) -> Result<Vec<String>, OfflineError> {
        let whole = self.folder.join(path);
        let mut found = Vec::new();
        if is_pattern(path) {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            let start = if path.starts_with('/') { PathBuf::from("/") } else { self.folder.clone() };
            Self::gather(&start, &parts, &mut found, 0)?;
        } else if fs::metadata(&whole).is_ok_and(|known| known.is_dir()) {
            for pattern in ["*.parquet", "*.csv"] {
                Self::gather(&whole, &["**", pattern], &mut found, 0)?;
            }
        } else if whole.exists() {
            found.push(whole.clone());
        }
        found.sort();
        found.dedup();
        if found.is_empty() {
            let name = format!("`{}` does not exist, or holds no `.parquet` or `.csv`", whole.display());
            return Err(OfflineError::NotFound { what: "file", name });
        }
        Ok(found.into_iter().map(|path| path.to_string_lossy().into_owned()).collect())
    }

    fn open(&self, name: &str) -> Result<Arc<dyn RandomRead>, OfflineError> {
        let path = self.folder.join(name);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                OfflineError::NotFound { what: "file", name: format!("`{}` does not exist", path.display()) }
            }
            _ => OfflineError::unavailable(path.display().to_string(), error),
        };
        // A pipe would be waited for: what a path is is asked before it is opened.
        let known = fs::metadata(&path).map_err(failed)?;
        if !known.is_file() {
            let reason =
                format!("expected a regular file, got {}; tables are read from any place in them", kind(&known));
            return Err(OfflineError::invalid(format!("`{}`", path.display()), reason));
        }
        let file = File::open(&path).map_err(failed)?;
        let known = file.metadata().map_err(failed)?;
        Ok(Arc::new(LocalFile { file, length: known.len(), version: version(&known) }))
    }

    fn create(&self, name: &str) -> Result<Box<dyn NewFile>, OfflineError> {
        let path = self.folder.join(name);
        let unavailable = |error: io::Error| OfflineError::from_storage(&path.display().to_string(), &error);
        let no_name = || unavailable(io::Error::other("expected the name of a file"));
        let file_name = path.file_name().ok_or_else(no_name)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unavailable)?;
        if path.is_dir() {
            return Err(unavailable(io::Error::other("expected a file, it is a folder")));
        }
        let hidden = folder.join(format!(".{}.under-way", file_name.to_string_lossy()));
        let file = under_way(&hidden).map_err(unavailable)?;
        let writer = BufWriter::with_capacity(WRITE_BUFFER, file);
        Ok(Box::new(LocalNewFile { writer, hidden: Some(hidden), path: path.clone(), folder: folder.to_owned() }))
    }

    fn check_place(&self, name: &str) -> Result<(), OfflineError> {
        let path = self.folder.join(name);
        let place = || format!("`{}`", path.display());
        match fs::metadata(&path) {
            Ok(known) if !known.is_file() => {
                let reason = format!("expected a place for a file, got {}; give another name", kind(&known));
                return Err(OfflineError::invalid(place(), reason));
            }
            _ => {}
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.file_name().is_none() || !folder.is_dir() {
            let name = format!("`{}` does not exist; make it, or give another place", folder.display());
            return Err(OfflineError::NotFound { what: "folder", name });
        }
        Ok(())
    }

    fn are_same(&self, one: &str, other: &str) -> bool {
        let identity = |name: &str| fs::metadata(self.folder.join(name)).ok().map(|known| (known.dev(), known.ino()));
        identity(one).is_some_and(|found| identity(other) == Some(found))
    }

    fn remove(&self, name: &str) -> Result<bool, OfflineError> {
        match fs::remove_file(self.folder.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(OfflineError::unavailable(name, error)),
        }
    }
}

/// What stands at a path, in words.
fn kind(known: &fs::Metadata) -> &'static str {
    let found = known.file_type();
    match () {
        () if found.is_dir() => "a folder",
        () if found.is_fifo() => "a pipe",
        () if found.is_socket() => "a socket",
        () if found.is_file() => "a file",
        () => "a device",
    }
}

/// A hidden file for one writer: what a killed one left is taken over, what a living one has is not.
fn under_way(hidden: &Path) -> io::Result<File> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(hidden)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process is writing it"),
            TryLockError::Error(error) => error,
        })?;
        // Between opening and locking, its writer may have made it the file itself.
        let still = fs::metadata(hidden).map(|known| known.ino()).ok();
        if still == Some(file.metadata()?.ino()) {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

#[derive(Debug)]
struct LocalFile {
    file: File,
    length: u64,
    version: String,
}

/// Length, time of the last change, and which file it is.
fn version(known: &fs::Metadata) -> String {
    format!("{}-{}.{:09}-{}", known.len(), known.mtime(), known.mtime_nsec(), known.ino())
}

impl RandomRead for LocalFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        // A length out of a damaged file must not become memory.
        let within = start.checked_add(length as u64).is_some_and(|end| end <= self.length);
        if !within {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before"));
        }
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        Ok(buffer.into())
    }
}

#[derive(Debug)]
struct LocalNewFile {
    writer: BufWriter<File>,
    hidden: Option<PathBuf>,
    path: PathBuf,
    folder: PathBuf,
}

impl Write for LocalNewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl NewFile for LocalNewFile {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()?;
        if let Some(hidden) = self.hidden.as_ref() {
            fs::rename(hidden, &self.path)?;
        }
        self.hidden = None;
        File::open(&self.folder)?.sync_all()
    }
}

impl Drop for LocalNewFile {
    fn drop(&mut self) {
        if let Some(hidden) = self.hidden.take() {
            // Nobody is left to tell; the file is hidden from every listing.
            drop(fs::remove_file(hidden));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::fs;
    use std::io::Write as _;

    use super::super::Storage;
    use super::LocalStorage;

    #[test]
    fn paths_mean_files_folders_and_patterns() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["a.parquet", "day=1/b.parquet", "day=2/c.parquet", "day=2/_SUCCESS", "day=2/.c.parquet.crc", "x.csv"]
        {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let storage = LocalStorage::new(folder.path());
        let list = |path: &str| {
            let prefix = format!("{}/", folder.path().display());
            let found = storage.list(path).unwrap();
            found.iter().map(|name| name.trim_start_matches(&prefix).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(list("a.parquet"), ["a.parquet"]);
        assert_eq!(list("."), ["./a.parquet", "./day=1/b.parquet", "./day=2/c.parquet", "./x.csv"]);
        assert_eq!(list("day=*/*.parquet"), ["day=1/b.parquet", "day=2/c.parquet"]);
        assert_eq!(list("**/*.parquet"), ["a.parquet", "day=1/b.parquet", "day=2/c.parquet"]);
        assert_eq!(list(&format!("{}/day=?/*", folder.path().display())), ["day=1/b.parquet", "day=2/c.parquet"]);
        assert!(storage.list("day=3").is_err());
    }

    #[test]
    fn a_file_is_there_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::new(folder.path());
        let mut file = storage.create("deep/x.csv").unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 0);
        // What a killed writer left is no obstacle, and a living one is told.
        fs::write(folder.path().join("deep/.x.csv.under-way"), "longer than what is written").unwrap();
        let mut file = storage.create("deep/x.csv").unwrap();
        assert!(storage.create("deep/x.csv").is_err_and(|error| error.to_string().contains("another process")));
        file.write_all(b"whole").unwrap();
        file.finish().unwrap();
        let file = storage.open("deep/x.csv").unwrap();
        assert_eq!(&file.read(1, 4).unwrap()[..], b"hole");
        assert!(file.read(1, usize::MAX).is_err());
    }

    #[test]
    fn one_file_is_known_by_all_its_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.csv"), "x").unwrap();
        fs::write(folder.path().join("y.csv"), "x").unwrap();
        fs::hard_link(folder.path().join("x.csv"), folder.path().join("hard.csv")).unwrap();
        std::os::unix::fs::symlink("x.csv", folder.path().join("soft.csv")).unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("here")).unwrap();
        let storage = LocalStorage::new(folder.path());
        let whole = folder.path().join("x.csv").display().to_string();
        for same in ["x.csv", "./x.csv", "hard.csv", "soft.csv", "here/x.csv", whole.as_str()] {
            assert!(storage.are_same("x.csv", same) && storage.are_same(same, "x.csv"), "{same}");
        }
        for other in ["y.csv", "z.csv", "", "."] {
            assert!(!storage.are_same("x.csv", other), "{other}");
        }
        assert!(!storage.are_same("z.csv", "z.csv"), "what is not there is no file");
    }

    #[test]
    fn what_is_no_file_and_no_place_for_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let storage = LocalStorage::new(folder.path());
        for (name, told) in [("below", "got a folder"), ("socket", "got a socket")] {
            assert!(storage.open(name).is_err_and(|error| error.to_string().contains(told)), "{name}");
            assert!(storage.check_place(name).is_err_and(|error| error.to_string().contains(told)), "{name}");
        }
        assert!(storage.open("/dev/null").is_err_and(|error| error.to_string().contains("got a device")));
        assert!(
            storage.check_place("away/x.csv").is_err_and(|error| error.to_string().contains("does not exist; make it"))
        );
        storage.check_place("x.csv").unwrap();
        storage.check_place("below/x.csv").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was made");
    }
}
