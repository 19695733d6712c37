//! The thread that owns the file: writes that wait together share one transaction and one fsync; what other processes
//! write is looked for ten times a second.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::database::{Database, NewRow};
use super::table::{KeyedRow, Table};
use crate::error::FeatureError;

/// Most writes of one transaction.
const WRITES_PER_TRANSACTION: usize = 64;
/// How often writes of other processes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Rows that are held twice while they are loaded.
const ROWS_AT_ONCE: usize = 1 << 16;

/// A write and where its answer goes.
pub(super) struct Job {
    /// Place of the view among the tables.
    pub(super) place: usize,
    pub(super) rows: Vec<NewRow>,
    pub(super) answer: oneshot::Sender<Result<usize, FeatureError>>,
}

pub(super) struct Writer {
    pub(super) database: Database,
    /// In the order of the database's views.
    pub(super) tables: Arc<[Table]>,
}

impl Writer {
    /// Works until nobody is left to send, then closes the file.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(LOOK_EVERY) {
                Ok(first) => {
                    let waiting = jobs.try_iter().take(WRITES_PER_TRANSACTION - 1);
                    self.write(std::iter::once(first).chain(waiting).collect());
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.database.changed_by_others().unwrap_or(true) {
                        // What could not be read is still new at the next look or write.
                        drop(self.load());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes everything readable that the file has and memory has not.
    pub(super) fn load(&mut self) -> Result<(), FeatureError> {
        loop {
            let rows = self.database.read_new(ROWS_AT_ONCE)?;
            if rows.is_empty() {
                return Ok(());
            }
            self.apply(rows);
        }
    }

    fn write(&mut self, jobs: Vec<Job>) {
        let (groups, answers): (Vec<_>, Vec<_>) =
            jobs.into_iter().map(|job| ((job.place, job.rows), job.answer)).unzip();
        let written = self.database.write(&groups).map(|(counts, changed)| {
            self.apply(changed);
            counts
        });
        for (index, answer) in answers.into_iter().enumerate() {
            let count = written.as_ref().map(|counts| counts.get(index).copied().unwrap_or_default());
            // Whoever has gone does not wait for an answer.
            drop(answer.send(count.map_err(Clone::clone)));
        }
    }

    fn apply(&self, changed: Vec<(usize, KeyedRow)>) {
        let mut by_view: Vec<Vec<KeyedRow>> = self.tables.iter().map(|_| Vec::new()).collect();
        for (place, row) in changed {
            if let Some(rows) = by_view.get_mut(place) {
                rows.push(row);
            }
        }
        for (table, rows) in self.tables.iter().zip(by_view) {
            table.apply(&rows);
        }
    }
}
