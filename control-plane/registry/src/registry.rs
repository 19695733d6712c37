//! Opening a registry, and reading what it holds.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Transaction;

use crate::audit::{self, LogRecord};
use crate::database::Database;
use crate::error::RegistryError;
use crate::folder::Folder;
use crate::names::VersionReference;
use crate::rows;
use crate::staging::Leftovers;
use crate::version::{Model, Version, VersionRecord};

/// Bounds on what is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Most files of a version.
    pub max_files: usize,
    /// Most bytes of a version, all files together.
    pub max_version_bytes: u64,
    /// Most bytes on the disk, files by content counted once; `None` for no bound. To stay below it, versions that were
    /// pulled and are not in use are evicted, those that were not used for longest first.
    pub quota_bytes: Option<u64>,
}

impl Default for RegistrySettings {
    /// 10,000 files, 256 GiB a version, no quota.
    fn default() -> Self {
        Self { max_files: 10_000, max_version_bytes: 256 << 30, quota_bytes: None }
    }
}

/// A registry that is open. Every call blocks on the disk.
#[derive(Debug)]
pub struct Registry {
    pub(crate) folder: Folder,
    pub(crate) settings: RegistrySettings,
    database: Mutex<Database>,
}

/// Keeps a version's files from being evicted, by any process, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    _lock: File,
}

impl Registry {
    /// Opens the registry in `folder`, or makes one, and removes what operations that were killed have left.
    ///
    /// # Errors
    /// `Unsupported`: read-only, not a registry, from a newer version. `DataLoss`: there are files and no database.
    /// `ResourceExhausted`: a registry is to be made and the disk is full.
    /// `Unavailable`: another process holds it for too long.
    pub fn open(folder: &Path, settings: RegistrySettings) -> Result<Self, RegistryError> {
        let folder = Folder::open(folder)?;
        let database = Mutex::new(Database::open(&folder.database(), folder.has_blobs()?)?);
        let registry = Self { folder, settings, database };
        registry.sweep()?;
        Ok(registry)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Most bytes on the disk, where there is such a bound.
    #[must_use]
    pub const fn quota_bytes(&self) -> Option<u64> {
        self.settings.quota_bytes
    }

    /// All models by name.
    ///
    /// # Errors
    /// None of its own.
    pub fn models(&self) -> Result<Vec<Model>, RegistryError> {
        self.read(rows::models)
    }

    /// One model.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn model(&self, name: &str) -> Result<Model, RegistryError> {
        self.read(|transaction| rows::model(transaction, name))
    }

    /// The versions of a model by number, or of all models by name and number.
    ///
    /// # Errors
    /// `NotFound` for a model that does not exist.
    pub fn versions(&self, model: Option<&str>) -> Result<Vec<Version>, RegistryError> {
        self.read(|transaction| {
            model.map_or(Ok(()), |name| rows::model(transaction, name).map(drop))?;
            rows::versions(transaction, model)
        })
    }

    /// The version that is meant.
    ///
    /// # Errors
    /// `NotFound`: the model, the version or the alias.
    pub fn version(&self, meant: &VersionReference) -> Result<Version, RegistryError> {
        self.read(|transaction| rows::version(transaction, meant))
    }

    /// Everything on record about the version that is meant: files, approvals and lineage too.
    ///
    /// # Errors
    /// `NotFound`: the model, the version or the alias.
    pub fn record(&self, meant: &VersionReference) -> Result<VersionRecord, RegistryError> {
        self.read(|transaction| {
            let version = rows::version(transaction, meant)?;
            Ok(VersionRecord {
                manifest: rows::manifest(transaction, &version.digest)?,
                approvals: rows::approvals(transaction, &version.name)?,
                lineage: rows::lineage(transaction, &version.name)?,
                version,
            })
        })
    }

    /// The log after `after` (0 for all of it), at most `limit` records, oldest first; with `model`, what concerns it.
    ///
    /// # Errors
    /// None of its own.
    pub fn log(&self, model: Option<&str>, after: u64, limit: usize) -> Result<Vec<LogRecord>, RegistryError> {
        self.read(|transaction| audit::read(transaction, model, after, limit))
    }

    /// Keeps the files of the version that is meant until what is returned is dropped, and notes that they are used.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` when its files were evicted.
    pub fn hold(
        &self,
        meant: &VersionReference,
        now: hanok_state::Timestamp,
    ) -> Result<(Version, Hold), RegistryError> {
        // Behind the registry's lock, so that no eviction is between its look at the holds and its removal.
        let _lock = self.folder.lock()?;
        let held = |transaction: &Transaction<'_>| {
            let version = rows::version(transaction, meant)?;
            if !version.present {
                let source = version.facts.origin.map(|origin| origin.pinned);
                return Err(RegistryError::Evicted { version: version.name.to_string(), source });
            }
            let hold = Hold { _lock: self.folder.hold(&version.digest)? };
            Ok((version, hold))
        };
        let noted = self.write(|transaction| {
            let (version, hold) = held(transaction)?;
            transaction.execute(
                "UPDATE versions SET used_at = MAX(used_at, ?1) WHERE model = ?2 AND number = ?3",
                rusqlite::params![now.unix_millis(), version.name.model, rows::number(version.name.number)?],
            )?;
            Ok((version, hold))
        });
        match noted {
            // A full disk keeps nobody from using what is here; that it was used is not on record then.
            Err(error) if error.is_full() => self.read(held),
            noted => noted,
        }
    }

    /// Removes what operations that are gone have left.
    pub(crate) fn sweep(&self) -> Result<(), RegistryError> {
        let lock = self.folder.lock()?;
        let left = Leftovers::find(&self.folder, &lock)?;
        let mut orphans = left.intended.clone();
        self.read(|transaction| {
            let mut needed = Vec::new();
            for digest in &orphans {
                needed.push(rows::is_needed(transaction, digest)?);
            }
            let mut needed = needed.into_iter();
            orphans.retain(|_| !needed.next().unwrap_or(true));
            Ok(())
        })?;
        self.folder.remove_blobs(&orphans)?;
        left.remove()
    }

    pub(crate) fn read<T>(
        &self,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.database().read(run)
    }

    pub(crate) fn write<T>(
        &self,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.database().write(run)
    }

    /// A call that panicked has lost its connection, and its transaction with it: what is here is usable.
    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
