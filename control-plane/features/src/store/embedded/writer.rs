//! The thread that owns the file: writes that wait together share one transaction and one fsync; what other processes
//! write is looked for ten times a second, and so is another file in the place of the open one.
//!
//! The file is opened to be read, and again to be written with the first write. A file that is removed leaves its rows in
//! memory until another stands in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::StoreMark;
use super::super::health::StoreHealth;
use super::super::mark::{REPLACED, RUN_AGAIN};
use super::database::{Database, NewRow};
use super::table::{KeyedRow, Table};
use crate::declared::FeatureView;
use crate::error::FeatureError;

/// Most writes of one transaction.
const WRITES_PER_TRANSACTION: usize = 64;
/// How often writes of other processes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Rows that are held twice while they are loaded.
const ROWS_AT_ONCE: usize = 1 << 16;

/// What is asked of the thread, and where the answer goes.
pub(super) enum Job {
    /// Rows of a view.
    Write(Write),
    /// How far a view was materialised.
    Mark { view: String, answer: oneshot::Sender<Result<Option<StoreMark>, FeatureError>> },
    /// The same, after the file has a name for the view.
    NamedMark { view: String, fresh: String, answer: oneshot::Sender<Result<StoreMark, FeatureError>> },
    /// Noting how far.
    SetMark { view: String, store: String, until: i64, answer: oneshot::Sender<Result<(), FeatureError>> },
}

/// A write and where its answer goes.
pub(super) struct Write {
    /// Place of the view among the tables.
    pub(super) place: usize,
    pub(super) rows: Vec<NewRow>,
    pub(super) answer: oneshot::Sender<Result<usize, FeatureError>>,
}

pub(super) struct Writer {
    path: PathBuf,
    views: Vec<Arc<FeatureView>>,
    /// None while there is no file.
    database: Option<Database>,
    /// In the order of the views.
    tables: Arc<[Table]>,
    health: StoreHealth,
}

impl Writer {
    /// A writer whose tables have the rows that the file has.
    pub(super) fn open(path: &Path, views: &[Arc<FeatureView>], tables: Arc<[Table]>) -> Result<Self, FeatureError> {
        let health = StoreHealth::of(&path.display().to_string());
        let mut writer = Self { path: path.to_owned(), views: views.to_vec(), database: None, tables, health };
        if let Some(database) = Database::open_to_read(path, views)? {
            writer.take(database)?;
        }
        Ok(writer)
    }

    /// Works until nobody is left to send, then closes the file.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(LOOK_EVERY) {
                Ok(first) => {
                    let waiting = jobs.try_iter().take(WRITES_PER_TRANSACTION - 1);
                    self.work(std::iter::once(first).chain(waiting).collect());
                }
                // What could not be read is still new at the next look or write.
                Err(RecvTimeoutError::Timeout) => match self.look() {
                    Ok(()) => self.health.answered(&[], Instant::now()),
                    Err(error) => self.health.failed(&error, Instant::now()),
                },
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes readable what others have written, into this file or another in its place.
    fn look(&mut self) -> Result<(), FeatureError> {
        match &mut self.database {
            Some(database) if database.is_in_place() => {
                let version = database.version()?;
                if !database.has_read(version) {
                    load(database, &self.tables)?;
                    database.note_read(version);
                }
                Ok(())
            }
            _ => Database::open_to_read(&self.path, &self.views)?.map_or(Ok(()), |database| self.take(database)),
        }
    }

    /// Goes on with another connection. Where it has another file, the rows become those of that.
    fn take(&mut self, mut database: Database) -> Result<(), FeatureError> {
        let same = self.database.as_ref().is_some_and(|before| database.follows(before));
        if same {
            load(&mut database, &self.tables)?;
        } else {
            let tables: Vec<Table> = self.tables.iter().map(Table::emptied).collect();
            load(&mut database, &tables)?;
            self.tables.iter().zip(&tables).for_each(|(table, new)| table.replace_with(new));
            if self.database.is_some() {
                tracing::info!(store = %self.path.display(), "the file of a feature store was replaced; its rows are read anew");
            }
        }
        self.database = Some(database);
        Ok(())
    }

    /// The file, open to be written.
    fn writable(&mut self) -> Result<&mut Database, FeatureError> {
        if !self.database.as_ref().is_some_and(|database| database.is_writable() && database.is_in_place()) {
            let database = Database::open_to_write(&self.path, &self.views)?;
            self.take(database)?;
        }
        self.database.as_mut().ok_or_else(|| FeatureError::internal("the feature store cannot write", "it is not open"))
    }

    /// Does what waits in its order; writes that stand side by side share a transaction.
    fn work(&mut self, jobs: Vec<Job>) {
        let mut writes = Vec::new();
        for job in jobs {
            match job {
                Job::Write(write) => writes.push(write),
                Job::Mark { view, answer } => {
                    self.write(std::mem::take(&mut writes));
                    // Whoever has gone does not wait for an answer.
                    drop(answer.send(self.mark(&view)));
                }
                Job::NamedMark { view, fresh, answer } => {
                    self.write(std::mem::take(&mut writes));
                    drop(answer.send(self.writable().and_then(|database| database.named_mark(&view, &fresh))));
                }
                Job::SetMark { view, store, until, answer } => {
                    self.write(std::mem::take(&mut writes));
                    drop(answer.send(self.set_mark(&view, &store, until)));
                }
            }
        }
        self.write(writes);
    }

    fn mark(&mut self, view: &str) -> Result<Option<StoreMark>, FeatureError> {
        self.look()?;
        // A file that is gone leaves its rows in memory, but what it said of itself is gone.
        let database = self.database.as_ref().filter(|database| database.is_in_place());
        database.map_or(Ok(None), |database| database.mark(view))
    }

    fn set_mark(&mut self, view: &str, store: &str, until: i64) -> Result<(), FeatureError> {
        let set = self.writable()?.set_mark(view, store, until)?;
        set.then_some(()).ok_or_else(|| FeatureError::unavailable(REPLACED, RUN_AGAIN))
    }

    fn write(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        let (groups, answers): (Vec<_>, Vec<_>) =
            writes.into_iter().map(|write| ((write.place, write.rows), write.answer)).unzip();
        let written = self.writable().and_then(|database| database.write(&groups)).map(|(counts, changed)| {
            apply(&self.tables, changed);
            counts
        });
        for (index, answer) in answers.into_iter().enumerate() {
            let count = written.as_ref().map(|counts| counts.get(index).copied().unwrap_or_default());
            // Whoever has gone does not wait for an answer.
            drop(answer.send(count.map_err(Clone::clone)));
        }
    }
}

/// Makes everything readable that the file has and the tables have not.
fn load(database: &mut Database, tables: &[Table]) -> Result<(), FeatureError> {
    loop {
        let rows = database.read_new(ROWS_AT_ONCE)?;
        if rows.is_empty() {
            return Ok(());
        }
        apply(tables, rows);
    }
}

fn apply(tables: &[Table], changed: Vec<(usize, KeyedRow)>) {
    let mut by_view: Vec<Vec<KeyedRow>> = tables.iter().map(|_| Vec::new()).collect();
    for (place, row) in changed {
        if let Some(rows) = by_view.get_mut(place) {
            rows.push(row);
        }
    }
    for (table, rows) in tables.iter().zip(by_view) {
        table.apply(&rows);
    }
}
