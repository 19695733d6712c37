//! What is known of a request's rows of one view: from the cache, from a store, or why not.

use std::sync::Arc;

use super::cache::Remembered;
use crate::columns::{CellStatus, Column, Columns};
use crate::error::{FeatureError, Missing};

/// The answer for a view, in a read that may be for several requests.
#[derive(Debug)]
pub(super) struct Told {
    /// The answers of the whole read.
    pub(super) all: Arc<Vec<Columns>>,
    /// Which of them.
    pub(super) index: usize,
    /// By key that this request asked for: which row of it.
    pub(super) rows: Vec<usize>,
}

impl Told {
    pub(super) fn columns(&self) -> Option<&Columns> {
        self.all.get(self.index)
    }
}

/// What is known of one view.
#[derive(Debug, Default)]
pub(super) struct ViewAnswer {
    /// By row, where there is a cache: what it has, and whether that is within the maximum age.
    pub(super) remembered: Vec<Option<(Remembered, bool)>>,
    /// By row: which key of the read; [`NOT_ASKED`] where the store was not asked.
    pub(super) asked: Vec<usize>,
    /// What the store answered.
    pub(super) told: Option<Told>,
    /// The store is in memory, and its rows are in the request's columns already.
    pub(super) in_place: bool,
    /// Why the store told nothing.
    pub(super) untold: Option<Missing>,
}

/// The row was not asked for.
pub(super) const NOT_ASKED: usize = usize::MAX;

/// Where a cell's content came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Store,
    Cache,
}

impl ViewAnswer {
    /// Copies what is known of feature `place` of `row` into a cell. Says where it came from, or why there is nothing.
    pub(super) fn copy_into(
        &self,
        place: usize,
        row: usize,
        to: &mut Columns,
        cell: (usize, usize),
    ) -> Result<(Source, CellStatus), Copied> {
        if let Some(Some((remembered, true))) = self.remembered.get(row) {
            let status = remembered.copy_into(place, to, cell).map_err(Copied::Error)?;
            return Ok((Source::Cache, status));
        }
        let told = self.told.as_ref().and_then(|told| {
            let asked = self.asked.get(row).copied().filter(|asked| *asked != NOT_ASKED)?;
            Some((told.columns()?, *told.rows.get(asked)?))
        });
        match told {
            Some((columns, from)) => {
                let status = to.copy_cell(cell, columns, (place, from)).map_err(Copied::Error)?;
                Ok((Source::Store, status))
            }
            None => Err(Copied::Untold(
                self.untold.clone().unwrap_or_else(|| Missing::StoreUnavailable("no answer".into())),
            )),
        }
    }

    /// The column that feature `place` is read from, where every row that was asked is answered by the store.
    pub(super) fn direct(&self, place: usize) -> Option<Direct<'_>> {
        let told = self.told.as_ref().filter(|_| self.remembered.is_empty())?;
        Some(Direct { column: told.columns()?.column(place)?, asked: &self.asked, rows: &told.rows })
    }

    /// The row that asked for a key of the read first.
    pub(super) fn row_of(&self, key: usize) -> Option<usize> {
        self.asked.iter().position(|asked| *asked == key)
    }

    /// What is remembered of a row, however old.
    pub(super) fn last_known(&self, row: usize) -> Option<&Remembered> {
        self.remembered.get(row)?.as_ref().map(|(remembered, _)| remembered)
    }
}

/// A column of a store's answer, by row of the request.
#[derive(Debug)]
pub(super) struct Direct<'a> {
    pub(super) column: Column<'a>,
    asked: &'a [usize],
    rows: &'a [usize],
}

impl Direct<'_> {
    /// The column's row for a row of the request; behind the last where there is none.
    pub(super) fn row(&self, row: usize) -> usize {
        let asked = self.asked.get(row).copied().unwrap_or(NOT_ASKED);
        self.rows.get(asked).copied().unwrap_or(NOT_ASKED)
    }
}

/// Why a cell has no content.
#[derive(Debug)]
pub(super) enum Copied {
    /// Nothing is known.
    Untold(Missing),
    /// The batch is full, or a row is damaged.
    Error(FeatureError),
}
