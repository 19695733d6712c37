//! The table of entities: the rows that a join answers, in their order, with all their columns.

use std::sync::Arc;

use hanok_features::{ElementType, FeatureType};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::schema::types::{Type, TypePtr};

use crate::csv_file::{CsvTable, leaf_texts};
use crate::error::OfflineError;
use crate::parquet_file::{Encoded, ParquetTable, field, gathered};
use crate::storage::Storage;
use crate::table::{Column, Kind, Leaf, Physical, instants};

/// An open table of entities.
pub(crate) enum Entities {
    /// Read again when its columns are wanted.
    Parquet(ParquetTable),
    /// In memory: what its columns are is known when the last row was seen.
    Csv { name: String, header: Vec<String>, parts: Vec<Vec<Leaf>> },
}

impl Entities {
    pub(crate) fn open(storage: &dyn Storage, name: &str, is_csv: bool) -> Result<Self, OfflineError> {
        if !is_csv {
            return ParquetTable::open(storage, name).map(Self::Parquet);
        }
        let mut table = CsvTable::open(storage, name)?;
        let all: Vec<usize> = (0..table.header().len()).collect();
        let mut parts = Vec::new();
        while let Some(part) = table.next(&all)? {
            parts.push(part);
        }
        Ok(Self::Csv { name: table.name().to_owned(), header: table.header().to_vec(), parts })
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Parquet(table) => table.name(),
            Self::Csv { name, .. } => name,
        }
    }

    /// Names of its columns.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Self::Parquet(table) => table.fields().iter().map(|field| field.name()).collect(),
            Self::Csv { header, .. } => header.iter().map(String::as_str).collect(),
        }
    }

    /// Parts that are read and written together.
    pub(crate) fn parts(&self) -> usize {
        match self {
            Self::Parquet(table) => table.groups(),
            Self::Csv { parts, .. } => parts.len(),
        }
    }

    /// Rows of a part.
    pub(crate) fn rows(&self, part: usize) -> usize {
        match self {
            Self::Parquet(table) => table.rows(part),
            Self::Csv { parts, .. } => parts[part].first().map_or(0, |leaf| leaf.rows),
        }
    }

    fn place(&self, column: &str, row: usize) -> String {
        format!("`{}`, column `{column}`, row `{}`", self.name(), row + 1)
    }

    /// Calls with the leaf of a column, part by part, and the number of the part's first row.
    fn each(
        &self,
        column: &str,
        mut visit: impl FnMut(&Leaf, usize) -> Result<(), OfflineError>,
    ) -> Result<(), OfflineError> {
        let mut first = 0;
        match self {
            Self::Parquet(table) => {
                let leaf = table.leaf(column)?;
                for group in 0..table.groups() {
                    visit(&table.read(group, leaf)?, first)?;
                    first += table.rows(group);
                }
            }
            Self::Csv { name, header, parts } => {
                let at = header.iter().position(|one| one == column).ok_or_else(|| {
                    let reason = format!("expected this column, got `{}`", header.join("`, `"));
                    OfflineError::invalid(format!("`{name}`, column `{column}`"), reason)
                })?;
                for part in parts {
                    visit(&part[at], first)?;
                    first += part[at].rows;
                }
            }
        }
        Ok(())
    }

    /// The column of a key as cells of a type.
    pub(crate) fn key(&self, column: &str, data_type: FeatureType) -> Result<Column, OfflineError> {
        let mut cells = Column::new(data_type);
        self.each(column, |leaf, first| cells.append(leaf, None, &|row| self.place(column, first + row)))?;
        if matches!(self, Self::Csv { .. }) {
            cells.empty_is_null();
        }
        Ok(cells)
    }

    /// The time of each row, which every row must have.
    pub(crate) fn times(&self, column: &str) -> Result<Vec<i64>, OfflineError> {
        let mut times = Vec::new();
        self.each(column, |leaf, first| {
            let found = instants(leaf)
                .map_err(|(row, reason)| OfflineError::invalid(self.place(column, first + row), reason))?;
            for (row, time) in found.into_iter().enumerate() {
                times.push(time.ok_or_else(|| {
                    OfflineError::invalid(self.place(column, first + row), "expected a time in every row, got null")
                })?);
            }
            Ok(())
        })?;
        Ok(times)
    }

    /// A part as text, column by column.
    pub(crate) fn texts(&self, part: usize) -> Result<Vec<Leaf>, OfflineError> {
        match self {
            Self::Csv { parts, .. } => Ok(parts[part].clone()),
            Self::Parquet(table) => {
                let first: usize = (0..part).map(|before| table.rows(before)).sum();
                let columns = table.fields().iter().map(|field| {
                    let leaf = table.read(part, table.leaf(field.name())?)?;
                    let texts = leaf_texts(&leaf, &|row| self.place(field.name(), first + row))?;
                    Ok(Leaf::full(Kind::Cell, Physical::Bytes(texts), leaf.rows))
                });
                columns.collect()
            }
        }
    }
}

