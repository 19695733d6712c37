//! From declared stores to open ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::{
    EmbeddedStore, FeastRedisStore, FeastSqliteStore, HttpStore, OnlineStore, RedisHashStore, StoreHealth,
    WritableStore,
};
use crate::declared::{FeatureSet, StoreKind};
use crate::error::FeatureError;

/// Open stores by their declared names.
#[derive(Clone, Debug, Default)]
pub struct OpenStores {
    all: BTreeMap<String, (Arc<dyn OnlineStore>, Arc<StoreHealth>)>,
    writable: BTreeMap<String, WritableStore>,
}

impl OpenStores {
    /// Opens every declared store that a view is in. Files are found from `folder` where their paths are relative. Stores
    /// over the network connect at their first read. Blocks while it reads files: the rows of embedded stores, passwords,
    /// certificates.
    ///
    /// # Errors
    /// What the first store that cannot be opened says.
    pub fn open(set: &FeatureSet, folder: &Path) -> Result<Self, FeatureError> {
        let used: BTreeSet<&str> = set.views().values().map(|view| view.store.as_str()).collect();
        Self::open_some(set, folder, &used)
    }

    /// The same with the stores of these names only.
    ///
    /// # Errors
    /// What the first store that cannot be opened says.
    pub fn open_some(set: &FeatureSet, folder: &Path, names: &BTreeSet<&str>) -> Result<Self, FeatureError> {
        let mut open = Self::default();
        for (name, store) in set.stores().iter().filter(|(name, _)| names.contains(name.as_str())) {
            let opened: Arc<dyn OnlineStore> = match &store.kind {
                StoreKind::Embedded { path } => {
                    let views: Vec<_> = set.views().values().filter(|view| view.store == *name).cloned().collect();
                    let store = EmbeddedStore::open(&folder.join(path), &views)?;
                    open.writable.insert(name.clone(), WritableStore::Embedded(store.clone()));
                    Arc::new(store)
                }
                StoreKind::FeastRedis { address, project, key_version } => {
                    Arc::new(FeastRedisStore::open(&address.within(folder), project, *key_version)?)
                }
                StoreKind::FeastSqlite { path, project, key_version } => {
                    Arc::new(FeastSqliteStore::open(&folder.join(path), project, *key_version)?)
                }
                StoreKind::RedisHash { address, key, event_time } => {
                    let store = RedisHashStore::open(&address.within(folder), key, event_time.as_deref())?;
                    let store = Arc::new(store);
                    if event_time.is_some() {
                        open.writable.insert(name.clone(), WritableStore::RedisHash(Arc::clone(&store)));
                    }
                    store
                }
                StoreKind::Http(declared) => Arc::new(HttpStore::open(&declared.within(folder))?),
            };
            open = open.with(name, opened);
        }
        Ok(open)
    }

    /// The same with one more store, or another in its place.
    #[must_use]
    pub fn with(mut self, name: &str, store: Arc<dyn OnlineStore>) -> Self {
        self.all.insert(name.to_owned(), (store, Arc::new(StoreHealth::of(name))));
        self
    }

    /// A store by its declared name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn OnlineStore>> {
        self.all.get(name).map(|(store, _)| store)
    }

    /// A store with what the log is told of it.
    pub(crate) fn watched(&self, name: &str) -> Option<(&Arc<dyn OnlineStore>, &Arc<StoreHealth>)> {
        self.all.get(name).map(|(store, health)| (store, health))
    }

    /// Names of embedded stores that have no file yet. Asks the disk.
    pub fn without_file(&self) -> impl Iterator<Item = &str> {
        let missing = |store: &WritableStore| matches!(store, WritableStore::Embedded(store) if !store.has_file());
        self.writable.iter().filter(move |(_, store)| missing(store)).map(|(name, _)| name.as_str())
    }

    /// A store that rows are written to: an embedded one, or hashes of Redis whose event time has a field.
    #[must_use]
    pub fn writable(&self, name: &str) -> Option<WritableStore> {
        self.writable.get(name).cloned()
    }
}
