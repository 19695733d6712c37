//! Features: what is declared, where it is stored, and how requests get it by entity key.
//!
//! A [`FeatureSet`] says which features exist; an [`OnlineStore`] reads many keys at once into [`Columns`]; a
//! [`Lookup`] stands between requests and stores: it coalesces, bounds by deadline, remembers hot keys and falls back per
//! feature. Knows no model, no tensor library and no HTTP server.
//!
//! Invariants: nothing blocks a tokio thread; a value is never served older than declared without being counted; what a
//! store acknowledged as written is on the disk.

mod byte_column;
mod columns;
mod data_type;
mod declared;
mod entity_key;
mod error;
mod json_object;
mod lookup;
mod row;
mod rows_file;
mod store;
mod tensor_format;
mod text_value;
mod value;

pub use byte_column::ByteColumn;
pub use columns::{ARENA_BYTES, CellStatus, Column, Columns};
pub use data_type::{ElementType, FeatureType};
pub use declared::{
    API_VERSION, CacheSettings, Entity, Fallback, Feature, FeatureService, FeatureSet, FeatureView, HttpDialect,
    HttpStoreDeclaration, LARGEST_DECLARATION_BYTES, MOST_DOCUMENTS, ModelInput, Problem, ServiceFeature, Source,
    StoreDeclaration, StoreKind, read_features,
};
pub use entity_key::{KEY_BYTES, KeyLayout, KeyParts, KeyType, KeyValue};
pub use error::{ErrorCode, FeatureError, Missing};
pub use json_object::read_object;
pub use lookup::{
    Clock, FeatureReport, KeyColumn, Lookup, LookupSettings, LookupStatistics, Origin, Overrides, ResolveRequest,
    Resolved, system_clock,
};
pub use row::ROW_BYTES;
pub use rows_file::{RowsFormat, read_rows};
pub use store::{
    EmbeddedStore, FeastRedisStore, FeastSqliteStore, HttpStore, MemoryTable, OnlineStore, OpenStores, ReadFuture,
    RedisAddress, RedisHashStore, StoreMark, StoreRead, ViewRead, WritableStore, WriteRow, feast_field,
};
pub use tensor_format::{InputForm, TensorFormat};
pub use value::{ListRef, Value, ValueRef};
