//! The files below a folder, as paths that a manifest can hold, and their content. Follows no symbolic link.
//!
//! The invariant: what is given out as a file's content lay there at one moment, as far as the file system can tell.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::RegistryError;
use crate::names::check_path;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Every file below `root` by relative path, in order; `skip` tells which entries of `root` itself are passed over.
///
/// # Errors
/// `InvalidArgument`: a symbolic link, a device, a name that no manifest can hold. `ResourceExhausted`: more than `most`.
pub(crate) fn files_below(
    root: &Path,
    most: usize,
    skip: impl Fn(&str) -> bool,
) -> Result<Vec<(String, PathBuf)>, RegistryError> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), root.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let unreadable = |error| unreadable(if prefix.is_empty() { "." } else { &prefix }, &error);
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(RegistryError::invalid("path", "expected names in UTF-8"));
            };
            if prefix.is_empty() && skip(&name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            check_path(&path)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                folders.push((format!("{path}/"), entry.path()));
            } else if kind.is_file() {
                found.push((path, entry.path()));
            } else {
                let reason = format!("expected plain files and folders, `{path}` is neither");
                return Err(RegistryError::invalid("path", reason));
            }
            if found.len() > most {
                let (limit, actual) = (most as u64, found.len() as u64);
                return Err(RegistryError::LimitReached { what: "files", limit, actual });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The number of a version folder, as the server reads it: decimal, above 0, without a leading zero.
pub(crate) fn version_number(name: &str) -> Option<u64> {
    let plain = !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
    if plain { name.parse().ok() } else { None }
}

/// What is said of a file or folder outside the registry that cannot be read.
pub(crate) fn unreadable(path: &str, error: &std::io::Error) -> RegistryError {
    RegistryError::invalid("path", format!("`{path}` cannot be read: {error}"))
}

/// What changes when a file's content does: which file it is, its size, and when content and inode were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileState([i64; 4], [u64; 3]);

impl FileState {
    fn of(found: &Metadata) -> Self {
        let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        Self(times, [found.dev(), found.ino(), found.len()])
    }

    /// Whether the file at `place` is as it was.
    pub(crate) fn still_holds(&self, place: &Path) -> bool {
        fs::metadata(place).is_ok_and(|found| Self::of(&found) == *self)
    }
}

/// Opens a file that is neither a folder nor a device nor a pipe: those have no content that could be told from the next.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn open_plain(path: &str, place: &Path) -> Result<(File, FileState), RegistryError> {
    let unreadable = |error| unreadable(path, &error);
    // Before it is opened: that of a pipe waits for somebody to write.
    let found = fs::metadata(place).map_err(unreadable)?;
    if !found.is_file() {
        return Err(RegistryError::invalid("path", format!("expected a plain file, `{path}` is none")));
    }
    let file = File::open(place).map_err(unreadable)?;
    let state = FileState::of(&file.metadata().map_err(unreadable)?);
    Ok((file, state))
}

/// Gives a file outside the registry to `take`, block by block. Returns its state, before as after.
///
/// # Errors
/// `InvalidArgument`: it cannot be read, or is no plain file. `Unavailable`: somebody changed it meanwhile. What `take` fails
/// with.
pub(crate) fn read_blocks(
    path: &str,
    place: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), RegistryError>,
) -> Result<FileState, RegistryError> {
    let (mut source, state) = open_plain(path, place)?;
    let unreadable = |error| unreadable(path, &error);
    let mut block = vec![0; BLOCK];
    loop {
        match source.read(&mut block).map_err(unreadable)? {
            0 => break,
            read => take(&block[..read])?,
        }
    }
    if FileState::of(&source.metadata().map_err(unreadable)?) != state || !state.still_holds(place) {
        return Err(RegistryError::Changed { path: path.to_owned() });
    }
    Ok(state)
}
