//! SQLite under the registry: write-ahead log, one fsync per commit, transactions that several processes take in turn.
//!
//! As the control plane's store: `synchronous=FULL`, and after an I/O error the connection is not used again (Rebello et
//! al., "Can Applications Recover from fsync Failures?", ATC 2020).

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{RegistryError, StorageFailure};
use crate::folder::open_private;
use crate::schema;

/// Marks the file as ours in its header: "HNKR".
const APPLICATION_ID: i64 = 0x484E_4B52;
/// How long a transaction of another process is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two attempts to make it.
const BETWEEN: Duration = Duration::from_millis(10);
/// Set for each connection.
const SETTINGS: &str = "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
    PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 16777216;";

/// The connection, absent before the first use and after an I/O error, and the file that it is to.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Option<Connection>,
    path: PathBuf,
}

impl Database {
    /// Opens or makes the database, and brings it to the newest layout. None is made where files tell that there was one.
    pub(crate) fn open(path: &Path, files: bool) -> Result<Self, RegistryError> {
        // Before SQLite looks: it takes a log beside an empty database for a leftover, and removes it.
        if files && std::fs::metadata(path).map_or(true, |found| found.len() == 0) {
            return Err(RegistryError::Storage(StorageFailure::DatabaseLost, "".into()));
        }
        drop(open_private(path)?);
        let mut database = Self { connection: None, path: path.to_owned() };
        if !database.read(is_ours)? {
            database.write(|transaction| claim(transaction, files))?;
        }
        if !database.read(schema::is_newest)? {
            database.write(schema::migrate)?;
        }
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
        let (mut connection, sharing) = match self.connection.take() {
            Some(connection) => (connection, Sharing::Others),
            None => connect(&self.path)?,
        };
        let result = transact(&mut connection, behaviour, run);
        // After a failure of the database itself the connection is in doubt, and one that keeps others out is not kept: the
        // next call opens another.
        if sharing == Sharing::Others && !matches!(result, Err(RegistryError::Storage(..))) {
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

/// Who else may use the database meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Everybody: the log's index is a file.
    Others,
    /// Nobody: the log's index is in memory.
    Nobody,
}

/// SQLite does not wait where it wants a database alone to give a new one its log, and where there is no room for the log's
/// index it must not, see [`attempt`]: we do.
fn connect(path: &Path) -> Result<(Connection, Sharing), RegistryError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt_either(path) {
            Err(RegistryError::Storage(StorageFailure::Busy, _)) if Instant::now() < until => thread::sleep(pause()),
            done => return done,
        }
    }
}

fn attempt_either(path: &Path) -> Result<(Connection, Sharing), RegistryError> {
    match attempt(path, Sharing::Others) {
        // On a full disk there is no room for the index. Then nobody else has it open, or it would be there.
        Err(error) if error.is_full() => Ok((attempt(path, Sharing::Nobody)?, Sharing::Nobody)),
        done => Ok((done?, Sharing::Others)),
    }
}

/// Not of one length, or two that start together would meet again and again.
fn pause() -> Duration {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    BETWEEN + BETWEEN * (nanoseconds / 1_000 % 1_000) / 1_000
}

fn attempt(path: &Path, sharing: Sharing) -> Result<Connection, RegistryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    match sharing {
        Sharing::Others => connection.busy_timeout(PATIENCE)?,
        Sharing::Nobody => {
            // Two that read already and wait to be alone would wait for each other: who is not let in leaves, and comes again.
            connection.busy_timeout(Duration::ZERO)?;
            connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
        }
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let detail = format!("the file system allows no write-ahead log, only {mode}");
        return Err(RegistryError::Storage(StorageFailure::Internal, detail.into()));
    }
    connection.execute_batch(SETTINGS)?;
    // The first look at the content, which makes the index.
    connection.query_row("PRAGMA user_version", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_ours(transaction: &Transaction<'_>) -> Result<bool, RegistryError> {
    let id: i64 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    Ok(id == APPLICATION_ID)
}

/// Refuses a database that is somebody else's, or that has lost what is on record about `files`; marks a new one.
fn claim(transaction: &Transaction<'_>, files: bool) -> Result<(), RegistryError> {
    if is_ours(transaction)? {
        // Somebody else was faster.
        return Ok(());
    }
    let id: i64 = transaction.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let objects: i64 = transaction.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))?;
    if id != 0 || objects != 0 {
        let detail = format!("application id {id:#x}, {objects} objects");
        return Err(RegistryError::Storage(StorageFailure::NotARegistry, detail.into()));
    }
    if files {
        return Err(RegistryError::Storage(StorageFailure::DatabaseLost, "".into()));
    }
    transaction.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}"))?;
    // In the same transaction: a database is never ours without its tables.
    schema::migrate(transaction)
}
