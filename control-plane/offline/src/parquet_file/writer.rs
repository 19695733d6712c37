//! A new Parquet file: columns of another file taken over as they are, and columns of features beside them.
//!
//! Columns that are taken over are copied chunk by chunk, neither decoded nor encoded: whatever they are (nested, of types
//! that this crate does not know), they come out as they went in.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::{ColumnCloseResult, ColumnWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::reader::ParquetTable;
use crate::error::OfflineError;
use crate::storage::{NewFile, Storage};
use crate::table::{Column, NO_ROW, Physical, Values};

/// A file under way.
pub(crate) struct ParquetWriter {
    name: String,
    writer: SerializedFileWriter<Box<dyn NewFile>>,
}

/// What one leaf of a row group holds.
pub(crate) struct Encoded {
    pub(crate) values: Physical,
    pub(crate) definition: Option<Vec<i16>>,
    pub(crate) repetition: Option<Vec<i16>>,
}

impl ParquetWriter {
    /// A file with these columns, and texts about it as a whole.
    pub(crate) fn create(
        storage: &dyn Storage,
        name: &str,
        fields: Vec<TypePtr>,
        notes: Vec<(String, String)>,
    ) -> Result<Self, OfflineError> {
        let file = storage.create(name)?;
        let notes = notes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(notes))
            .set_created_by(concat!("hanok ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let schema = Type::group_type_builder("schema").with_fields(fields).build();
        let schema = schema.map_err(|error| OfflineError::invalid(name, error.to_string()))?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
        let writer = writer.map_err(|error| OfflineError::from_storage(name, &error))?;
        Ok(Self { name: name.to_owned(), writer })
    }

    /// Writes a row group: every leaf of a row group of another file, if there is one, then these.
    pub(crate) fn group(
        &mut self,
        taken: Option<(&ParquetTable, usize)>,
        columns: &[Encoded],
    ) -> Result<(), OfflineError> {
        let unavailable = |error: ParquetError| OfflineError::from_storage(&self.name, &error);
        let mut group = self.writer.next_row_group().map_err(unavailable)?;
        if let Some((table, place)) = taken {
            copy(&mut group, &self.name, table, place)?;
        }
        for column in columns {
            let missing = || ParquetError::General("a column more than the schema has".to_owned());
            let writer = group.next_column().and_then(|writer| writer.ok_or_else(missing)).map_err(unavailable)?;
            write(writer, column).map_err(unavailable)?;
        }
        group.close().map_err(unavailable)?;
        Ok(())
    }

    /// Makes the file durable under its name.
    pub(crate) fn finish(self) -> Result<(), OfflineError> {
        let file = self.writer.into_inner().map_err(|error| OfflineError::from_storage(&self.name, &error))?;
        file.finish().map_err(|error| OfflineError::from_storage(&self.name, &error))
    }
}

fn copy<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    name: &str,
    table: &ParquetTable,
    place: usize,
) -> Result<(), OfflineError> {
    let Some(known) = table.metadata().row_groups().get(place) else { return Ok(()) };
    for column in known.columns() {
        let close = ColumnCloseResult {
            bytes_written: u64::try_from(column.compressed_size()).unwrap_or_default(),
            rows_written: u64::try_from(known.num_rows()).unwrap_or_default(),
            metadata: column.clone(),
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        let chunk = table.chunk(column)?;
        group.append_column(&chunk, close).map_err(|error| match &error {
            // What could not be read says so itself.
            ParquetError::External(_) => OfflineError::from_storage(name, &error),
            _ => OfflineError::damaged(table.name(), &error),
        })?;
    }
    Ok(())
}

fn write(mut writer: SerializedColumnWriter<'_>, column: &Encoded) -> Result<(), ParquetError> {
    let (definition, repetition) = (column.definition.as_deref(), column.repetition.as_deref());
    match (writer.untyped(), &column.values) {
        (ColumnWriter::BoolColumnWriter(writer), Physical::Bool(values)) => {
            writer.write_batch(values, definition, repetition)?
        }
        (ColumnWriter::Int32ColumnWriter(writer), Physical::Int32(values)) => {
            writer.write_batch(values, definition, repetition)?
        }
        (ColumnWriter::Int64ColumnWriter(writer), Physical::Int64(values)) => {
            writer.write_batch(values, definition, repetition)?
        }
        (ColumnWriter::FloatColumnWriter(writer), Physical::Float(values)) => {
            writer.write_batch(values, definition, repetition)?
        }
        (ColumnWriter::DoubleColumnWriter(writer), Physical::Double(values)) => {
            writer.write_batch(values, definition, repetition)?
        }
        (ColumnWriter::ByteArrayColumnWriter(writer), Physical::Bytes(values)) => {
            writer.write_batch(values, definition, repetition)?
        }
        _ => return Err(ParquetError::General("a column of another type than the schema has".to_owned())),
    };
    writer.close()
}

/// The cells of a column at these rows, null where it is [`NO_ROW`], as a row group holds them.
pub(crate) fn gathered(column: &Column, rows: &[u32]) -> Encoded {
    if column.data_type.list {
        return gathered_lists(column, rows);
    }
    let there = |row: &u32| present_row(column, *row);
    let definition = rows.iter().map(|row| i16::from(there(row).is_some())).collect();
    let places = rows.iter().filter_map(there);
    Encoded { values: picked(&column.values, places), definition: Some(definition), repetition: None }
}

/// A row where the column has a value.
fn present_row(column: &Column, row: u32) -> Option<usize> {
    Some(row as usize).filter(|place| row != NO_ROW && column.present[*place])
}

fn gathered_lists(column: &Column, rows: &[u32]) -> Encoded {
    let (mut definition, mut repetition, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let row = present_row(column, *row);
        let elements = row.map_or(0..0, |row| column.elements(row));
        if elements.is_empty() {
            definition.push(i16::from(row.is_some()));
            repetition.push(0);
        }
        for (index, element) in elements.enumerate() {
            definition.push(2);
            repetition.push(i16::from(index > 0));
            places.push(element);
        }
    }
    let values = picked(&column.values, places.into_iter());
    Encoded { values, definition: Some(definition), repetition: Some(repetition) }
}

fn picked(values: &Values, places: impl Iterator<Item = usize>) -> Physical {
    fn pick<T: Clone>(values: &[T], places: impl Iterator<Item = usize>) -> Vec<T> {
        places.map(|place| values[place].clone()).collect()
    }
    match values {
        Values::Bool(values) => Physical::Bool(pick(values, places)),
        Values::Int32(values) => Physical::Int32(pick(values, places)),
        Values::Int64(values) => Physical::Int64(pick(values, places)),
        Values::Float32(values) => Physical::Float(pick(values, places)),
        Values::Float64(values) => Physical::Double(pick(values, places)),
        Values::Bytes(values) => Physical::Bytes(pick(values, places)),
    }
}
