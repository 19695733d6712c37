//! The files below a folder, as paths that a manifest can hold. Follows no symbolic link.

use std::fs;
use std::io::Read as _;
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

/// Gives a file outside the registry to `take`, block by block.
pub(crate) fn read_blocks(
    path: &str,
    place: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), RegistryError>,
) -> Result<(), RegistryError> {
    let mut source = fs::File::open(place).map_err(|error| unreadable(path, &error))?;
    let mut block = vec![0; BLOCK];
    loop {
        match source.read(&mut block).map_err(|error| unreadable(path, &error))? {
            0 => return Ok(()),
            read => take(&block[..read])?,
        }
    }
}
