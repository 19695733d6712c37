//! Lock files: the models that may be served, pinned by digest, and where each can be had again. Reading and writing them.
//!
//! A text that is reviewed and kept under version control: the same models give the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::folder::sync_folder;
use crate::model_folder::FoundModel;
use crate::unique_keys::unique_keys;

/// What a lock file calls itself.
const LOCK_FORMAT: &str = "hanok.lock/1";
/// Largest lock file, in bytes.
const LARGEST: u64 = 64 << 20;

/// The content of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// `hanok.lock/1`.
    pub format: String,
    /// The models that may be served, by name.
    #[serde(deserialize_with = "unique_keys")]
    pub models: BTreeMap<String, LockedModel>,
}

/// A model that may be served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedModel {
    /// Digest of the manifest of the files beside its versions, such as its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Digest>,
    /// Its versions by number.
    #[serde(deserialize_with = "unique_keys")]
    pub versions: BTreeMap<u64, LockedVersion>,
}

/// A version that may be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedVersion {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Where it can be had again: the reference it was pulled by, which does not move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl LockFile {
    /// Pins the models that were found; `source` tells where a version (model, number, digest) can be had again.
    #[must_use]
    pub fn pin(found: &BTreeMap<String, FoundModel>, source: impl Fn(&str, u64, &Digest) -> Option<String>) -> Self {
        let version =
            |model: &str, number: u64, digest: Digest| LockedVersion { digest, source: source(model, number, &digest) };
        let model = |(name, found): (&String, &FoundModel)| {
            let versions = found.versions.iter().map(|(number, digest)| (*number, version(name, *number, *digest)));
            (name.clone(), LockedModel { beside: found.beside, versions: versions.collect() })
        };
        Self { format: LOCK_FORMAT.to_owned(), models: found.iter().map(model).collect() }
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument`: it cannot be read, is no lock file, or is one of another form.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let shown = shown(path);
        let refuse = |reason: String| RegistryError::invalid("lock file", format!("`{shown}`: {reason}"));
        // Before it is opened: that of a pipe waits for somebody to write.
        let file = match fs::metadata(path) {
            Ok(found) if !found.is_file() => return Err(refuse("expected a plain file".to_owned())),
            Ok(_) => File::open(path).map_err(|error| refuse(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(RegistryError::not_found("lock file", shown));
            }
            Err(error) => return Err(refuse(error.to_string())),
        };
        let mut text = String::new();
        let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| refuse(error.to_string()))?;
        if read as u64 > LARGEST {
            return Err(refuse(format!("expected at most {LARGEST} bytes")));
        }
        let lock: Self = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        if lock.format != LOCK_FORMAT {
            return Err(refuse(format!("expected format `{LOCK_FORMAT}`, got `{}`", lock.format.escape_debug())));
        }
        Ok(lock)
    }

    /// Writes the lock file in place of the one that is there, if any: whole, or not at all.
    ///
    /// # Errors
    /// `NotFound`: there is no folder for it. `InvalidArgument`: something else than a file is there. `ResourceExhausted`: its
    /// disk is full. `Unsupported`: it must not be written there.
    pub fn write(&self, path: &Path) -> Result<(), RegistryError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(RegistryError::not_found("folder of lock file", shown(path)));
        }
        if path.file_name().is_none() || fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(RegistryError::invalid("lock file", format!("`{}`: expected a plain file", shown(path))));
        }
        self.replace(path, folder).map_err(|error| RegistryError::from(error).of_lock_file())
    }

    fn replace(&self, path: &Path, folder: &Path) -> io::Result<()> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = Removed(PathBuf::from(fresh));
        let mut file = File::create(&fresh.0)?;
        file.write_all(self.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh.0, path)?;
        sync_folder(folder)
    }
}

impl std::fmt::Display for LockFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string_pretty(self).map_err(|_| std::fmt::Error)?;
        writeln!(formatter, "{text}")
    }
}

fn shown(path: &Path) -> String {
    path.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A file that goes when its value does, if it is still there under this name.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
