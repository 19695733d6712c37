//! Lock files: the models that may be served, pinned by digest. The check is pure; finding what lies in a repository is not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::export::manifest_of;

/// What a lock file calls itself.
pub const LOCK_FORMAT: &str = "hanok.lock/1";
/// Most files of a version or beside the versions.
const MOST_FILES: usize = 100_000;

/// The content of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// [`LOCK_FORMAT`].
    pub format: String,
    /// The models that may be served, by name.
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

/// A model as it lies in a model repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundModel {
    /// Digest of the manifest of the files beside its versions.
    pub beside: Option<Digest>,
    /// Digests of its versions' manifests by number; `None`: an empty folder.
    pub versions: BTreeMap<u64, Option<Digest>>,
}

/// Why what lies in a repository must not be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockProblem {
    /// The lock file does not name the model.
    ModelNotLocked {
        /// Which.
        model: String,
    },
    /// The lock file does not name the version.
    VersionNotLocked {
        /// Which model.
        model: String,
        /// Which version.
        version: u64,
    },
    /// The lock file names a model or a version that is not here.
    Missing {
        /// Which model.
        model: String,
        /// Which version; `None`: the whole model.
        version: Option<u64>,
    },
    /// The content is not what the lock file says.
    Differs {
        /// Which model.
        model: String,
        /// Which version; `None`: the files beside the versions.
        version: Option<u64>,
        /// The locked digest.
        expected: Option<Digest>,
        /// The digest found.
        actual: Option<Digest>,
    },
}

impl fmt::Display for LockProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |model: &str, version: &Option<u64>| match version {
            Some(version) => format!("version {version} of model `{model}`"),
            None => format!("model `{model}`"),
        };
        match self {
            Self::ModelNotLocked { model } => write!(formatter, "model `{model}` is not in the lock file"),
            Self::VersionNotLocked { model, version } => {
                write!(formatter, "version {version} of model `{model}` is not in the lock file")
            }
            Self::Missing { model, version } => {
                write!(formatter, "{} is in the lock file but not here", named(model, version))
            }
            Self::Differs { model, version, expected, actual } => {
                let digest = |digest: &Option<Digest>| digest.map_or("no files".to_owned(), |found| found.to_string());
                let what =
                    if version.is_some() { named(model, version) } else { format!("configuration of model `{model}`") };
                write!(formatter, "{what}: expected `{}`, found `{}`", digest(expected), digest(actual))
            }
        }
    }
}

/// What keeps the models that were found from being served under this lock file; empty: they are exactly what it pins.
#[must_use]
pub fn check_locked(lock: &LockFile, found: &BTreeMap<String, FoundModel>) -> Vec<LockProblem> {
    let mut problems = Vec::new();
    for (model, found) in found {
        let Some(locked) = lock.models.get(model) else {
            problems.push(LockProblem::ModelNotLocked { model: model.clone() });
            continue;
        };
        let mut compare = |version, expected: Option<Digest>, actual: Option<Digest>| {
            if expected != actual {
                problems.push(LockProblem::Differs { model: model.clone(), version, expected, actual });
            }
        };
        compare(None, locked.beside, found.beside);
        for (version, actual) in &found.versions {
            if let Some(expected) = locked.versions.get(version) {
                compare(Some(*version), Some(expected.digest), *actual);
            }
        }
        for version in found.versions.keys().filter(|version| !locked.versions.contains_key(version)) {
            problems.push(LockProblem::VersionNotLocked { model: model.clone(), version: *version });
        }
    }
    for (model, locked) in &lock.models {
        match found.get(model) {
            None => problems.push(LockProblem::Missing { model: model.clone(), version: None }),
            Some(found) => {
                for version in locked.versions.keys().filter(|version| !found.versions.contains_key(version)) {
                    problems.push(LockProblem::Missing { model: model.clone(), version: Some(*version) });
                }
            }
        }
    }
    problems
}

/// Reads every model of a model repository: folders by name, versions by number, everything else beside them.
///
/// # Errors
/// `InvalidArgument`: a symbolic link or a name that no manifest can hold; a model that several folders have.
pub fn find_models<'a>(
    repositories: impl IntoIterator<Item = &'a Path>,
) -> Result<BTreeMap<String, FoundModel>, RegistryError> {
    let mut found = BTreeMap::new();
    for repository in repositories {
        for entry in std::fs::read_dir(repository)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(RegistryError::invalid("path", "expected names in UTF-8"));
            };
            let path = entry.path();
            if !path.is_dir() {
                continue;
            }
            let mut model = FoundModel::default();
            for entry in std::fs::read_dir(&path)? {
                let entry = entry?;
                if let Some(number) =
                    entry.file_name().to_str().and_then(version_number).filter(|_| entry.path().is_dir())
                {
                    let manifest = manifest_of(&entry.path(), MOST_FILES, |_| false)?;
                    model.versions.insert(number, manifest.map(|manifest| manifest.digest()));
                }
            }
            if model.versions.is_empty() && !path.join("config.pbtxt").is_file() {
                continue;
            }
            let beside = manifest_of(&path, MOST_FILES, |name| version_number(name).is_some())?;
            model.beside = beside.map(|manifest| manifest.digest());
            if found.insert(name.clone(), model).is_some() {
                return Err(RegistryError::invalid("model", format!("`{name}` is in several repositories")));
            }
        }
    }
    Ok(found)
}

/// As the server reads version folders: decimal, above 0, without a leading zero.
fn version_number(name: &str) -> Option<u64> {
    let plain = !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
    if plain { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn any_models() -> impl Strategy<Value = BTreeMap<String, FoundModel>> {
        let digest = || (0_u8..2).prop_map(|seed| Digest::of(&[seed]));
        let versions = prop::collection::btree_map(1_u64..4, digest().prop_map(Some), 0..3);
        let model =
            (prop::option::of(digest()), versions).prop_map(|(beside, versions)| FoundModel { beside, versions });
        prop::collection::btree_map("[a-c]", model, 0..3)
    }

    fn lock(found: &BTreeMap<String, FoundModel>) -> LockFile {
        let locked = |found: &FoundModel| LockedModel {
            beside: found.beside,
            versions: found
                .versions
                .iter()
                .map(|(number, digest)| (*number, LockedVersion { digest: digest.unwrap(), source: None }))
                .collect(),
        };
        let models = found.iter().map(|(name, found)| (name.clone(), locked(found))).collect();
        LockFile { format: LOCK_FORMAT.to_owned(), models }
    }

    proptest! {
        #[test]
        fn only_what_was_locked_passes(one in any_models(), other in any_models()) {
            prop_assert_eq!(check_locked(&lock(&one), &one), []);
            prop_assert_eq!(check_locked(&lock(&one), &other).is_empty(), one == other);
            let text = serde_json::to_string(&lock(&one)).unwrap();
            prop_assert_eq!(serde_json::from_str::<LockFile>(&text).unwrap(), lock(&one));
        }
    }
}
