//! The table in force: replaced whole by compare-and-set, and put back to the last good one by one call.
//!
//! Readers never wait. Writers are rare and wait for one another. Nothing here survives the process: the control plane
//! stores tables, and applies the latest again after a restart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use thiserror::Error;

use crate::{Problem, Snapshot, TrafficTable};

/// How many tables back one can still be marked good.
const HISTORY: usize = 16;

/// What became of a table that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is in force now.
    Replaced,
    /// It was in force already.
    AlreadyInForce,
}

/// Why a table is not in force.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TableError {
    /// It has problems; all of them.
    #[error("the traffic table has `{}` problems, the first at {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Invalid(Vec<Problem>),
    /// Another table is in force than the writer believes.
    #[error("expected table version `{expected}` in force, got `{in_force}`")]
    Conflict {
        /// What the writer expected.
        expected: u64,
        /// What is.
        in_force: u64,
    },
    /// The version is not above the one in force, or was used for other content.
    #[error("table version `{offered}` is not new, `{in_force}` is in force")]
    NotNew {
        /// Version offered.
        offered: u64,
        /// What is in force.
        in_force: u64,
    },
    /// The version to mark is neither in force nor among the last 16.
    #[error("table version `{version}` is not known any more")]
    Unknown {
        /// Version asked for.
        version: u64,
    },
    /// No table was marked good.
    #[error("no table was marked good")]
    NoGoodTable,
}

/// The table in force.
#[derive(Debug, Default)]
pub struct TableHandle {
    in_force: ArcSwap<Snapshot>,
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Writer {
    /// Replaced tables, oldest first.
    history: VecDeque<TrafficTable>,
    good: Option<TrafficTable>,
}

impl TableHandle {
    /// The table in force, for a short look; takes no lock and does not count references.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.in_force.load()
    }

    /// The table in force, to keep.
    #[must_use]
    pub fn in_force(&self) -> Arc<Snapshot> {
        self.in_force.load_full()
    }

    /// Version of the table in force; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.in_force.load().version()
    }

    /// Puts `table` in force if version `expected` is, and gives whether it had to.
    ///
    /// Requests that were routed before keep their decision; those routed after see the new table. Offering the table in
    /// force again does nothing, whatever is expected, so that a writer that was cut off may simply repeat.
    ///
    /// # Errors
    /// `Conflict`, `NotNew` or `Invalid`; then nothing has changed.
    pub fn compare_and_set(&self, expected: u64, table: TrafficTable) -> Result<Applied, TableError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.in_force.load_full();
        let in_force = before.version();
        if *before.table() == table {
            return Ok(Applied::AlreadyInForce);
        }
        if table.version == in_force {
            return Err(TableError::NotNew { offered: table.version, in_force });
        }
        if in_force != expected {
            return Err(TableError::Conflict { expected, in_force });
        }
        if table.version < in_force {
            return Err(TableError::NotNew { offered: table.version, in_force });
        }
        let snapshot = Snapshot::compile(table, Some(&before)).map_err(TableError::Invalid)?;
        self.replace(&mut writer, &before, snapshot);
        Ok(Applied::Replaced)
    }

    fn replace(&self, writer: &mut Writer, before: &Snapshot, snapshot: Snapshot) {
        if writer.history.len() == HISTORY {
            writer.history.pop_front();
        }
        writer.history.push_back(before.table().clone());
        self.in_force.store(Arc::new(snapshot));
    }

    /// Marks a table good: the one in force, or one of the last 16.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn mark_good(&self, version: u64) -> Result<(), TableError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.in_force.load();
        let known = std::iter::once(snapshot.table()).chain(&writer.history).find(|table| table.version == version);
        writer.good = Some(known.ok_or(TableError::Unknown { version })?.clone());
        Ok(())
    }

    /// The kill switch: puts the content of the last good table back in force, and gives what is in force now, for the
    /// record.
    ///
    /// It is never refused for racing with another writer: it gets the version `at_least`, or the next one after the table
    /// in force where that is higher, so that a writer who has not noticed conflicts. When the good content is in force
    /// already, nothing changes. Sequences that are pinned stay where they are.
    ///
    /// # Errors
    /// `NoGoodTable`, or `Invalid` when there is no version left.
    pub fn restore_last_good(&self, at_least: u64) -> Result<Arc<Snapshot>, TableError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = writer.good.clone().ok_or(TableError::NoGoodTable)?;
        let before = self.in_force.load_full();
        if before.table().models == table.models {
            return Ok(before);
        }
        table.version = before.version().saturating_add(1).max(at_least);
        let snapshot = Snapshot::compile(table, Some(&before)).map_err(TableError::Invalid)?;
        self.replace(&mut writer, &before, snapshot);
        Ok(self.in_force.load_full())
    }
}
