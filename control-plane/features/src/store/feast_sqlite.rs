//! What Feast materialised into SQLite, read without Feast.
//!
//! Layout (feast 0.67): a table `PROJECT_VIEW` with a row for each key and feature: `entity_key` (the serialised key),
//! `feature_name`, `value` (`feast.types.Value`), `event_ts`. The file is opened read-only at the first read, and again when
//! another one stands in its place; Feast may write meanwhile. Reads run on one named thread, because SQLite blocks.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::feast_value::read_feast_value;
use super::file_identity::FileIdentity;
use super::{OnlineStore, ReadFuture, StoreRead, ViewRead};
use crate::columns::Columns;
use crate::entity_key::write_version_2;
use crate::error::FeatureError;
use crate::text_value::within_dates;

/// Reads that may wait for the thread.
const WAITING_READS: usize = 256;
/// How long a writer is waited for.
const BUSY: Duration = Duration::from_millis(250);

const UNREADABLE: &str = "the Feast store cannot be read";

type Answer = oneshot::Sender<Result<Vec<Columns>, FeatureError>>;

/// Feast's SQLite online store.
#[derive(Debug)]
pub struct FeastSqliteStore {
    jobs: Option<SyncSender<(StoreRead, Answer)>>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for FeastSqliteStore {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(reader) = self.reader.take() {
            // A panic of the reader has been told by its callers' errors already.
            drop(reader.join());
        }
    }
}

impl FeastSqliteStore {
    /// Reads the database of a Feast project; `key_version` is Feast's `entity_key_serialization_version`, 2 or 3. It is
    /// opened at the first read, and need not be there before.
    ///
    /// # Errors
    /// `Unavailable` when its thread cannot be started.
    pub fn open(path: &Path, project: &str, key_version: u8) -> Result<Self, FeatureError> {
        let (jobs, receiver) = sync_channel(WAITING_READS);
        let mut reader = Reader { path: path.to_owned(), opened: None, project: project.to_owned(), key_version };
        let reader = std::thread::Builder::new()
            .name("feast-sqlite".to_owned())
            .spawn(move || reader.run(&receiver))
            .map_err(|error| FeatureError::unavailable("the Feast store's thread cannot be started", error))?;
        Ok(Self { jobs: Some(jobs), reader: Some(reader) })
    }
}

impl OnlineStore for FeastSqliteStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let closed = || FeatureError::unavailable("the feature store is closed", "its reader has ended");
            let (answer, answered) = oneshot::channel();
            let jobs = self.jobs.as_ref().ok_or_else(closed)?;
            jobs.try_send((read.clone(), answer)).map_err(|error| match error {
                TrySendError::Full(_) => FeatureError::LimitReached { what: "waiting reads", limit: WAITING_READS },
                TrySendError::Disconnected(_) => closed(),
            })?;
            answered.await.map_err(|_| closed())?
        })
    }
}

struct Reader {
    path: PathBuf,
    opened: Option<(Connection, FileIdentity)>,
    project: String,
    key_version: u8,
}

impl Reader {
    fn run(&mut self, jobs: &Receiver<(StoreRead, Answer)>) {
        while let Ok((read, answer)) = jobs.recv() {
            if answer.is_closed() {
                continue;
            }
            let columns = self.open().and_then(|()| read.views.iter().map(|read| self.read(read)).collect());
            // Whoever has gone does not wait for an answer.
            drop(answer.send(columns));
        }
    }

    /// Opens the file that stands at the path, unless it is open.
    fn open(&mut self) -> Result<(), FeatureError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            FeatureError::unavailable("the Feast store cannot be opened", format!("{}: {error}", self.path.display()))
        };
        let found = FileIdentity::at(&self.path).map_err(|error| unavailable(&error))?;
        let found = found.ok_or_else(|| unavailable(&"there is no such file"))?;
        if self.opened.as_ref().is_some_and(|(_, opened)| *opened == found) {
            return Ok(());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| unavailable(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| unavailable(&error))?;
        self.opened = Some((connection, found));
        Ok(())
    }

    fn read(&self, read: &ViewRead) -> Result<Columns, FeatureError> {
        let failed = |error: rusqlite::Error| FeatureError::unavailable(UNREADABLE, error);
        let closed = || FeatureError::unavailable(UNREADABLE, "it is not open");
        let (connection, _) = self.opened.as_ref().ok_or_else(closed)?;
        let mut columns = read.empty_answer();
        // Names of views have no quotes, those of projects are doubled like everybody's.
        let table = format!("{}_{}", self.project, read.view.name).replace('"', "\"\"");
        let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let name = format!("{}_{}", self.project, read.view.name);
        let found = connection.query_row(exists, params![name], |_| Ok(())).optional().map_err(failed)?;
        if found.is_none() {
            // It may come with the next materialisation.
            let detail = format!("the Feast project has no table for view `{}`", read.view.name);
            return Err(FeatureError::unavailable(UNREADABLE, detail));
        }
        let query = format!("SELECT feature_name, value, event_ts FROM \"{table}\" WHERE entity_key = ?1");
        let mut statement = connection.prepare_cached(&query).map_err(failed)?;
        let mut older = Vec::new();
        for (row, key) in read.keys.iter().enumerate() {
            let key = if self.key_version == 2 {
                older.clear();
                write_version_2(key, &mut older)?;
                older.as_slice()
            } else {
                key
            };
            let mut found = statement.query(params![key]).map_err(failed)?;
            while let Some(stored) = found.next().map_err(failed)? {
                let name = stored.get_ref(0).map_err(failed)?;
                let name = name.as_str().unwrap_or_default();
                let Some(column) = read.features().position(|feature| feature.name == name) else { continue };
                let event = event_micros(stored.get_ref(2).map_err(failed)?);
                let value = stored.get_ref(1).map_err(failed)?;
                let value = value.as_blob_or_null().unwrap_or_default().unwrap_or_default();
                read_feast_value(value, &mut columns, (column, row), event)?;
            }
        }
        Ok(columns)
    }
}

/// Feast writes the text of a Python `datetime` in UTC, with or without an offset; older versions seconds.
fn event_micros(stored: ValueRef<'_>) -> Option<i64> {
    match stored {
        ValueRef::Integer(seconds) => within_dates(seconds.checked_mul(1_000_000)?),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            if let Ok(instant) = text.parse::<jiff::Timestamp>() {
                return Some(instant.as_microsecond());
            }
            let local: jiff::civil::DateTime = text.parse().ok()?;
            Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::ValueRef;

    use super::event_micros;

    #[test]
    fn times_are_read_in_every_form_that_python_writes() {
        let text = |text: &'static str| event_micros(ValueRef::Text(text.as_bytes()));
        assert_eq!(text("2013-01-01 05:00:00"), Some(1_357_016_400_000_000));
        assert_eq!(text("2013-01-01 05:00:00.000007"), Some(1_357_016_400_000_007));
        assert_eq!(text("2013-01-01 05:00:00+00:00"), Some(1_357_016_400_000_000));
        assert_eq!(text("soon"), None);
        assert_eq!(event_micros(ValueRef::Integer(1)), Some(1_000_000));
        assert_eq!(event_micros(ValueRef::Integer(1_357_016_400_000)), None);
    }
}
