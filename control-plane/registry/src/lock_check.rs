//! Whether what lies in a model repository is what a lock file pins: a pure comparison.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::digest::Digest;
use crate::lock_file::LockFile;
use crate::model_folder::FoundModel;

/// Why what lies in a repository must not be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
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

/// What keeps a model from being served under this lock file; empty: it is exactly what the lock file pins.
#[must_use]
pub fn check_model(lock: &LockFile, model: &str, found: &FoundModel) -> Vec<LockProblem> {
    let Some(locked) = lock.models.get(model) else {
        return vec![LockProblem::ModelNotLocked { model: model.to_owned() }];
    };
    let mut problems = Vec::new();
    let mut compare = |version, expected: Option<Digest>, actual: Option<Digest>| {
        if expected != actual {
            problems.push(LockProblem::Differs { model: model.to_owned(), version, expected, actual });
        }
    };
    compare(None, locked.beside, found.beside);
    for (version, actual) in &found.versions {
        if let Some(expected) = locked.versions.get(version) {
            compare(Some(*version), Some(expected.digest), Some(*actual));
        }
    }
    for version in found.versions.keys().filter(|version| !locked.versions.contains_key(version)) {
        problems.push(LockProblem::VersionNotLocked { model: model.to_owned(), version: *version });
    }
    for version in locked.versions.keys().filter(|version| !found.versions.contains_key(version)) {
        problems.push(LockProblem::Missing { model: model.to_owned(), version: Some(*version) });
    }
    problems
}

/// What keeps the models that were found from being served under this lock file; empty: they are exactly what it pins.
#[must_use]
pub fn check_locked(lock: &LockFile, found: &BTreeMap<String, FoundModel>) -> Vec<LockProblem> {
    let mut problems: Vec<LockProblem> =
        found.iter().flat_map(|(model, found)| check_model(lock, model, found)).collect();
    let missing = lock.models.keys().filter(|model| !found.contains_key(*model));
    problems.extend(missing.map(|model| LockProblem::Missing { model: model.clone(), version: None }));
    problems
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn any_models() -> impl Strategy<Value = BTreeMap<String, FoundModel>> {
        let digest = || (0_u8..2).prop_map(|seed| Digest::of(&[seed]));
        let versions = prop::collection::btree_map(1_u64..4, digest(), 0..3);
        let model =
            (prop::option::of(digest()), versions).prop_map(|(beside, versions)| FoundModel { beside, versions });
        prop::collection::btree_map("[a-c]", model, 0..3)
    }

    fn lock(found: &BTreeMap<String, FoundModel>) -> LockFile {
        LockFile::pin(found, |_, _, _| None)
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
