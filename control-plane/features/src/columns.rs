//! Values of many rows and features in two buffers: the form that stores fill and tensors are written from.
//!
//! Columns lie behind each other, rows within a column: cell = `column * rows + row`. A cell has a slot of eight bytes,
//! a status and an event time; what has no fixed width lies in one arena. Nothing is allocated for a single value.

use std::sync::Arc;

use crate::data_type::{ElementType, FeatureType};
use crate::error::FeatureError;
use crate::row::NO_TIME;
use crate::value::{ListRef, Value, ValueRef};

/// Most bytes of texts, byte strings and lists in one batch.
pub const ARENA_BYTES: usize = 256 << 20;
/// Most faults of a batch whose texts are kept.
const MOST_FAULTS: usize = 64;

/// What a store has for one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CellStatus {
    /// No row for this key, or a row without this feature.
    #[default]
    NotFound,
    /// Written, as null.
    Null,
    /// A value.
    Present,
    /// What is stored cannot be used as declared: [`Columns::fault`] says why.
    Unusable,
}

/// One value, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    /// The bits of a value with a fixed width; else where it lies in the arena.
    bits: u64,
    event_micros: i64,
    status: CellStatus,
}

impl Cell {
    const NOT_FOUND: Self = Self { bits: 0, event_micros: NO_TIME, status: CellStatus::NotFound };
}

/// A batch: `[columns, rows]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    types: Arc<[FeatureType]>,
    rows: usize,
    cells: Vec<Cell>,
    arena: Vec<u8>,
    /// By cell.
    faults: Vec<(usize, Box<str>)>,
}

impl Columns {
    /// Columns of these types with `rows` rows, nothing found yet.
    #[must_use]
    pub fn new(types: Arc<[FeatureType]>, rows: usize) -> Self {
        let cells = types.len() * rows;
        Self { types, rows, cells: vec![Cell::NOT_FOUND; cells], arena: Vec::new(), faults: Vec::new() }
    }

