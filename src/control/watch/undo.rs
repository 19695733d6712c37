//! What has to be undone in a model repository when a version that is being brought does not come into service.
//!
//! Written before anything is touched and removed when the version is ready: whoever finds it, after a failure or a kill at
//! any point, takes back what it tells and has the repository as it was. Taking back may be repeated.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hanok_registry::{ErrorCode, Registry, VersionName};
use serde::{Deserialize, Serialize};

use crate::pulling::write_whole;

/// What was there before.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    /// The version that is being laid, by its number in the registry; `None`: its folder was there.
    laid: Option<u64>,
    /// The model's `config.pbtxt`; `None`: there was none.
    configuration: Option<String>,
}

impl Undo {
    /// Notes what is there before `version` is laid beside it, durably. `configuration` is the text of `config.pbtxt`.
    ///
    /// # Errors
    /// A text for the operator; then nothing may be touched.
    pub(super) fn note(root: &Path, model: &str, version: u64, configuration: Option<String>) -> Result<(), String> {
        let laid = (!root.join(model).join(version.to_string()).exists()).then_some(version);
        let text = serde_json::to_string(&Self { laid, configuration }).map_err(|error| error.to_string())?;
        fs::create_dir_all(root)
            .and_then(|()| write_whole(&place(root, model), &text))
            .map_err(|error| format!("what is to be changed in the model repository cannot be noted: {error} (disk)"))
    }

    /// Forgets it: the version is in service.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn forget(root: &Path, model: &str) -> Result<(), String> {
        remove(&place(root, model))
            .map_err(|error| format!("the model repository cannot be written to: {error} (disk)"))
    }

    /// Takes back what was not finished; `false`: there is nothing of the kind. Blocks.
    ///
    /// # Errors
    /// A text for the operator; then it is still noted, and may be tried again.
    pub(super) fn take_back(root: &Path, model: &str, registry: &Registry) -> Result<bool, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("what was begun in the model repository cannot be taken back, and is tried again: {error} (disk)")
        };
        let note = place(root, model);
        let text = match fs::read_to_string(&note) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(&error)),
        };
        let undo: Self = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        let folder = root.join(model);
        registry.sweep_exports(root).map_err(|error| failed(&error))?;
        // The version first: a configuration that names one more than there are lets the others serve.
        let mut unknown = false;
        if let Some(number) = undo.laid.filter(|number| folder.join(number.to_string()).exists()) {
            let version = VersionName { model: model.to_owned(), number };
            match registry.withdraw(&version, root, model) {
                Ok(true) => {}
                // Then it is not what was laid, and whoever put it there decides.
                Ok(false) => {
                    tracing::warn!(model, version = number, "a version folder that is not the registry's stays")
                }
                Err(error) if error.code() == ErrorCode::NotFound => {
                    unknown = true;
                    tracing::warn!(
                        model,
                        version = number,
                        "a version folder stays, for the registry knows it no more"
                    );
                }
                Err(error) => return Err(failed(&error)),
            }
        }
        // Without any configuration the version that stays would be the one that serves.
        if !(unknown && undo.configuration.is_none()) {
            restore(&folder, undo.configuration.as_deref()).map_err(|error| failed(&error))?;
        }
        remove(&note).map_err(|error| failed(&error))?;
        Ok(true)
    }
}

fn restore(folder: &Path, configuration: Option<&str>) -> io::Result<()> {
    let path = folder.join("config.pbtxt");
    remove(&path.with_extension("partial"))?;
    let Some(text) = configuration else {
        remove(&path)?;
        // Where it was made for this version; it is kept where anything is in it.
        return match fs::remove_dir(folder) {
            Err(error)
                if error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::DirectoryNotEmpty =>
            {
                Err(error)
            }
            _ => Ok(()),
        };
    };
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) { Ok(()) } else { write_whole(&path, text) }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file beside the models: in the model's own folder it would look like a change of the versions that serve.
fn place(root: &Path, model: &str) -> PathBuf {
    root.join(format!(".hanok-watch-{model}.json"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use hanok_registry::{Actor, Digest, Origin, Provenance, RegistrySettings, VersionFacts};
    use hanok_state::Timestamp;

    use super::*;

    /// Every file below `folder`, with what is in it.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
                found.insert(path, Vec::new());
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        found
    }

    #[test]
    fn wherever_it_stops_everything_is_as_it_was() {
        let there = tempfile::tempdir().unwrap();
        let registry = Registry::open(&there.path().join("registry"), RegistrySettings::default()).unwrap();
        let now = Timestamp::default();
        let fetched = there.path().join("fetched");
        fs::create_dir_all(&fetched).unwrap();
        for (number, bytes) in [(1_u64, "one"), (2, "two")] {
            fs::write(fetched.join("model.onnx"), bytes).unwrap();
            let digests = [("model.onnx".to_owned(), Digest::of(bytes.as_bytes()))].into();
            let origin = Origin { asked: format!("mlflow://m/{number}"), pinned: format!("mlflow://m/{number}") };
            let provenance = Provenance { origin, revision: None, digests, facts: VersionFacts::default() };
            let actor = Actor::new("watch".to_owned(), now).unwrap();
            let registered = registry.import_fetched("m", &fetched, &provenance, &actor).unwrap();
            assert_eq!(registered.version.name.number, number);
        }
        let lay = |root: &Path, number| {
            let version = VersionName { model: "m".to_owned(), number };
            registry.export_files(&version.into(), root, Some("m"), now).unwrap();
        };
        for earlier in [None, Some("# one\n".to_owned())] {
            // Killed before the configuration was written, before the version was laid, before it was ready.
            for steps in 0..3 {
                let root = there.path().join(format!("{}-{steps}", earlier.is_some()));
                fs::create_dir_all(&root).unwrap();
                if let Some(text) = &earlier {
                    lay(&root, 1);
                    fs::write(root.join("m/config.pbtxt"), text).unwrap();
                }
                let before = files(&root);
                Undo::note(&root, "m", 2, earlier.clone()).unwrap();
                if steps > 0 {
                    fs::create_dir_all(root.join("m")).unwrap();
                    write_whole(&root.join("m/config.pbtxt"), "# both\n").unwrap();
                }
                if steps > 1 {
                    lay(&root, 2);
                }
                assert_eq!(Undo::take_back(&root, "m", &registry), Ok(true));
                assert_eq!(files(&root), before, "{earlier:?} {steps}");
                assert_eq!(Undo::take_back(&root, "m", &registry), Ok(false));
            }
        }
        let root = there.path().join("true-2");
        // What is in service is not taken back; nor what was there before.
        lay(&root, 2);
        let before = files(&root);
        Undo::note(&root, "m", 2, Some("# one\n".to_owned())).unwrap();
        assert_eq!(Undo::take_back(&root, "m", &registry), Ok(true));
        assert_eq!(files(&root), before);
        Undo::note(&root, "m", 3, None).unwrap();
        Undo::forget(&root, "m").unwrap();
        assert_eq!((Undo::take_back(&root, "m", &registry), files(&root)), (Ok(false), before));
    }
}
