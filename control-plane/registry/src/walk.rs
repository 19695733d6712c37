//! The files below a folder, as paths that a manifest can hold. Follows no symbolic link.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::RegistryError;
use crate::names::check_path;

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
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(RegistryError::invalid("path", "expected names in UTF-8"));
            };
            if prefix.is_empty() && skip(&name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            check_path(&path)?;
            let kind = entry.file_type()?;
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
