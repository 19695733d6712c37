//! From a folder of this machine to a version: what a person adds, and what a source has fetched.
//!
//! The seam to whatever fetches: it brings files to a folder and tells their [`Provenance`]; nothing else is known of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, DigestBuilder};
use crate::error::RegistryError;
use crate::import::Registered;
use crate::names::VersionName;
use crate::registry::Registry;
use crate::rows;
use crate::version::{Actor, Origin, VersionFacts};
use crate::walk::{FileState, files_below, read_blocks, unreadable, version_number};

/// The file of a version that belongs beside a model's versions.
pub(crate) const CONFIGURATION: &str = "config.pbtxt";

/// Files of this machine that are to become a version.
#[derive(Clone, Debug)]
pub struct LocalFiles {
    /// A file, or a folder of which every file is taken.
    pub path: PathBuf,
    /// The model's `config.pbtxt`, where it does not lie in the folder.
    pub configuration: Option<PathBuf>,
}

/// What a source tells about the files that it has fetched.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// What was asked for, and the reference that it stood for: one that does not move.
    pub origin: Origin,
    /// Digest of what tells these files from others that the pinned reference may name, elsewhere or later; `None` where
    /// the source promises that of nothing.
    pub revision: Option<Digest>,
    /// What must be there, by path, and nothing else; empty where the source promises nothing.
    pub digests: BTreeMap<String, Digest>,
    /// What else the source tells; its `origin` is replaced by the one above.
    pub facts: VersionFacts,
}

impl Registry {
    /// Registers files of this machine as the next version of `model`. It is never evicted: nothing tells where it could be
    /// had again.
    ///
    /// # Errors
    /// As of [`Import::file`](crate::Import::file) and [`Import::register`](crate::Import::register); `NotFound` when there
    /// is nothing at the path; `InvalidArgument`: a file cannot be read or is no plain file, the folder is a model's and
    /// not a version's, or the facts tell an origin; `Unavailable`: somebody changed a file or the folder meanwhile.
    pub fn add(
        &self,
        model: &str,
        files: &LocalFiles,
        facts: &VersionFacts,
        actor: &Actor,
    ) -> Result<Registered, RegistryError> {
        if facts.origin.is_some() {
            // It would make the version evictable, and nobody fetched it.
            return Err(RegistryError::invalid("origin", "expected none: these are files of this machine"));
        }
        self.import_files(model, files, &BTreeMap::new(), facts, actor)
    }

    /// Registers the files that a source has brought to `folder` as the next version of `model`, if they are what it
    /// promised; the next time that the source tells this revision, [`Registry::pulled`] finds it. The folder is read and
    /// left as it is. It may be evicted when nobody uses it.
    ///
    /// # Errors
    /// As of [`Registry::add`]; `DataLoss`: a file is missing, is one too many or is not what was promised.
    pub fn import_fetched(
        &self,
        model: &str,
        folder: &Path,
        provenance: &Provenance,
        actor: &Actor,
    ) -> Result<Registered, RegistryError> {
        let facts = VersionFacts { origin: Some(provenance.origin.clone()), ..provenance.facts.clone() };
        let files = LocalFiles { path: folder.to_owned(), configuration: None };
        let registered = self.import_files(model, &files, &provenance.digests, &facts, actor)?;
        // By itself: whoever is killed before it fetches once more, and finds the same version.
        if let Some(revision) = &provenance.revision {
            self.write(|transaction| rows::add_revision(transaction, &registered.version.name, revision))?;
        }
        Ok(registered)
    }

    /// The version of `model` that was pulled from this pinned reference when the source told this revision of it, if its
    /// files are here: what need not be fetched.
    ///
    /// # Errors
    /// None of its own.
    pub fn pulled(&self, model: &str, pinned: &str, revision: &Digest) -> Result<Option<VersionName>, RegistryError> {
        let number = self.read(|transaction| rows::with_revision(transaction, model, pinned, revision))?;
        Ok(number.map(|number| VersionName { model: model.to_owned(), number }))
    }

