//! Remembered lists of one input that takes any length: they must have the length of the request's other rows.
//!
//! What a store tells now decides; a list that was remembered from before, of another length, is not served beside it.

use crate::columns::Column;
use crate::error::Missing;
use crate::value::ValueRef;

/// Rows of a column for which a remembered value stands, and why the store told none.
#[derive(Debug, Default)]
pub(super) struct Recalled(Vec<(usize, Missing)>);

impl Recalled {
    pub(super) fn note(&mut self, row: usize, why: Missing) {
        self.0.push((row, why));
    }

    /// Those whose list has another length than that of the first row which is not remembered, or, where all are, than
    /// the first.
    pub(super) fn of_other_length(self, column: &Column<'_>) -> Vec<(usize, Missing)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let length = |row: usize| match column.value(row) {
            Some(ValueRef::List(list)) => Some(list.len()),
            _ => None,
        };
        let is_recalled = |row: &usize| self.0.binary_search_by_key(row, |(recalled, _)| *recalled).is_ok();
        let told = (0..column.len()).filter(|row| !is_recalled(row)).find_map(length);
        let wanted = told.or_else(|| self.0.iter().find_map(|(row, _)| length(*row)));
        self.0.into_iter().filter(|(row, _)| length(*row) != wanted).collect()
    }
}
