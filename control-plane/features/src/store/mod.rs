//! Online stores: many keys and features in one read.
//!
//! The trait and the stores.

mod embedded;
mod feast_sqlite;
mod feast_value;
mod file_identity;
mod health;
mod http;
mod mark;
mod opening;
mod redis;
mod writable;

use std::pin::Pin;
use std::sync::Arc;

pub use embedded::{EmbeddedStore, WriteRow};
pub use feast_sqlite::FeastSqliteStore;
pub use feast_value::feast_field;
pub use http::HttpStore;
pub use mark::StoreMark;
pub use opening::OpenStores;
pub use redis::{FeastRedisStore, RedisAddress, RedisHashStore};
pub use writable::WritableStore;

pub(crate) use health::StoreHealth;
pub(crate) use redis::KeyTemplate;

use crate::byte_column::ByteColumn;
use crate::columns::Columns;
use crate::data_type::FeatureType;
use crate::declared::{Feature, FeatureView};
use crate::error::FeatureError;

/// What is read of one view.
#[derive(Clone, Debug)]
pub struct ViewRead {
    /// The view.
    pub view: Arc<FeatureView>,
    /// Places of the features in the view, in the order of the answer's columns.
    pub places: Arc<[usize]>,
    /// Their types.
    pub types: Arc<[FeatureType]>,
    /// Serialised keys ([`crate::KeyLayout`]), one a row of the answer.
    pub keys: ByteColumn,
}

impl ViewRead {
    /// A read of these places for no keys yet.
    #[must_use]
    pub fn new(view: Arc<FeatureView>, places: Arc<[usize]>) -> Self {
        let types = places.iter().filter_map(|place| view.features.get(*place)).map(|one| one.data_type).collect();
        Self { view, places, types, keys: ByteColumn::default() }
    }

    /// The features read, in the order of the answer's columns.
    pub fn features(&self) -> impl ExactSizeIterator<Item = &Feature> {
        self.places.iter().map(|place| &self.view.features[*place])
    }

    /// An answer with nothing in it yet.
    #[must_use]
    pub fn empty_answer(&self) -> Columns {
        Columns::new(Arc::clone(&self.types), self.keys.len())
    }
}

/// What is read together: at most one round trip.
#[derive(Clone, Debug, Default)]
pub struct StoreRead {
    /// By view.
    pub views: Vec<ViewRead>,
}

/// The answers, one for each view of the read and in its order.
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<Columns>, FeatureError>> + Send + 'a>>;

/// A store of rows by entity key.
///
/// A key without a row is [`crate::CellStatus::NotFound`], never an error. Age is the caller's to judge. Dropping the
/// future gives up the wait; it may or may not stop the read.
pub trait OnlineStore: Send + Sync + std::fmt::Debug {
    /// Reads. Never blocks the thread; one round trip at most, over HTTP one for each view and all at the same time.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached or answers what is no answer, `Unsupported` when it holds another
    /// type than declared, `Internal` when its content is damaged.
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a>;

    /// Refuses keys of a read that this store cannot tell from others; quick, because it is done where the request stands.
    ///
    /// # Errors
    /// The place of the first such key in the read, and `InvalidArgument` with the join key's name.
    fn check_keys(&self, read: &ViewRead) -> Result<(), (usize, FeatureError)> {
        let _ = read;
        Ok(())
    }

    /// The rows of a view where they are in this process; always the same answer for one view.
    fn memory(&self, view: &str) -> Option<&dyn MemoryTable> {
        let _ = view;
        None
    }
}

/// Rows of one view in this process: read in microseconds, on the caller's thread, into where they are wanted.
pub trait MemoryTable: Send + Sync + std::fmt::Debug {
    /// Copies the features at `places` of the row of a serialised key into row `row` of the columns `targets`, which are of
    /// their types and in their order. Leaves the cells as they are where the key has no row.
    ///
    /// # Errors
    /// `Internal` when the row is damaged, `ResourceExhausted` when texts and lists do not fit into the batch. Some cells may
    /// be copied then.
    fn copy_row(
        &self,
        key: &[u8],
        places: &[usize],
        columns: &mut Columns,
        targets: &[usize],
        row: usize,
    ) -> Result<(), FeatureError>;
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use crate::declared::{FeatureView, read_features};

    /// View `weather` by the text key `origin`, with these features.
    pub(crate) fn weather_view(features: &str) -> Arc<FeatureView> {
        let text = format!(
            "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: origin}}\nspec: {{type: string}}\n---\n\
             apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{embedded: {{path: x}}}}\n---\n\
             apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: weather}}\n\
             spec: {{entities: [origin], store: main, owner: me, features: [{features}]}}\n"
        );
        Arc::clone(read_features(&text).unwrap().view("weather").unwrap())
    }
}