/// Columns of a CSV file as columns of a Parquet file: whole numbers, floats, otherwise text; the time as an instant.
pub(crate) struct TypedCells {
    columns: Vec<(String, CellType)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CellType {
    /// Of the time: nanoseconds in one unit of the file.
    Time(i64),
    Of(ElementType),
}

impl TypedCells {
    /// Decides from every cell.
    pub(crate) fn decide(header: &[String], parts: &[Vec<Leaf>], event_time: &str, times: &[i64]) -> Self {
        let decide = |(at, name): (usize, &String)| {
            let cell_type = if name == event_time {
                CellType::Time(if times.iter().all(|time| time % 1000 == 0) { 1000 } else { 1 })
            } else {
                CellType::Of(narrowest(&parts.iter().map(|part| &part[at]).collect::<Vec<_>>()))
            };
            (name.clone(), cell_type)
        };
        Self { columns: header.iter().enumerate().map(decide).collect() }
    }

    pub(crate) fn fields(&self) -> Result<Vec<TypePtr>, OfflineError> {
        let field = |(name, cell_type): &(String, CellType)| {
            let built = match cell_type {
                CellType::Of(element) => field(name, *element, Repetition::OPTIONAL),
                CellType::Time(unit) => {
                    let unit = if *unit == 1 { TimeUnit::NANOS } else { TimeUnit::MICROS };
                    Type::primitive_type_builder(name, PhysicalType::INT64)
                        .with_repetition(Repetition::REQUIRED)
                        .with_logical_type(Some(LogicalType::timestamp(true, unit)))
                        .build()
                }
            };
            built.map(Arc::new).map_err(|error| OfflineError::invalid(format!("column `{name}`"), error.to_string()))
        };
        self.columns.iter().map(field).collect()
    }

    /// The cells of a part; `times` are those of its rows.
    pub(crate) fn encode(&self, part: &[Leaf], times: &[i64]) -> Result<Vec<Encoded>, OfflineError> {
        let rows: Vec<u32> = (0..u32::try_from(times.len()).unwrap_or(u32::MAX)).collect();
        let encode = |((name, cell_type), leaf): (&(String, CellType), &Leaf)| match cell_type {
            CellType::Time(unit) => {
                let values = Physical::Int64(times.iter().map(|time| time / unit).collect());
                Ok(Encoded { values, definition: None, repetition: None })
            }
            CellType::Of(element) => {
                let mut column = Column::new(FeatureType::scalar(*element));
                column.append(leaf, None, &|row| format!("column `{name}`, row `{}`", row + 1))?;
                Ok(gathered(&column, &rows))
            }
        };
        self.columns.iter().zip(part).map(encode).collect()
    }
}

fn narrowest(leaves: &[&Leaf]) -> ElementType {
    let cells = || {
        leaves.iter().flat_map(|leaf| match &leaf.values {
            Physical::Bytes(cells) => cells.as_slice(),
            _ => &[],
        })
    };
    let given = || cells().map(|cell| cell.data().trim_ascii()).filter(|cell| !cell.is_empty());
    let text = |cell| std::str::from_utf8(cell).ok();
    if given().next().is_none() {
        return ElementType::String;
    }
    // `007` is a code and no number: it would not come out as it went in.
    let plain = |cell: &str| {
        let digits = cell.trim_start_matches('-');
        digits == "0" || !digits.starts_with('0') || digits.starts_with("0.")
    };
    if given().all(|cell| text(cell).is_some_and(|cell| plain(cell) && cell.parse::<i64>().is_ok())) {
        return ElementType::Int64;
    }
    if given().all(|cell| text(cell).is_some_and(|cell| plain(cell) && cell.parse::<f64>().is_ok())) {
        return ElementType::Float64;
    }
    if cells().all(|cell| text(cell.data()).is_some()) { ElementType::String } else { ElementType::Bytes }
}
