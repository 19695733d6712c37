//! Parquet files: columns of row groups as leaves, and leaves as columns of row groups.

mod chunks;
mod reader;
mod schema;
mod writer;

pub(crate) use reader::ParquetTable;
pub(crate) use schema::{feature_field, field};
pub(crate) use writer::{Encoded, ParquetWriter, gathered};
