//! The store in this process: rows in memory, durable in a file.
//!
//! Reads come from hash tables of encoded rows and touch neither disk nor lock. Writes go through one thread into SQLite
//! and become readable when their transaction is on the disk: acknowledged means fsynced.
//!
//! All rows are in memory: a row of 20 numbers takes about 300 bytes with its key. What does not fit belongs in Redis.
//! Rows are replaced, never deleted.

mod database;
mod layout;
mod marks;
mod table;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use database::NewRow;
use table::Table;
use writer::{Job, Write, Writer};

use super::{MemoryTable, OnlineStore, ReadFuture, StoreMark, StoreRead};
use crate::columns::Columns;
use crate::declared::FeatureView;
use crate::error::FeatureError;
use crate::row::write_row;
use crate::value::Value;

/// Writes that may wait for the writer's thread.
const WAITING_WRITES: usize = 64;
/// Most rows of one write.
const WRITE_ROWS: usize = 1 << 20;

/// A row to be written: its serialised key, its event time in microseconds, and a value or null for each feature.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteRow {
    /// As [`crate::KeyLayout::write`] makes it.
    pub key: Vec<u8>,
    /// From when on it is true.
    pub event_micros: i64,
    /// In the order of the view's features.
    pub values: Vec<Option<Value>>,
}

/// The embedded store. Cheap to clone; the last clone closes the file.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    tables: Arc<[Table]>,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been told by its callers' errors already.
            drop(writer.join());
        }
    }
}

impl EmbeddedStore {
    /// Loads the rows of these views. Blocks: it reads the whole file. The file is made, and opened to be written, by the
    /// first write: who only reads needs no right to write it, and none for its folder.
    ///
    /// Features may come and go between opens; a feature that changes its type is refused, and so are rows by other join keys
    /// than the view's. Rows of views that are not given stay in the file, unread.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be opened, or there is no folder for it; `Unsupported` when it was written with other
    /// types or is no such file, `Internal` when it is damaged.
    pub fn open(path: &Path, views: &[Arc<FeatureView>]) -> Result<Self, FeatureError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let detail = format!("{}: there is no such folder", folder.display());
            return Err(FeatureError::unavailable("the feature store cannot be opened", detail));
        }
        let tables: Arc<[Table]> = views.iter().map(|view| Table::new(Arc::clone(view))).collect();
        let writer = Writer::open(path, views, Arc::clone(&tables))?;
        if !path.exists() {
            tracing::warn!(store = %path.display(), "a feature store has no file yet; the first `features put` makes it");
        }
        let (jobs, receiver) = sync_channel(WAITING_WRITES);
        let writer = std::thread::Builder::new()
            .name("feature-store".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| FeatureError::unavailable("the feature store's thread cannot be started", error))?;
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), tables, jobs: Some(jobs), writer: Some(writer) }) })
    }

    /// Writes rows of one view in one transaction; returns how many were taken. A row that is older than the stored one
    /// of its key is left out. Of rows with one key and event time the last counts.
    ///
    /// # Errors
    /// `NotFound` for a view that is not open, `InvalidArgument` for values that do not fit it, `ResourceExhausted` for
    /// too many or too long rows or when the queue of writes is full, `Internal` when the disk fails. Nothing is written
    /// then.
    pub async fn write(&self, view: &str, rows: &[WriteRow]) -> Result<usize, FeatureError> {
        let place = self.place(view)?;
        let rows = encode(self.inner.tables.get(place).map(Table::view), rows)?;
        self.ask(|answer| Job::Write(Write { place, rows, answer })).await
    }

    /// How far a view was materialised into this file; none where there is no file, or it has no name for the view yet.
    ///
    /// # Errors
    /// `NotFound` for a view that is not open, `Unavailable` and `Internal` when the file cannot be read.
    pub async fn mark(&self, view: &str) -> Result<Option<StoreMark>, FeatureError> {
        let view = self.place(view).map(|_| view.to_owned())?;
        self.ask(|answer| Job::Mark { view, answer }).await
    }

    /// The same, after the file is made where there is none, and is called `fresh` for the view where it has no name yet. On
    /// the disk when it returns.
    ///
    /// # Errors
    /// `NotFound` for a view that is not open, otherwise as for a write.
    pub async fn named_mark(&self, view: &str, fresh: &str) -> Result<StoreMark, FeatureError> {
        let (view, fresh) = (self.place(view).map(|_| view.to_owned())?, fresh.to_owned());
        self.ask(|answer| Job::NamedMark { view, fresh, answer }).await
    }

    /// Notes how far, if the file is still the one that is called `store` for the view. On the disk when it returns.
    ///
    /// # Errors
    /// `NotFound` for a view that is not open, `Unavailable` when another file stands in its place, otherwise as for a write.
    pub async fn set_mark(&self, view: &str, store: &str, until: i64) -> Result<(), FeatureError> {
        let (view, store) = (self.place(view).map(|_| view.to_owned())?, store.to_owned());
        self.ask(|answer| Job::SetMark { view, store, until, answer }).await
    }

    /// Has the writer's thread do something.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, FeatureError>>) -> Job,
    ) -> Result<T, FeatureError> {
        let (answer, answered) = oneshot::channel();
        let closed = || FeatureError::unavailable("the feature store is closed", "its writer has ended");
        let jobs = self.inner.jobs.as_ref().ok_or_else(closed)?;
        jobs.try_send(job(answer)).map_err(|error| match error {
            TrySendError::Full(_) => FeatureError::LimitReached { what: "waiting writes", limit: WAITING_WRITES },
            TrySendError::Disconnected(_) => closed(),
        })?;
        answered.await.map_err(|_| closed())?
    }

    /// Whether there is a file; the first write makes one. Asks the disk.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.inner.path.exists()
    }

    /// Rows of a view.
    ///
    /// # Errors
    /// `NotFound` for a view that is not open.
    pub fn rows(&self, view: &str) -> Result<usize, FeatureError> {
        Ok(self.table(view)?.len())
    }

    fn place(&self, view: &str) -> Result<usize, FeatureError> {
        let names = || self.inner.tables.iter().map(|table| table.view().name.as_str());
        names().position(|name| name == view).ok_or_else(|| FeatureError::not_found("feature view", view, names()))
    }

    fn table(&self, view: &str) -> Result<&Table, FeatureError> {
        let place = self.place(view)?;
        let closed = || FeatureError::unavailable("the feature store is closed", "a table is missing");
        self.inner.tables.get(place).ok_or_else(closed)
    }

    fn read_all(&self, read: &StoreRead) -> Result<Vec<Columns>, FeatureError> {
        read.views.iter().map(|read| self.table(&read.view.name)?.read(read)).collect()
    }
}