    /// How many rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.types.len()
    }

    /// The types, one a column.
    #[must_use]
    pub const fn types(&self) -> &Arc<[FeatureType]> {
        &self.types
    }

    /// One column; none behind the last.
    #[must_use]
    pub fn column(&self, index: usize) -> Option<Column<'_>> {
        let data_type = *self.types.get(index)?;
        let cells = self.cells.get(index * self.rows..(index + 1) * self.rows)?;
        Some(Column { data_type, cells, arena: &self.arena })
    }

    /// Whether a cell holds a value that became true at `not_before` or later; an unknown time is before every other. The
    /// short way for the many cells about which nothing is to be decided.
    pub(crate) fn is_fresh(&self, column: usize, row: usize, not_before: i64) -> bool {
        self.cells
            .get(column * self.rows + row)
            .is_some_and(|cell| cell.status == CellStatus::Present && cell.event_micros >= not_before)
    }

    /// What is known of a cell.
    pub(crate) fn status(&self, column: usize, row: usize) -> CellStatus {
        self.cells.get(column * self.rows + row).map_or(CellStatus::NotFound, |cell| cell.status)
    }

    /// Forgets a cell.
    pub(crate) fn clear(&mut self, column: usize, row: usize) {
        self.set(column, row, CellStatus::NotFound, 0, None);
    }

    /// Sets a null.
    pub fn set_null(&mut self, column: usize, row: usize, event_micros: Option<i64>) {
        self.set(column, row, CellStatus::Null, 0, event_micros);
    }

    /// Marks a cell whose stored value cannot be used, with what is wrong: expected before actual. Neighbours are not
    /// affected: one bad row must not fail those that were read with it.
    pub fn set_unusable(&mut self, column: usize, row: usize, fault: impl FnOnce() -> String) {
        self.set(column, row, CellStatus::Unusable, 0, None);
        if self.faults.len() < MOST_FAULTS {
            self.faults.push((column * self.rows + row, fault().into()));
        }
    }

    /// What is wrong with an unusable cell, where the text was kept.
    #[must_use]
    pub fn fault(&self, column: usize, row: usize) -> Option<&str> {
        let cell = column * self.rows + row;
        self.faults.iter().find(|(one, _)| *one == cell).map(|(_, fault)| &**fault)
    }

    /// How many cells are known to be unusable, up to a bound.
    pub(crate) const fn faults(&self) -> usize {
        self.faults.len()
    }

    /// What is wrong with the first unusable cell.
    pub(crate) fn first_fault(&self) -> Option<&str> {
        self.faults.first().map(|(_, fault)| &**fault)
    }

    /// Sets a value; its type must be the column's.
    ///
    /// # Errors
    /// `InvalidArgument` for another type; `ResourceExhausted` when the arena is full.
    pub fn set_value(
        &mut self,
        column: usize,
        row: usize,
        value: &Value,
        event_micros: Option<i64>,
    ) -> Result<(), FeatureError> {
        let (wanted, given) = (self.types.get(column).copied(), value.feature_type());
        if wanted != Some(given) {
            let wanted = wanted.map_or_else(|| "none".to_owned(), |wanted| wanted.to_string());
            return Err(FeatureError::invalid("value", format!("expected type `{wanted}`, got `{given}`")));
        }
        if given.is_variable() {
            self.set_variable(column, row, event_micros, |arena| value.write_variable(arena))
        } else {
            self.set(column, row, CellStatus::Present, value.fixed_bits(), event_micros);
            Ok(())
        }
    }

    /// Sets the bits of a value with a fixed width.
    pub fn set_bits(&mut self, column: usize, row: usize, bits: u64, event_micros: Option<i64>) {
        self.set(column, row, CellStatus::Present, bits, event_micros);
    }

    /// Sets a text, bytes or a list by appending it to the arena, as [`ListRef::packed`] says.
    ///
    /// # Errors
    /// `ResourceExhausted` when the arena is full. The cell is unchanged then.
    pub fn set_variable(
        &mut self,
        column: usize,
        row: usize,
        event_micros: Option<i64>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), FeatureError> {
        let start = self.arena.len();
        write(&mut self.arena);
        let packed = pack(start, self.arena.len());
        let Some(packed) = packed else {
            self.arena.truncate(start);
            return Err(FeatureError::LimitReached { what: "bytes of texts and lists in a batch", limit: ARENA_BYTES });
        };
        self.set(column, row, CellStatus::Present, packed, event_micros);
        Ok(())
    }

    fn set(&mut self, column: usize, row: usize, status: CellStatus, bits: u64, event_micros: Option<i64>) {
        debug_assert!(column < self.types.len() && row < self.rows, "a cell outside of the batch");
        let cell = column * self.rows + row;
        if let Some(cell) = self.cells.get_mut(cell) {
            *cell = Cell { bits, event_micros: event_micros.unwrap_or(NO_TIME), status };
        }
    }

    /// Copies a number from a column of the same type, if there is one that became true at `not_before` or later; an unknown
    /// time is before every other. The short way for the many cells about which nothing is to be decided.
    pub(crate) fn copy_number(&mut self, to: (usize, usize), source: &Column<'_>, row: usize, not_before: i64) -> bool {
        let Some(found) = source.cells.get(row).filter(|found| found.status == CellStatus::Present) else {
            return false;
        };
        if source.data_type.is_variable() || found.event_micros < not_before {
            return false;
        }
        if let Some(cell) = self.cells.get_mut(to.0 * self.rows + to.1) {
            *cell = *found;
        }
        true
    }

    /// Copies a cell of `other` here; both columns have one type.
    ///
    /// # Errors
    /// `ResourceExhausted` when the arena is full.
    pub fn copy_cell(
        &mut self,
        to: (usize, usize),
        other: &Self,
        from: (usize, usize),
    ) -> Result<CellStatus, FeatureError> {
        let Some(source) = other.column(from.0) else { return Ok(CellStatus::NotFound) };
        let event = source.event_micros(from.1);
        let status = source.status(from.1);
        match status {
            CellStatus::Present if source.data_type.is_variable() => {
                let bytes = source.variable(from.1);
                self.set_variable(to.0, to.1, event, |arena| arena.extend_from_slice(bytes))?;
            }
            CellStatus::Unusable => {
                let fault = other.fault(from.0, from.1).unwrap_or("not told").to_owned();
                self.set_unusable(to.0, to.1, || fault);
            }
            CellStatus::Present | CellStatus::Null | CellStatus::NotFound => {
                let bits = source.bits(from.1);
                self.set(to.0, to.1, status, bits, event);
            }
        }
        Ok(status)
    }
}

