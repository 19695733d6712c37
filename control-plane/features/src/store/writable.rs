//! Stores of this crate that rows are written to.

use std::sync::Arc;

use super::{EmbeddedStore, RedisHashStore, StoreMark, WriteRow};
use crate::declared::FeatureView;
use crate::error::FeatureError;

/// A store that rows are written to. Cheap to clone.
#[derive(Clone, Debug)]
pub enum WritableStore {
    /// In this process.
    Embedded(EmbeddedStore),
    /// Hashes of Redis whose event time has a field.
    RedisHash(Arc<RedisHashStore>),
}

impl WritableStore {
    /// Writes rows of a view; returns how many were taken. A row that is older than the stored one of its key is left out.
    ///
    /// # Errors
    /// As the store has it. In Redis each row is whole or as it was, but others of the call may have been written.
    pub async fn write(&self, view: &FeatureView, rows: &[WriteRow]) -> Result<usize, FeatureError> {
        match self {
            Self::Embedded(store) => store.write(&view.name, rows).await,
            Self::RedisHash(store) => store.write(view, rows).await,
        }
    }

    /// How far a view was materialised into this store; none where the store was never marked. Changes nothing.
    ///
    /// # Errors
    /// As for a read.
    pub async fn mark(&self, view: &FeatureView) -> Result<Option<StoreMark>, FeatureError> {
        match self {
            Self::Embedded(store) => store.mark(&view.name).await,
            Self::RedisHash(store) => store.mark(view).await,
        }
    }

    /// The same, after the store has a name for the view: `fresh`, where it has none yet. No other store may have been called
    /// that.
    ///
    /// # Errors
    /// As for a write.
    pub async fn named_mark(&self, view: &FeatureView, fresh: &str) -> Result<StoreMark, FeatureError> {
        match self {
            Self::Embedded(store) => store.named_mark(&view.name, fresh).await,
            Self::RedisHash(store) => store.named_mark(view, fresh).await,
        }
    }

    /// Notes how far a view was materialised, in nanoseconds since the epoch, if this is still the store of that name.
    /// Durable as rows are.
    ///
    /// # Errors
    /// As for a write, and `Unavailable` when the store was emptied or replaced since [`Self::named_mark`] told its name.
    pub async fn set_mark(&self, view: &FeatureView, store: &str, until: i64) -> Result<(), FeatureError> {
        match self {
            Self::Embedded(embedded) => embedded.set_mark(&view.name, store, until).await,
            Self::RedisHash(redis) => redis.set_mark(view, store, until).await,
        }
    }
}
