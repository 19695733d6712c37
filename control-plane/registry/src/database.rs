//! SQLite under the registry: write-ahead log, one fsync per commit, transactions that several processes take in turn.
//!
//! As the control plane's store: `synchronous=FULL`, and after an I/O error the connection is not used again (Rebello et
//! al., "Can Applications Recover from fsync Failures?", ATC 2020).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{RegistryError, StorageFailure};
use crate::folder::open_private;
use crate::schema;

/// Marks the file as ours in its header: "HNKR".
const APPLICATION_ID: i64 = 0x484E_4B52;
/// How long a transaction of another process is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Set for each connection.
const SETTINGS: &str = "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
    PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 16777216;";

/// The connection, absent after an I/O error, and the file that it is to.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Option<Connection>,
    path: PathBuf,
}

impl Database {
    /// Opens or makes the database, and brings it to the newest layout.
    pub(crate) fn open(path: &Path) -> Result<Self, RegistryError> {
        drop(open_private(path)?);
        let mut database = Self { connection: Some(connect(path)?), path: path.to_owned() };
        database.write(|transaction| {
            claim(transaction)?;
            schema::migrate(transaction)
        })?;
        Ok(database)
    }

    /// Runs a transaction that reads one state of everything.
    pub(crate) fn read<T>(
        &mut self,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.run(TransactionBehavior::Deferred, run)
    }

    /// Runs a transaction that changes something: all of it durable, or nothing.
    pub(crate) fn write<T>(
        &mut self,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.run(TransactionBehavior::Immediate, run)
    }

    fn run<T>(
        &mut self,
        behaviour: TransactionBehavior,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let result = transact(&mut connection, behaviour, run);
        // After a failure of the database itself the connection is in doubt; the next call opens another.
        if !matches!(result, Err(RegistryError::Storage(..))) {
            self.connection = Some(connection);
        }
        result
    }
}

fn transact<T>(
    connection: &mut Connection,
    behaviour: TransactionBehavior,
    run: impl FnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    let transaction = connection.transaction_with_behavior(behaviour)?;
    let result = run(&transaction)?;
    match transaction.commit() {
        Ok(()) => Ok(result),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
            Err(RegistryError::Storage(StorageFailure::OutcomeUnknown, error.to_string().into()))
        }
        Err(error) => Err(error.into()),
    }
}

fn connect(path: &Path) -> Result<Connection, RegistryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let detail = format!("the file system allows no write-ahead log, only {mode}");
        return Err(RegistryError::Storage(StorageFailure::Internal, detail.into()));
    }
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

/// Refuses a database that is somebody else's; marks a new one.
fn claim(transaction: &Transaction<'_>) -> Result<(), RegistryError> {
    let id: i64 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let objects: i64 = transaction.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))?;
    if id != 0 || objects != 0 {
        let detail = format!("application id {id:#x}, {objects} objects");
        return Err(RegistryError::Storage(StorageFailure::NotARegistry, detail.into()));
    }
    Ok(transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?)
}
