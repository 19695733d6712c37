//! One row of a feature view as bytes: what the embedded store keeps and the hot-key cache holds.
//!
//! `i64` event time in microseconds, then for each feature one byte of status, then eight bytes a feature, then the tail
//! that variable values point into by offset and length (`u32` each). Little-endian. The layout of features is the
//! caller's to know; bytes that contradict themselves are an error and never a panic.

use crate::columns::{CellStatus, Columns};
use crate::error::FeatureError;
use crate::value::Value;

const HEADER: usize = 8;
/// An event time that is not known.
pub(crate) const NO_TIME: i64 = i64::MIN;
/// Longest row, in bytes: one key's values are small, and one bad source row must not fill the store.
pub const ROW_BYTES: usize = 1 << 20;

/// Appends a row: a value, or none for null, for each feature.
///
/// # Errors
/// `ResourceExhausted` above [`ROW_BYTES`]; nothing is appended then.
pub(crate) fn write_row(values: &[Option<Value>], event_micros: i64, out: &mut Vec<u8>) -> Result<(), FeatureError> {
    let start = out.len();
    out.extend_from_slice(&event_micros.to_le_bytes());
    out.extend(
        values.iter().map(|value| status_byte(if value.is_some() { CellStatus::Present } else { CellStatus::Null })),
    );
    let slots = out.len();
    out.resize(slots + values.len() * 8, 0);
    let tail = out.len();
    for (place, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let bits = if value.feature_type().is_variable() {
            let begin = out.len() - tail;
            value.write_variable(out);
            if out.len() - start > ROW_BYTES {
                out.truncate(start);
                return Err(too_long());
            }
            packed(begin, out.len() - tail - begin)
        } else {
            value.fixed_bits()
        };
        put_slot(out, slots + place * 8, bits);
    }
    Ok(())
}

/// Appends row `row` of a batch as it is, with one event time. None of it may be unusable.
pub(crate) fn write_row_of(columns: &Columns, row: usize, event_micros: i64, out: &mut Vec<u8>) {
    let views = || (0..columns.width()).filter_map(|index| columns.column(index));
    out.extend_from_slice(&event_micros.to_le_bytes());
    out.extend(views().map(|column| status_byte(column.status(row))));
    let slots = out.len();
    out.resize(slots + columns.width() * 8, 0);
    let tail = out.len();
    for (place, column) in views().enumerate() {
        let bits = match column.variable_bytes(row) {
            Some(bytes) => {
                let begin = out.len() - tail;
                out.extend_from_slice(bytes);
                packed(begin, bytes.len())
            }
            None => column.bits(row),
        };
        put_slot(out, slots + place * 8, bits);
    }
}

fn put_slot(out: &mut [u8], at: usize, bits: u64) {
    if let Some(slot) = out.get_mut(at..at + 8) {
        slot.copy_from_slice(&bits.to_le_bytes());
    }
}

fn packed(begin: usize, length: usize) -> u64 {
    // Both are below `ROW_BYTES` or a batch's arena, which fit.
    let part = |value: usize| u64::from(u32::try_from(value).unwrap_or(u32::MAX));
    part(begin) << 32 | part(length)
}

const fn status_byte(status: CellStatus) -> u8 {
    match status {
        CellStatus::NotFound | CellStatus::Unusable => 0,
        CellStatus::Null => 1,
        CellStatus::Present => 2,
    }
}

fn too_long() -> FeatureError {
    FeatureError::LimitReached { what: "bytes in a row", limit: ROW_BYTES }
}

fn damaged() -> FeatureError {
    FeatureError::internal("a stored row is damaged", "its layout does not fit its length")
}

/// A row's bytes, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowRef<'a> {
    event_micros: i64,
    status: &'a [u8],
    slots: &'a [[u8; 8]],
    tail: &'a [u8],
}

impl<'a> RowRef<'a> {
    /// Reads the row of a view with `features` features.
    pub(crate) fn read(bytes: &'a [u8], features: usize) -> Result<Self, FeatureError> {
        let (event, rest) = bytes.split_first_chunk::<HEADER>().ok_or_else(damaged)?;
        let (status, rest) = rest.split_at_checked(features).ok_or_else(damaged)?;
        let (slots, tail) = rest.split_at_checked(features * 8).ok_or_else(damaged)?;
        let (slots, _) = slots.as_chunks::<8>();
        Ok(Self { event_micros: i64::from_le_bytes(*event), status, slots, tail })
    }

    /// When the row became true.
    pub(crate) const fn event_micros(&self) -> i64 {
        self.event_micros
    }

