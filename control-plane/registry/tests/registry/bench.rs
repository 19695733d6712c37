//! What the tests stand on: a registry in a folder of its own, and short words for what is done with it.

use std::path::{Path, PathBuf};

use hanok_registry::{
    Actor, LocalFiles, Origin, Registered, Registry, RegistryError, RegistrySettings, Stage, StageMove, Version,
    VersionFacts, VersionReference,
};
use hanok_state::Timestamp;
use tempfile::TempDir;

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) registry: Registry,
}

impl Bench {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("registry"), settings).unwrap();
        Self { folder, registry }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    /// Registers files as the next version.
    pub(crate) fn register(
        &self,
        model: &str,
        files: &[(&str, &[u8])],
        facts: &VersionFacts,
        now: i64,
    ) -> Result<Registered, RegistryError> {
        let mut import = self.registry.import().unwrap();
        for (path, bytes) in files {
            let mut file = import.file(path)?;
            file.write(bytes)?;
            import.finish(file)?;
        }
        import.register(model, facts, &actor("ann", now))
    }

    /// Registers one file with this content, as pulled from `mlflow://MODEL/PINNED`.
    pub(crate) fn pulled(&self, model: &str, pinned: u32, bytes: &[u8], now: i64) -> Result<Registered, RegistryError> {
        self.register(model, &[("model.onnx", bytes)], &origin(model, pinned), now)
    }

    pub(crate) fn version(&self, reference: &str) -> Version {
        self.registry.version(&meant(reference)).unwrap()
    }
}

/// To this stage, whichever the version is in.
pub(crate) fn to(stage: Stage) -> StageMove {
    StageMove { to: stage, expected: None, archive_others: false }
}

pub(crate) fn local(path: &Path) -> LocalFiles {
    LocalFiles { path: path.to_owned(), configuration: None }
}

pub(crate) fn origin(model: &str, pinned: u32) -> VersionFacts {
    let origin = Origin { asked: format!("mlflow://{model}@champion"), pinned: format!("mlflow://{model}/{pinned}") };
    VersionFacts { origin: Some(origin), ..VersionFacts::default() }
}

pub(crate) fn meant(reference: &str) -> VersionReference {
    reference.parse().unwrap()
}

pub(crate) fn at(now: i64) -> Timestamp {
    Timestamp::from_unix_millis(now).unwrap()
}

pub(crate) fn actor(name: &str, now: i64) -> Actor {
    Actor::new(name, at(now)).unwrap()
}

/// Every file below a folder, but for the database's own.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