impl OnlineStore for EmbeddedStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(std::future::ready(self.read_all(read)))
    }

    fn memory(&self, view: &str) -> Option<&dyn MemoryTable> {
        Some(self.table(view).ok()?)
    }
}

/// Keys and encoded rows, checked.
fn encode(view: Option<&Arc<FeatureView>>, rows: &[WriteRow]) -> Result<Vec<NewRow>, FeatureError> {
    if rows.len() > WRITE_ROWS {
        return Err(FeatureError::LimitReached { what: "rows in a write", limit: WRITE_ROWS });
    }
    let features = view.map_or(&[][..], |view| view.features.as_slice());
    let mut encoded = Vec::with_capacity(rows.len());
    let mut bytes = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if row.values.len() != features.len() {
            let reason = format!("expected `{}` values, got `{}`", features.len(), row.values.len());
            return Err(FeatureError::invalid(format!("row `{index}`"), reason));
        }
        for (value, feature) in row.values.iter().zip(features) {
            if let Some(actual) = value.as_ref().map(Value::feature_type).filter(|one| *one != feature.data_type) {
                let reason = format!("expected `{}`, got `{actual}`", feature.data_type);
                return Err(FeatureError::invalid(format!("row `{index}`, feature `{}`", feature.name), reason));
            }
        }
        bytes.clear();
        write_row(&row.values, row.event_micros, &mut bytes)?;
        let (key, row, event_micros) = (row.key.as_slice().into(), bytes.as_slice().into(), row.event_micros);
        encoded.push(NewRow { key, event_micros, row });
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests;