    /// What is known of the feature at `place`.
    pub(crate) fn status(&self, place: usize) -> CellStatus {
        match self.status.get(place) {
            Some(1) => CellStatus::Null,
            Some(2) => CellStatus::Present,
            _ => CellStatus::NotFound,
        }
    }

    /// Copies the features at `places` into cells of one row: `targets` has their columns, in the same order.
    pub(crate) fn copy_row(
        &self,
        places: &[usize],
        columns: &mut Columns,
        targets: &[usize],
        row: usize,
    ) -> Result<(), FeatureError> {
        places.iter().zip(targets).try_for_each(|(place, column)| self.copy_into(*place, columns, *column, row))
    }

    /// Copies the feature at `place` into a cell of its type.
    pub(crate) fn copy_into(
        &self,
        place: usize,
        columns: &mut Columns,
        column: usize,
        row: usize,
    ) -> Result<(), FeatureError> {
        self.copy_timed(place, self.event_micros, columns, column, row)
    }

    /// The same with an event time of its own, where features of the row became true at different times.
    pub(crate) fn copy_timed(
        &self,
        place: usize,
        event_micros: i64,
        columns: &mut Columns,
        column: usize,
        row: usize,
    ) -> Result<(), FeatureError> {
        let (status, slot) = self.status.get(place).zip(self.slots.get(place)).ok_or_else(damaged)?;
        let event = (event_micros != NO_TIME).then_some(event_micros);
        match *status {
            0 => Ok(()),
            1 => {
                columns.set_null(column, row, event);
                Ok(())
            }
            2 => {
                let bits = u64::from_le_bytes(*slot);
                let variable = columns.types().get(column).is_some_and(|data_type| data_type.is_variable());
                if !variable {
                    columns.set_bits(column, row, bits, event);
                    return Ok(());
                }
                let part = |bits: u64| usize::try_from(bits & u64::from(u32::MAX)).unwrap_or(usize::MAX);
                let (begin, length) = (part(bits >> 32), part(bits));
                let bytes = self.tail.get(begin..begin.saturating_add(length)).ok_or_else(damaged)?;
                columns.set_variable(column, row, event, |arena| arena.extend_from_slice(bytes))
            }
            _ => Err(damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{RowRef, write_row, write_row_of};
    use crate::columns::{CellStatus, Columns};
    use crate::data_type::{ElementType, FeatureType};
    use crate::value::Value;

    fn types() -> Arc<[FeatureType]> {
        Arc::from([
            FeatureType::scalar(ElementType::Float32),
            FeatureType::scalar(ElementType::String),
            FeatureType::list(ElementType::Int64),
        ])
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(
            number in prop::option::of(any::<f32>()), text in prop::option::of(".{0,9}"),
            list in prop::option::of(prop::collection::vec(any::<i64>(), 0..4)), event in any::<i32>(),
        ) {
            let values = [
                number.map(Value::Float32),
                text.map(Value::String),
                list.map(|list| Value::List(ElementType::Int64, list.into_iter().map(Value::Int64).collect())),
            ];
            let mut bytes = Vec::new();
            write_row(&values, i64::from(event), &mut bytes).unwrap();
            let mut columns = Columns::new(types(), 1);
            let row = RowRef::read(&bytes, 3).unwrap();
            for (place, expected) in values.iter().enumerate() {
                row.copy_into(place, &mut columns, place, 0).unwrap();
                let column = columns.column(place).unwrap();
                let held = column.value(0).map(|value| value.to_owned());
                prop_assert_eq!(format!("{held:?}"), format!("{expected:?}"));
                prop_assert_eq!(column.event_micros(0), Some(i64::from(event)));
            }
            let mut again = Vec::new();
            write_row_of(&columns, 0, i64::from(event), &mut again);
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn damaged_rows_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut columns = Columns::new(types(), 1);
            if let Ok(row) = RowRef::read(&bytes, 3) {
                for place in 0..4 {
                    drop(row.copy_into(place, &mut columns, place.min(2), 0));
                }
            }
        }
    }

    #[test]
    fn a_row_of_nothing_is_found_as_nothing() {
        let mut bytes = Vec::new();
        write_row_of(&Columns::new(types(), 1), 0, 0, &mut bytes);
        let mut columns = Columns::new(types(), 1);
        RowRef::read(&bytes, 3).unwrap().copy_into(1, &mut columns, 1, 0).unwrap();
        assert_eq!(columns.column(1).unwrap().status(0), CellStatus::NotFound);
    }
}
