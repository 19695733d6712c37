//! What Feast materialised into SQLite, read without Feast.
//!
//! Layout (feast 0.67): a table `PROJECT_VIEW` with a row for each key and feature: `entity_key` (the serialised key),
//! `feature_name`, `value` (`feast.types.Value`), `event_ts`. The file is opened read-only; Feast may write meanwhile.
//! Reads run on one named thread, because SQLite blocks.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::feast_value::read_feast_value;
use super::{OnlineStore, ReadFuture, StoreRead, ViewRead};
use crate::columns::Columns;
use crate::entity_key::write_version_2;
use crate::error::FeatureError;

/// Reads that may wait for the thread.
const WAITING_READS: usize = 256;
/// How long a writer is waited for.
const BUSY: Duration = Duration::from_millis(250);

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
    /// Opens the database of a Feast project; `key_version` is Feast's `entity_key_serialization_version`, 2 or 3.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be opened.
    pub fn open(path: &Path, project: &str, key_version: u8) -> Result<Self, FeatureError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            FeatureError::unavailable("the Feast store cannot be opened", format!("{}: {error}", path.display()))
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| unavailable(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| unavailable(&error))?;
        let (jobs, receiver) = sync_channel(WAITING_READS);
        let reader = Reader { connection, project: project.to_owned(), key_version };
        let reader = std::thread::Builder::new()
            .name("feast-sqlite".to_owned())
            .spawn(move || reader.run(&receiver))
            .map_err(|error| unavailable(&error))?;
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
    connection: Connection,
    project: String,
    key_version: u8,
}

impl Reader {
    fn run(&self, jobs: &Receiver<(StoreRead, Answer)>) {
        while let Ok((read, answer)) = jobs.recv() {
            if answer.is_closed() {
                continue;
            }
            let columns = read.views.iter().map(|read| self.read(read)).collect();
            // Whoever has gone does not wait for an answer.
            drop(answer.send(columns));
        }
    }

    fn read(&self, read: &ViewRead) -> Result<Columns, FeatureError> {
        let failed = |error: rusqlite::Error| FeatureError::unavailable("the Feast store cannot be read", error);
        let mut columns = read.empty_answer();
        // Names of views have no quotes, those of projects are doubled like everybody's.
        let table = format!("{}_{}", self.project, read.view.name).replace('"', "\"\"");
        let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let name = format!("{}_{}", self.project, read.view.name);
        let found = self.connection.query_row(exists, params![name], |_| Ok(())).optional().map_err(failed)?;
        if found.is_none() {
            let reason = format!("the Feast project has no table for view `{}`", read.view.name);
            return Err(FeatureError::Unsupported(reason));
        }
        let query = format!("SELECT feature_name, value, event_ts FROM \"{table}\" WHERE entity_key = ?1");
        let mut statement = self.connection.prepare_cached(&query).map_err(failed)?;
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
        ValueRef::Integer(seconds) => seconds.checked_mul(1_000_000),
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
    }
}