    fn import_files(
        &self,
        model: &str,
        files: &LocalFiles,
        promised: &BTreeMap<String, Digest>,
        facts: &VersionFacts,
        actor: &Actor,
    ) -> Result<Registered, RegistryError> {
        crate::names::check_name("model", model)?;
        let found = self.list(files)?;
        check_promised(promised, &found)?;
        let mut import = self.import()?;
        let mut states = Vec::with_capacity(found.len());
        for (path, place) in &found {
            let mut file = import.file(path)?;
            states.push(read_blocks(path, place, |block| file.write(block))?);
            let actual = import.finish(file)?.digest;
            if let Some(expected) = promised.get(path).filter(|expected| **expected != actual) {
                let (expected, actual) = (Some(*expected), Some(actual));
                return Err(RegistryError::DigestMismatch { what: path.clone(), expected, actual });
            }
        }
        self.check_unchanged(files, &found, &states)?;
        import.register(model, facts, actor)
    }

    /// Whether everything still lies there as it was when it was read: files of one version may not be of two moments.
    fn check_unchanged(
        &self,
        files: &LocalFiles,
        found: &[(String, PathBuf)],
        states: &[FileState],
    ) -> Result<(), RegistryError> {
        let changed = found.iter().zip(states).find(|((_, place), state)| !state.still_holds(place));
        if let Some(((path, _), _)) = changed {
            return Err(RegistryError::Changed { path: path.clone() });
        }
        if self.list(files)? != found {
            return Err(RegistryError::Changed { path: shown(&files.path) });
        }
        Ok(())
    }

    fn list(&self, files: &LocalFiles) -> Result<Vec<(String, PathBuf)>, RegistryError> {
        let shown = || shown(&files.path);
        let mut found = match std::fs::metadata(&files.path) {
            Ok(metadata) if metadata.is_dir() => files_below(&files.path, self.settings.max_files, |_| false)?,
            Ok(metadata) if metadata.is_file() => vec![(shown(), files.path.clone())],
            Ok(_) => {
                let reason = format!("expected a plain file or a folder, `{}` is neither", shown());
                return Err(RegistryError::invalid("path", reason));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(RegistryError::not_found("path", shown()));
            }
            Err(error) => return Err(unreadable(&shown(), &error)),
        };
        if let Some(number) = version_folder(&found) {
            let reason = format!(
                "expected the files of one version, got a model's folder with the version folder `{number}`; name that folder"
            );
            return Err(RegistryError::invalid("path", reason));
        }
        if let Some(configuration) = &files.configuration {
            found.push((CONFIGURATION.to_owned(), configuration.clone()));
        }
        Ok(found)
    }
}

/// A path outside the registry, as it is told.
fn shown(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or(".").to_owned()
}

/// The first version folder, where what was found looks like a whole model: its configuration beside numbered folders, or
/// nothing but numbered folders.
fn version_folder(found: &[(String, PathBuf)]) -> Option<u64> {
    let number = |path: &str| path.split_once('/').and_then(|(folder, _)| version_number(folder));
    let first = found.iter().find_map(|(path, _)| number(path))?;
    let whole =
        found.iter().any(|(path, _)| path == CONFIGURATION) || found.iter().all(|(path, _)| number(path).is_some());
    whole.then_some(first)
}

/// Whether exactly the promised files are there; their content is looked at while they are read.
fn check_promised(promised: &BTreeMap<String, Digest>, found: &[(String, PathBuf)]) -> Result<(), RegistryError> {
    if promised.is_empty() {
        return Ok(());
    }
    let mut missing = promised.clone();
    for (path, place) in found {
        if missing.remove(path).is_none() {
            let actual = Some(digest_of(path, place)?);
            return Err(RegistryError::DigestMismatch { what: path.clone(), expected: None, actual });
        }
    }
    match missing.pop_first() {
        Some((what, digest)) => Err(RegistryError::DigestMismatch { what, expected: Some(digest), actual: None }),
        None => Ok(()),
    }
}

fn digest_of(path: &str, place: &Path) -> Result<Digest, RegistryError> {
    let mut digest = DigestBuilder::default();
    read_blocks(path, place, |block| {
        digest.update(block);
        Ok(())
    })?;
    Ok(digest.finish())
}
