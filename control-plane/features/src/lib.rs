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
mod lookup;
mod row;
mod store;
mod tensor_format;
mod value;

pub use byte_column::ByteColumn;
pub use columns::{ARENA_BYTES, CellStatus, Column, Columns};
pub use data_type::{ElementType, FeatureType};
pub use declared::{
    API_VERSION, CacheSettings, Entity, Fallback, Feature, FeatureService, FeatureSet, FeatureView, HttpDialect,
    HttpStore, LARGEST_DECLARATION_BYTES, MOST_DOCUMENTS, ModelInput, Problem, ServiceFeature, Source, SourceFormat,
    StoreDeclaration, StoreKind, read_features,
};
pub use entity_key::{KEY_BYTES, KeyLayout, KeyParts, KeyType, KeyValue, write_version_2};
pub use error::{ErrorCode, FeatureError, Missing};
pub use lookup::{
    Clock, FeatureReport, KeyColumn, Lookup, LookupSettings, LookupStatistics, OpenStores, Origin, Overrides,
    ResolveRequest, Resolved, system_clock,
};
pub use row::ROW_BYTES;
pub use store::{
    EmbeddedStore, FeastSqliteStore, OnlineStore, ReadFuture, StoreRead, ViewRead, WriteRow, feast_field, feast_time,
    feast_timestamp_field, read_feast_value,
};
pub use tensor_format::TensorFormat;
pub use value::{ListRef, Value, ValueRef};
