//! Keeps the registry's files of what this server has loaded from being evicted, by whichever process makes room.
//!
//! Served files are copies, so an eviction would break no answer; but what serves must be there to be loaded again, and its
//! use must count when the least recently used is chosen. Goes by name and number: a version that was exported under
//! another name is not recognised. Holds end with the process, however it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanok_registry::{ErrorCode, Hold, Registry, RegistryError, RegistrySettings, VersionName};
use hanok_repository::ModelRepository;
use hanok_state::Timestamp;

use crate::commands::error::CommandError;

/// Time between two looks at what is loaded.
const EVERY: Duration = Duration::from_secs(1);

/// Opens the registry that the flag names, or makes one. Blocks on the disk.
pub(crate) fn open_registry(folder: Option<&Path>) -> Result<Option<Arc<Registry>>, CommandError> {
    let open = |folder: &Path| Ok(Arc::new(Registry::open(folder, RegistrySettings::default())?));
    folder.map(open).transpose()
}

/// The thread that holds; dropping it ends it and lets go.
#[derive(Debug)]
pub(crate) struct LoadedHolds {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoadedHolds {
    pub(crate) fn start(registry: Arc<Registry>, repository: Arc<ModelRepository>) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new().name("hanok-holds".to_owned()).spawn(move || {
            let mut desk = Desk { registry, held: BTreeMap::new(), failing: false };
            loop {
                let loaded = repository.ready().all();
                desk.hold(
                    loaded.iter().map(|ready| VersionName { model: ready.model.to_string(), number: ready.version }),
                );
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
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

struct Desk {
    registry: Arc<Registry>,
    held: BTreeMap<VersionName, Hold>,
    failing: bool,
}

impl Desk {
    /// Holds what is loaded and registered, and nothing else.
    fn hold(&mut self, loaded: impl Iterator<Item = VersionName>) {
        let loaded: BTreeSet<VersionName> = loaded.collect();
        self.held.retain(|name, _| loaded.contains(name));
        let mut failure = None;
        for name in loaded {
            if self.held.contains_key(&name) {
                continue;
            }
            match self.try_hold(&name) {
                Ok(Some(hold)) => drop(self.held.insert(name, hold)),
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure.as_ref().filter(|_| !self.failing) {
            tracing::warn!(%error, detail = error.operator_detail(), "loaded versions are not kept from eviction");
        }
        self.failing = failure.is_some();
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
