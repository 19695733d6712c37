//! Folders in which an installed Python package called `onnxruntime` keeps the library.
//!
//! Python itself is never run: its folders follow from where its executable lies.

use std::path::{Path, PathBuf};

use super::LibrarySearch;

/// Pythons on `PATH` that are looked at; more than a handful are copies of each other.
const MAXIMUM_PYTHONS: usize = 8;

/// Folders that exist, nearest first.
pub(super) fn package_folders(search: &LibrarySearch) -> Vec<PathBuf> {
    let mut prefixes: Vec<PathBuf> = search.virtual_environment.iter().cloned().collect();
    prefixes.extend(search.working_directory.as_ref().map(|directory| directory.join(".venv")));
    for directory in search.path_directories.iter().filter(|directory| has_python(directory)).take(MAXIMUM_PYTHONS) {
        prefixes.extend(prefixes_of(directory));
    }
    prefixes.extend(search.home_directory.as_ref().map(|directory| directory.join(".local")));

    let mut folders: Vec<PathBuf> = Vec::new();
    for prefix in prefixes {
        for folder in capi_folders(&prefix) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

fn has_python(directory: &Path) -> bool {
    ["python3", "python"].iter().any(|name| directory.join(name).is_file())
}

/// Installation prefixes of the Python whose executable is in `directory`: that of a virtual environment, that which
/// the executable links to, and behind pyenv's shims the version that pyenv chose for everybody.
fn prefixes_of(directory: &Path) -> Vec<PathBuf> {
    let mut prefixes = Vec::new();
    if directory.ends_with("shims") {
        let Some(root) = directory.parent() else { return prefixes };
        let chosen = std::fs::read_to_string(root.join("version")).unwrap_or_default();
        prefixes.extend(chosen.split_whitespace().map(|version| root.join("versions").join(version)));
        return prefixes;
    }
    prefixes.extend(directory.parent().map(Path::to_owned));
    let target = std::fs::canonicalize(directory.join("python3")).ok();
    prefixes.extend(target.as_deref().and_then(Path::parent).and_then(Path::parent).map(Path::to_owned));
    prefixes
}

fn capi_folders(prefix: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(prefix.join("lib")).into_iter().flatten().filter_map(Result::ok);
    let mut libraries: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("python3")))
        .map(|entry| entry.path())
        .collect();
    libraries.sort();
    let folders = libraries.iter().rev().flat_map(|library| {
        ["site-packages", "dist-packages"].map(|packages| library.join(packages).join("onnxruntime").join("capi"))
    });
    folders.filter(|folder| folder.is_dir()).collect()
}
