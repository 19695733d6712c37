//! Stores of this crate that rows are written to.

use std::sync::Arc;

use super::{EmbeddedStore, RedisHashStore, WriteRow};
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
}
