//! Keeps the registry's files of what this server has loaded from being evicted, by whichever process makes room.
//!
//! Served files are copies, so an eviction would break no answer; but what serves must be there to be loaded again, and its
//! use must count when the least recently used is chosen. A version is held from before it is loaded until its last request is
//! finished; one that is registered later, or while the registry was busy, from the next look on. Goes by name and number: a
//! version that was exported under another name is not recognised. Holds end with the process, however it ends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanok_registry::{ErrorCode, Hold, Registry, RegistryError, RegistrySettings, VersionName};
use hanok_repository::{KeptVersion, VersionKeeper};
use hanok_state::Timestamp;

use crate::commands::error::CommandError;
use crate::settings::{ControlFlags, DEFAULT_REGISTRY};

/// Time between two looks at what is loaded and not held.
const EVERY: Duration = Duration::from_secs(1);

/// Opens the registry that the flags name, or makes one; a watch needs one wherever it is. Blocks on the disk.
pub(crate) fn open_registry(flags: &ControlFlags, watching: bool) -> Result<Option<Arc<Registry>>, CommandError> {
    let settings = RegistrySettings { quota_bytes: flags.registry_quota, ..RegistrySettings::default() };
    let folder = flags.registry.as_deref().or(watching.then_some(Path::new(DEFAULT_REGISTRY)));
    folder.map(|folder| Ok(Arc::new(Registry::open(folder, settings)?))).transpose()
}

/// Holds what is loaded, and has a thread that tries again what could not be held; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct LoadedHolds {
    desk: Arc<HoldDesk>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoadedHolds {
    pub(crate) fn start(registry: Arc<Registry>) -> std::io::Result<Self> {
        let desk = Arc::new(HoldDesk { registry, loaded: Mutex::default(), failing: AtomicBool::new(false) });
        let (stop, stopped) = sync_channel(1);
        let looking = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("hanok-holds".to_owned()).spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                looking.hold_the_rest();
            }
        })?;
        Ok(Self { desk, stop: Some(stop), thread: Some(thread) })
    }

    /// What the model repository tells of its loads.
    pub(crate) fn keeper(&self) -> Arc<dyn VersionKeeper> {
        Arc::clone(&self.desk) as Arc<dyn VersionKeeper>
    }
}

impl Drop for LoadedHolds {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that holds registered versions ended by a panic");
        }
    }
}

/// A version that is loaded, held or not yet. Dropping it lets go.
#[derive(Debug)]
struct Loaded {
    name: VersionName,
    hold: OnceLock<Hold>,
}

/// Who holds. What is loaded belongs to the model repository.
#[derive(Debug)]
struct HoldDesk {
    registry: Arc<Registry>,
    loaded: Mutex<Vec<Weak<Loaded>>>,
    failing: AtomicBool,
}

impl VersionKeeper for HoldDesk {
    fn keep(&self, model: &str, version: u64) -> KeptVersion {
        let name = VersionName { model: model.to_owned(), number: version };
        let loaded = Arc::new(Loaded { name, hold: OnceLock::new() });
        self.note(self.hold(&loaded));
        self.loaded().push(Arc::downgrade(&loaded));
        Box::new(loaded)
    }
}

impl HoldDesk {
    /// Tries again what is loaded and not held.
    fn hold_the_rest(&self) {
        let loaded: Vec<Arc<Loaded>> = {
            let mut loaded = self.loaded();
            loaded.retain(|one| one.strong_count() > 0);
            loaded.iter().filter_map(Weak::upgrade).collect()
        };
        let tries = loaded.iter().filter(|one| one.hold.get().is_none()).map(|one| self.hold(one));
        self.note(tries.fold(Ok(()), Result::and));
    }

    /// Holds a version, where the registry has it and has not evicted it.
    fn hold(&self, loaded: &Loaded) -> Result<(), RegistryError> {
        if let Some(hold) = self.try_hold(&loaded.name)? {
            // Held twice at the same moment is held.
            drop(loaded.hold.set(hold));
        }
        Ok(())
    }

    fn loaded(&self) -> MutexGuard<'_, Vec<Weak<Loaded>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of the first failure after a success.
    fn note(&self, outcome: Result<(), RegistryError>) {
        let failed_before = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        if let Err(error) = outcome
            && !failed_before
        {
            tracing::warn!(%error, detail = error.operator_detail(), "loaded versions are not kept from eviction");
        }
    }

    /// `None` where the registry does not have the version, or has evicted it.
    fn try_hold(&self, name: &VersionName) -> Result<Option<Hold>, RegistryError> {
        let meant = name.clone().into();
        match self.registry.version(&meant) {
            Ok(version) if version.present => {}
            Ok(_) => return Ok(None),
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::default().plus_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        match self.registry.hold(&meant, now) {
            Ok((_, hold)) => Ok(Some(hold)),
            // Evicted between the two looks.
            Err(error) if error.code() == ErrorCode::FailedPrecondition => Ok(None),
            Err(error) => Err(error),
        }
    }
}