/// Offset and length as one slot, where they fit into the arena's bound.
fn pack(start: usize, end: usize) -> Option<u64> {
    let fits = end <= ARENA_BYTES;
    let (start, length) = (u32::try_from(start).ok()?, u32::try_from(end - start).ok()?);
    fits.then_some(u64::from(start) << 32 | u64::from(length))
}

/// One column of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    data_type: FeatureType,
    cells: &'a [Cell],
    arena: &'a [u8],
}

impl<'a> Column<'a> {
    /// Type of the values.
    #[must_use]
    pub const fn data_type(&self) -> FeatureType {
        self.data_type
    }

    /// How many rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// What is known of a row.
    #[must_use]
    pub fn status(&self, row: usize) -> CellStatus {
        self.cells.get(row).map_or(CellStatus::NotFound, |cell| cell.status)
    }

    /// When the value became true, in microseconds since the Unix epoch.
    #[must_use]
    pub fn event_micros(&self, row: usize) -> Option<i64> {
        self.cells.get(row).map(|cell| cell.event_micros).filter(|time| *time != NO_TIME)
    }

    /// The value of a row; none where it is null or was not found.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the slot holds exactly the type's bits")]
    pub fn value(&self, row: usize) -> Option<ValueRef<'a>> {
        if self.status(row) != CellStatus::Present {
            return None;
        }
        let bits = self.bits(row);
        if self.data_type.list {
            return Some(ValueRef::List(ListRef { element: self.data_type.element, packed: self.variable(row) }));
        }
        Some(match self.data_type.element {
            ElementType::Bool => ValueRef::Bool(bits != 0),
            ElementType::Int32 => ValueRef::Int32((bits as u32).cast_signed()),
            ElementType::Int64 => ValueRef::Int64(bits.cast_signed()),
            ElementType::Timestamp => ValueRef::Timestamp(bits.cast_signed()),
            ElementType::Float32 => ValueRef::Float32(f32::from_bits(bits as u32)),
            ElementType::Float64 => ValueRef::Float64(f64::from_bits(bits)),
            ElementType::String => ValueRef::String(std::str::from_utf8(self.variable(row)).unwrap_or_default()),
            ElementType::Bytes => ValueRef::Bytes(self.variable(row)),
        })
    }

    /// What lies in the arena for a row, where the column's type has no fixed width and there is a value.
    pub(crate) fn variable_bytes(&self, row: usize) -> Option<&'a [u8]> {
        (self.data_type.is_variable() && self.status(row) == CellStatus::Present).then(|| self.variable(row))
    }

    /// The slot of a row as it is.
    pub(crate) fn bits(&self, row: usize) -> u64 {
        self.cells.get(row).map_or(0, |cell| cell.bits)
    }

    fn variable(&self, row: usize) -> &'a [u8] {
        let packed = self.bits(row);
        let part = |bits: u64| usize::try_from(bits & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let (start, length) = (part(packed >> 32), part(packed));
        self.arena.get(start..start.saturating_add(length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{CellStatus, Columns};
    use crate::data_type::FeatureType;
    use crate::value::Value;

    fn any_value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::Int32),
            any::<i64>().prop_map(Value::Int64),
            any::<f32>().prop_map(Value::Float32),
            any::<f64>().prop_map(Value::Float64),
            ".{0,12}".prop_map(Value::String),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
            any::<i64>().prop_map(Value::Timestamp),
        ];
        let list = (scalar.clone(), 0_usize..4)
            .prop_map(|(value, count)| Value::List(value.feature_type().element, vec![value; count]));
        prop_oneof![scalar, list]
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(values in prop::collection::vec(any_value(), 1..8), event in any::<i32>()) {
            let types: Arc<[FeatureType]> = values.iter().map(Value::feature_type).collect();
            let mut columns = Columns::new(Arc::clone(&types), 2);
            let mut copy = Columns::new(types, 1);
            for (column, value) in values.iter().enumerate() {
                columns.set_value(column, 1, value, Some(i64::from(event))).unwrap();
                copy.copy_cell((column, 0), &columns, (column, 1)).unwrap();
                for (held, row) in [(&columns, 1), (&copy, 0)] {
                    let held = held.column(column).unwrap();
                    let read = held.value(row).unwrap().to_owned();
                    prop_assert_eq!(format!("{read:?}"), format!("{value:?}"));
                    prop_assert_eq!(held.event_micros(row), Some(i64::from(event)));
                }
                prop_assert_eq!(columns.column(column).unwrap().status(0), CellStatus::NotFound);
            }
        }
    }
}
