//! The newest row of each key within an interval.

use hanok_features::{ElementType, FeatureView, KeyType, KeyValue, Value, WriteRow};

use crate::error::OfflineError;
use crate::history::{History, KeyIndex};
use crate::past::{Origin, PastRows, Seen, Wanted, read_past};
use crate::period::Period;
use crate::storage::Storage;
use crate::table::{Column, NO_ROW, Values};

/// The newest row of each key, in no promised order.
#[derive(Debug)]
pub struct NewestRows {
    past: PastRows,
    chosen: Vec<u32>,
}

/// Reads the newest row of each key of a view within a period: of rows of one key and time the one created last, or the
/// last of the files. Blocks.
///
/// # Errors
/// What is wrong with the declaration or the files, with file, column and row.
pub fn newest_rows(storage: &dyn Storage, view: &FeatureView, period: Period) -> Result<NewestRows, OfflineError> {
    let origin = Origin::of(view)?;
    let features: Vec<usize> = (0..view.features.len()).collect();
    let mut index = KeyIndex::new(view.keys.names().len());
    let past = read_past(storage, view, &origin, &features, period, Wanted::All(&mut index))?;
    let history = History::new(index.len(), &past.codes, &past.times, past.created.as_deref());
    let chosen = history.last_of_each().filter(|row| *row != NO_ROW).collect();
    Ok(NewestRows { past, chosen })
}

impl NewestRows {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Event time of the newest row that was read, in nanoseconds since the epoch.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.past.times.iter().max().copied()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// What was read.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        self.past.seen
    }

    /// Rows in portions of `size`, as an online store takes them.
    pub fn portions<'r>(
        &'r self,
        view: &'r FeatureView,
        size: usize,
    ) -> impl Iterator<Item = Result<Vec<WriteRow>, OfflineError>> + 'r {
        self.chosen.chunks(size).map(move |rows| rows.iter().map(|row| self.row(view, *row as usize)).collect())
    }

    fn row(&self, view: &FeatureView, row: usize) -> Result<WriteRow, OfflineError> {
        let mut key = Vec::new();
        let part = |place: usize| {
            let key_type = view.keys.names().get(place).map_or(KeyType::Bytes, |(_, key_type)| *key_type);
            key_value(&self.past.keys[place], key_type, row)
        };
        view.keys.write(part, &mut key)?;
        let values = self.past.features.iter().map(|column| value(column, row)).collect();
        Ok(WriteRow { key, event_micros: self.past.times[row].div_euclid(1000), values })
    }
}

/// A key's part as stores have it.
fn key_value(column: &Column, key_type: KeyType, row: usize) -> KeyValue<'_> {
    match &column.values {
        Values::Int32(values) => KeyValue::Int(values[row].into()),
        // Keys that are instants are seconds.
        Values::Int64(values) if key_type == KeyType::Timestamp => KeyValue::Int(values[row].div_euclid(1_000_000)),
        Values::Int64(values) => KeyValue::Int(values[row]),
        Values::Bytes(values) => KeyValue::Bytes(values[row].data()),
        Values::Bool(_) | Values::Float32(_) | Values::Float64(_) => KeyValue::Bytes(&[]),
    }
}

/// A cell as an owned value; none where it is null.
pub(crate) fn value(column: &Column, row: usize) -> Option<Value> {
    if !column.present[row] {
        return None;
    }
    if column.data_type.list {
        let elements = column.elements(row).map(|at| element(column, at)).collect();
        return Some(Value::List(column.data_type.element, elements));
    }
    Some(element(column, row))
}

fn element(column: &Column, at: usize) -> Value {
    match &column.values {
        Values::Bool(values) => Value::Bool(values[at]),
        Values::Int32(values) => Value::Int32(values[at]),
        Values::Int64(values) if column.data_type.element == ElementType::Timestamp => Value::Timestamp(values[at]),
        Values::Int64(values) => Value::Int64(values[at]),
        Values::Float32(values) => Value::Float32(values[at]),
        Values::Float64(values) => Value::Float64(values[at]),
        Values::Bytes(values) if column.data_type.element == ElementType::String => {
            Value::String(String::from_utf8_lossy(values[at].data()).into_owned())
        }
        Values::Bytes(values) => Value::Bytes(values[at].data().to_vec()),
    }
}
