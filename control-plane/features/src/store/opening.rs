//! From declared stores to open ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{EmbeddedStore, FeastRedisStore, FeastSqliteStore, HttpStore, OnlineStore, RedisHashStore};
use crate::declared::{FeatureSet, StoreKind};
use crate::error::FeatureError;

/// Open stores by their declared names.
#[derive(Clone, Debug, Default)]
pub struct OpenStores {
    all: BTreeMap<String, Arc<dyn OnlineStore>>,
    embedded: BTreeMap<String, EmbeddedStore>,
}

impl OpenStores {
    /// Opens every declared store. Files are found from `folder` where their paths are relative. Stores over the network
    /// connect at their first read. Blocks while it reads files: the rows of embedded stores, passwords, certificates.
    ///
    /// # Errors
    /// What the first store that cannot be opened says.
    pub fn open(set: &FeatureSet, folder: &Path) -> Result<Self, FeatureError> {
        let mut open = Self::default();
        for (name, store) in set.stores() {
            let opened: Arc<dyn OnlineStore> = match &store.kind {
                StoreKind::Embedded { path } => {
                    let views: Vec<_> = set.views().values().filter(|view| view.store == *name).cloned().collect();
                    let store = EmbeddedStore::open(&folder.join(path), &views)?;
                    open.embedded.insert(name.clone(), store.clone());
                    Arc::new(store)
                }
                StoreKind::FeastRedis { address, project, key_version } => {
                    Arc::new(FeastRedisStore::open(&address.within(folder), project, *key_version)?)
                }
                StoreKind::FeastSqlite { path, project, key_version } => {
                    Arc::new(FeastSqliteStore::open(&folder.join(path), project, *key_version)?)
                }
                StoreKind::RedisHash { address, key, event_time } => {
                    Arc::new(RedisHashStore::open(&address.within(folder), key, event_time.as_deref())?)
                }
                StoreKind::Http(declared) => Arc::new(HttpStore::open(&declared.within(folder))?),
            };
            open.all.insert(name.clone(), opened);
        }
        Ok(open)
    }

    /// The same with one more store, or another in its place.
    #[must_use]
    pub fn with(mut self, name: &str, store: Arc<dyn OnlineStore>) -> Self {
        self.all.insert(name.to_owned(), store);
        self
    }

    /// A store by its declared name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn OnlineStore>> {
        self.all.get(name)
    }

    /// An embedded store, to be written to.
    #[must_use]
    pub fn embedded(&self, name: &str) -> Option<&EmbeddedStore> {
        self.embedded.get(name)
    }
}
