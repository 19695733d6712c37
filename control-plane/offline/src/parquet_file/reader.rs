//! A Parquet file whose columns are read by name, a row group at a time.

use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;
use parquet::schema::types::TypePtr;

use super::chunks::Chunks;
use super::schema::{in_list, kind};
use crate::error::OfflineError;
use crate::storage::{RandomRead, Storage};
use crate::table::{Kind, Leaf, Physical};

/// An open file.
pub(crate) struct ParquetTable {
    name: String,
    chunks: Chunks,
    metadata: ParquetMetaData,
}

impl ParquetTable {
    pub(crate) fn open(storage: &dyn Storage, name: &str) -> Result<Self, OfflineError> {
        let file: Arc<dyn RandomRead> = storage.open(name)?;
        let chunks = Chunks::with_tail(name, file).map_err(|error| OfflineError::from_storage(name, &error))?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&chunks).map_err(|error| fault(name, &error))?;
        Ok(Self { name: name.to_owned(), chunks, metadata })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// The stretch of the file that holds a column of a row group.
    pub(super) fn chunk(&self, column: &ColumnChunkMetaData) -> Result<Chunks, OfflineError> {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        // The parquet crate panics where these are negative.
        let end = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
        let end = end.and_then(|(start, length)| start.checked_add(length));
        let nowhere = || OfflineError::damaged(&self.name, "a column is said to lie before the file");
        end.map(|end| self.chunks.before(end)).ok_or_else(nowhere)
    }

    /// A text about the file as a whole.
    pub(crate) fn note(&self, key: &str) -> Option<&str> {
        let notes = self.metadata().file_metadata().key_value_metadata()?;
        notes.iter().find(|note| note.key == key)?.value.as_deref()
    }

    /// The columns, groups whole.
    pub(crate) fn fields(&self) -> &[TypePtr] {
        self.metadata().file_metadata().schema().get_fields()
    }

    pub(crate) fn groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    /// Rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.group(group).map_or(0, RowGroupMetaData::num_rows)).unwrap_or_default()
    }

    fn group(&self, group: usize) -> Option<&RowGroupMetaData> {
        self.metadata().row_groups().get(group)
    }

    /// The place of a column that is one leaf: a cell a row, or a list a row.
    pub(crate) fn leaf(&self, column: &str) -> Result<usize, OfflineError> {
        let descriptor = self.metadata().file_metadata().schema_descr();
        let mut leaves = (0..descriptor.num_columns())
            .filter(|leaf| descriptor.column(*leaf).path().parts().first().is_some_and(|part| part == column));
        let place = || format!("`{}`, column `{column}`", self.name);
        let Some(leaf) = leaves.next() else {
            let known: Vec<&str> = self.fields().iter().map(|field| field.name()).collect();
            return Err(OfflineError::invalid(place(), format!("expected this column, got `{}`", known.join("`, `"))));
        };
        if leaves.next().is_some() || descriptor.column(leaf).max_rep_level() > 1 {
            return Err(OfflineError::invalid(place(), "expected a column of values or of lists, got nested ones"));
        }
        Ok(leaf)
    }

    /// What the values of a leaf mean.
    pub(crate) fn kind(&self, leaf: usize) -> Kind {
        kind(&self.metadata().file_metadata().schema_descr().column(leaf))
    }

    /// The least and greatest value of a leaf of 64-bit numbers in a row group, where the file tells them.
    pub(crate) fn bounds(&self, group: usize, leaf: usize) -> Option<(i64, i64)> {
        let known = self.group(group)?.column(leaf).statistics()?;
        let Statistics::Int64(known) = known else { return None };
        known.min_opt().copied().zip(known.max_opt().copied())
    }

    /// How many cells of a leaf in a row group are null, where the file tells it; of lists also the empty ones.
    pub(crate) fn nulls(&self, group: usize, leaf: usize) -> Option<u64> {
        self.group(group)?.column(leaf).statistics()?.null_count_opt()
    }

    /// Reads a leaf of a row group.
    pub(crate) fn read(&self, group: usize, leaf: usize) -> Result<Leaf, OfflineError> {
        let damaged = |error: ParquetError| fault(&self.name, &error);
        let schema = self.metadata().file_metadata().schema_descr();
        let descriptor = schema.column(leaf);
        let rows = self.rows(group);
        let no_group = || OfflineError::damaged(&self.name, format!("expected row group `{group}`"));
        let column = self.group(group).ok_or_else(no_group)?.column(leaf);
        let chunk = Arc::new(self.chunk(column)?);
        let pages = SerializedPageReader::new(chunk, column, rows, None).map_err(damaged)?;
        let reader = get_column_reader(Arc::clone(&descriptor), Box::new(pages));
        let mut levels = Levels { rows, definition: Vec::new(), repetition: Vec::new() };
        let values = match reader {
            ColumnReader::BoolColumnReader(reader) => Physical::Bool(levels.read(reader).map_err(damaged)?),
            ColumnReader::Int32ColumnReader(reader) => Physical::Int32(levels.read(reader).map_err(damaged)?),
            ColumnReader::Int64ColumnReader(reader) => Physical::Int64(levels.read(reader).map_err(damaged)?),
            ColumnReader::Int96ColumnReader(reader) => Physical::Int96(levels.read(reader).map_err(damaged)?),
            ColumnReader::FloatColumnReader(reader) => Physical::Float(levels.read(reader).map_err(damaged)?),
            ColumnReader::DoubleColumnReader(reader) => Physical::Double(levels.read(reader).map_err(damaged)?),
            ColumnReader::ByteArrayColumnReader(reader) => Physical::Bytes(levels.read(reader).map_err(damaged)?),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                let values = levels.read(reader).map_err(damaged)?;
                Physical::Bytes(values.into_iter().map(ByteArray::from).collect())
            }
        };
        Ok(Leaf {
            kind: kind(&descriptor),
            values,
            definition: levels.definition,
            repetition: levels.repetition,
            most_defined: descriptor.max_def_level(),
            in_list: in_list(schema.root_schema(), &descriptor),
            rows,
        })
    }
}

/// What says where values are.
struct Levels {
    rows: usize,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl Levels {
    fn read<T: DataType>(&mut self, mut reader: ColumnReaderImpl<T>) -> Result<Vec<T::T>, ParquetError> {
        let mut values = Vec::new();
        let mut rows = 0;
        while rows < self.rows {
            let (read, _, _) = reader.read_records(
                self.rows - rows,
                Some(&mut self.definition),
                Some(&mut self.repetition),
                &mut values,
            )?;
            if read == 0 {
                return Err(ParquetError::EOF(format!("expected `{}` rows, got `{rows}`", self.rows)));
            }
            rows += read;
        }
        Ok(values)
    }
}

/// A reader's error. What cannot be read is another thing than what was read and is wrong.
fn fault(name: &str, error: &ParquetError) -> OfflineError {
    match error {
        ParquetError::NYI(detail) => OfflineError::Unsupported { place: format!("`{name}`"), reason: detail.clone() },
        other => OfflineError::within(other).unwrap_or_else(|| OfflineError::damaged(name, other)),
    }
}
