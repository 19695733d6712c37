//! What lies in a model repository, as a lock file sees it: digests of versions, and of the files beside them.
//!
//! Reads every byte: seconds for gigabytes. A model or version folder may be a symbolic link; what lies in them may not.

use std::collections::BTreeMap;
use std::path::Path;

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::export::files_of;
use crate::manifest::digest_of_files;
use crate::walk::{unreadable, version_number};

/// Most files of a version or beside the versions.
const MOST_FILES: usize = 100_000;

/// A model as it lies in a model repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundModel {
    /// Digest of the manifest of the files beside its versions.
    pub beside: Option<Digest>,
    /// Digests of its versions' manifests by number; an empty folder has one too.
    pub versions: BTreeMap<u64, Digest>,
}

/// Reads every model of the repositories: folders that have a configuration or a version, as the server sees it.
///
/// # Errors
/// `InvalidArgument`: something cannot be read; a symbolic link or a name that no manifest can hold; a model that several
/// repositories have.
pub fn find_models<'a>(
    repositories: impl IntoIterator<Item = &'a Path>,
) -> Result<BTreeMap<String, FoundModel>, RegistryError> {
    let mut found = BTreeMap::new();
    for repository in repositories {
        for (name, path) in folders(repository)? {
            let Some(model) = find_model(&path)? else { continue };
            if found.insert(name.clone(), model).is_some() {
                return Err(RegistryError::invalid("model", format!("`{name}` is in several repositories")));
            }
        }
    }
    Ok(found)
}

/// Reads one model's folder; `None` when it is none: it has neither a configuration nor a version.
///
/// # Errors
/// `InvalidArgument`: something cannot be read, a symbolic link, a name that no manifest can hold.
pub fn find_model(folder: &Path) -> Result<Option<FoundModel>, RegistryError> {
    let mut model = FoundModel::default();
    for (name, path) in folders(folder)? {
        if let Some(number) = version_number(&name) {
            model.versions.insert(number, digest_of_files(&files_of(&path, MOST_FILES, |_| false)?));
        }
    }
    if model.versions.is_empty() && !folder.join("config.pbtxt").is_file() {
        return Ok(None);
    }
    let beside = files_of(folder, MOST_FILES, |name| version_number(name).is_some())?;
    model.beside = (!beside.is_empty()).then(|| digest_of_files(&beside));
    Ok(Some(model))
}

/// The folders in a folder, by name; those behind symbolic links too.
fn folders(folder: &Path) -> Result<Vec<(String, std::path::PathBuf)>, RegistryError> {
    let shown = folder.file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(&shown, &error))? {
        let path = entry.map_err(|error| unreadable(&shown, &error))?.path();
        if path.is_dir() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(RegistryError::invalid("path", "expected names in UTF-8"));
            };
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}
