//! One day of a view as a Parquet file: `day=2013-01-31/rows.parquet`.
//!
//! Columns are the join keys and features as they are declared, the event time, and the time of creation where the source
//! has one; rows stand in the order of both, then as they stood in the source, so that joins break ties the same way.

use std::sync::Arc;

use hanok_features::FeatureView;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

use crate::error::OfflineError;
use crate::parquet_file::{Encoded, ParquetTable, ParquetWriter, feature_field, gathered};
use crate::past::{CREATED_TIMESTAMP, EVENT_TIMESTAMP, PastRows, key_type};
use crate::storage::Storage;
use crate::table::Physical;

/// Nanoseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000_000;
/// Rows of a row group: small enough that joins over a short time skip most of a large day.
const GROUP_ROWS: usize = 1 << 18;
/// Note of the fingerprint in a file.
const NOTE: &str = "hanok.backfill";

/// The file of a day, which is counted from the Unix epoch.
pub(super) fn file_of(folder: &str, day: i64) -> String {
    let date = crate::period::instant_text(day.saturating_mul(DAY));
    let date = date.split('T').next().unwrap_or_default();
    format!("{}/day={date}/rows.parquet", folder.trim_end_matches('/'))
}

/// The table of a day, if it is there with this fingerprint. What cannot be read is not there.
pub(super) fn kept(storage: &dyn Storage, file: &str, fingerprint: &str) -> Option<ParquetTable> {
    let table = ParquetTable::open(storage, file).ok()?;
    (table.note(NOTE) == Some(fingerprint)).then_some(table)
}

/// How a table of a view's rows is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'f> {
    /// Note of what it was made of, if it is to be told again.
    pub(super) fingerprint: Option<&'f str>,
    pub(super) has_created: bool,
    /// Times are whole microseconds otherwise.
    pub(super) nanos: bool,
    /// Rows of a row group, at most.
    pub(super) group_rows: usize,
}

/// A table under way: rows of a view in the order in which they are given.
pub(super) struct RowsWriter<'f> {
    writer: ParquetWriter,
    form: Form<'f>,
}

impl<'f> RowsWriter<'f> {
    pub(super) fn create(
        storage: &dyn Storage,
        view: &FeatureView,
        file: &str,
        form: Form<'f>,
    ) -> Result<Self, OfflineError> {
        let fields = fields(view, form.has_created, form.nanos);
        let fields = fields.map_err(|error| OfflineError::invalid(format!("`{file}`"), error.to_string()))?;
        let notes = form.fingerprint.map(|print| (NOTE.to_owned(), print.to_owned())).into_iter().collect();
        Ok(Self { writer: ParquetWriter::create(storage, file, fields, notes)?, form })
    }

    /// Writes rows, which are places in `past`.
    pub(super) fn write(&mut self, past: &PastRows, rows: &[u32]) -> Result<(), OfflineError> {
        let unit = if self.form.nanos { 1 } else { 1000 };
        for rows in rows.chunks(self.form.group_rows.clamp(1, GROUP_ROWS)) {
            let mut columns: Vec<Encoded> = past.keys.iter().map(|column| gathered(column, rows)).collect();
            let times = rows.iter().map(|row| past.times[*row as usize].div_euclid(unit)).collect();
            columns.push(Encoded { values: Physical::Int64(times), definition: None, repetition: None });
            if let Some(created) = &past.created {
                let created: Vec<Option<i64>> = rows
                    .iter()
                    .map(|row| Some(created[*row as usize]).filter(|created| *created != i64::MIN))
                    .collect();
                columns.push(Encoded {
                    definition: Some(created.iter().map(|created| i16::from(created.is_some())).collect()),
                    values: Physical::Int64(created.iter().flatten().map(|created| created.div_euclid(unit)).collect()),
                    repetition: None,
                });
            }
            columns.extend(past.features.iter().map(|column| gathered(column, rows)));
            self.writer.group(None, &columns)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), OfflineError> {
        self.writer.finish()
    }
}

fn fields(view: &FeatureView, has_created: bool, nanos: bool) -> Result<Vec<TypePtr>, ParquetError> {
    let time = |name: &str, repetition| {
        let unit = if nanos { TimeUnit::NANOS } else { TimeUnit::MICROS };
        Type::primitive_type_builder(name, PhysicalType::INT64)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::timestamp(true, unit)))
            .build()
            .map(Arc::new)
    };
    let mut fields = Vec::new();
    for (at, (name, _)) in view.keys.names().iter().enumerate() {
        fields.push(feature_field(name, key_type(view, at))?);
    }
    fields.push(time(EVENT_TIMESTAMP, Repetition::REQUIRED)?);
    if has_created {
        fields.push(time(CREATED_TIMESTAMP, Repetition::OPTIONAL)?);
    }
    for feature in &view.features {
        fields.push(feature_field(&feature.name, feature.data_type)?);
    }
    Ok(fields)
}
