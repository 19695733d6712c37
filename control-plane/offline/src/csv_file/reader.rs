//! A CSV file whose columns are read by name, some ten thousand rows at a time.

use std::io::BufReader;

use bytes::Bytes;
use parquet::data_type::ByteArray;

use crate::error::OfflineError;
use crate::storage::{FileStream, Storage};
use crate::table::{Kind, Leaf, Physical};

/// Rows that are read together.
const ROWS_AT_ONCE: usize = 65_536;

/// An open file.
pub(crate) struct CsvTable {
    name: String,
    header: Vec<String>,
    reader: csv::Reader<BufReader<FileStream>>,
    record: csv::ByteRecord,
}

impl CsvTable {
    pub(crate) fn open(storage: &dyn Storage, name: &str) -> Result<Self, OfflineError> {
        /// What Excel writes before UTF-8.
        const MARK: &[u8] = b"\xef\xbb\xbf";
        let file = storage.open(name)?;
        let start = file.read(0, MARK.len().min(usize::try_from(file.length()).unwrap_or(usize::MAX)));
        let start = start.map_err(|error| OfflineError::from_storage(name, &error))?;
        let at = if start == MARK { MARK.len() as u64 } else { 0 };
        let mut reader = csv::ReaderBuilder::new().from_reader(FileStream::buffered(file, at));
        let header = reader.headers().map_err(|error| fault(name, &error))?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        if header.is_empty() {
            return Err(OfflineError::damaged(name, "expected a header line, got an empty file"));
        }
        if let Some((at, column)) = header.iter().enumerate().find(|(at, column)| header[..*at].contains(column)) {
            let reason = format!("expected names that differ, column `{}` is called `{column}` too", at + 1);
            return Err(OfflineError::invalid(format!("`{name}`, header line"), reason));
        }
        Ok(Self { name: name.to_owned(), header, reader, record: csv::ByteRecord::new() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names of the columns.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// The place of a column.
    pub(crate) fn column(&self, name: &str) -> Result<usize, OfflineError> {
        self.header.iter().position(|column| column == name).ok_or_else(|| {
            let reason = format!("expected this column, got `{}`", self.header.join("`, `"));
            OfflineError::invalid(format!("`{}`, column `{name}`", self.name), reason)
        })
    }

    /// The next rows of these columns; none at the end.
    pub(crate) fn next(&mut self, columns: &[usize]) -> Result<Option<Vec<Leaf>>, OfflineError> {
        let mut cells: Vec<(Vec<u8>, Vec<usize>)> = columns.iter().map(|_| (Vec::new(), Vec::new())).collect();
        let mut rows = 0;
        while rows < ROWS_AT_ONCE {
            if !self.reader.read_byte_record(&mut self.record).map_err(|error| fault(&self.name, &error))? {
                break;
            }
            rows += 1;
            for ((bytes, ends), column) in cells.iter_mut().zip(columns) {
                bytes.extend_from_slice(self.record.get(*column).unwrap_or_default());
                ends.push(bytes.len());
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let leaf = |(bytes, ends): (Vec<u8>, Vec<usize>)| {
            let bytes = Bytes::from(bytes);
            let mut start = 0;
            let cell = |end: usize| {
                let cell = ByteArray::from(bytes.slice(start..end));
                start = end;
                cell
            };
            Leaf::full(Kind::Cell, Physical::Bytes(ends.into_iter().map(cell).collect()), rows)
        };
        Ok(Some(cells.into_iter().map(leaf).collect()))
    }
}

fn fault(name: &str, error: &csv::Error) -> OfflineError {
    match error.position() {
        Some(position) if !error.is_io_error() => {
            OfflineError::invalid(format!("`{name}`, line `{}`", position.line()), error.to_string())
        }
        _ => OfflineError::from_storage(name, error),
    }
}
