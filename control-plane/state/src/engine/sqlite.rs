//! SQLite as the engine of one process: write-ahead log, one fsync per commit, one connection.
//!
//! `synchronous=FULL` makes a commit in the log durable before it is acknowledged. After an I/O error the connection is
//! not used again (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020): the next transaction
//! opens the file anew and first writes the whole log into the database with its own fsync, so that nothing is read
//! that only the page cache knows.
//!
//! A full disk has no room for the index of the log, which SQLite makes when the first connection opens: then the index
//! is in memory, and the file nobody else's, until there is room.

use std::path::Path;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use crate::engine::sqlite_file::OwnedFile;
use crate::engine::{Access, Engine};
use crate::error::{EngineFailure, StateError};
use crate::sql::{Cell, Row, Sql, Value};
use crate::tables::schema::{self, Dialect};
use crate::timestamp::Timestamp;

const DIALECT: Dialect = Dialect { number: "INTEGER", text: "TEXT" };

/// Marks the file as ours in its header: "HNOK".
const APPLICATION_ID: i64 = 0x484E_4F4B;

/// Prepared statements that are kept.
const STATEMENTS_KEPT: usize = 128;

/// How long a foreign tool may hold the file before a call gives up, in milliseconds.
const PATIENCE_MILLIS: u32 = 2_000;

/// Set for each connection. The cache is in KiB (negative): the window's tables are entered at random places.
const SETTINGS: &str = "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
    PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 16777216;";

/// The connection, absent after an I/O error, and the file it is to.
#[derive(Debug)]
pub(crate) struct SqliteEngine {
    connection: Option<Connection>,
    file: OwnedFile,
    index: LogIndex,
    access: Access,
}

/// Where the index of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogIndex {
    /// In a file beside the database, for all who read it.
    File,
    /// In memory, because the disk was full.
    Memory,
}

impl SqliteEngine {
    /// Opens or makes the store.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let file = OwnedFile::take(path)?;
        let (connection, index) = connect(&file)?;
        let mut engine = Self { connection: Some(connection), file, index, access: Access::Read };
        engine.claim()?;
        engine.begin(Access::Write)?;
        let migrated = schema::migrate(&mut engine, DIALECT).and_then(|()| engine.commit());
        if migrated.is_err() {
            engine.rollback();
        }
        migrated?;
        Ok(engine)
    }

    /// Refuses a database that is somebody else's; marks a new one.
    fn claim(&mut self) -> Result<(), StateError> {
        let connection = self.connection()?;
        let id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failure)?;
        if id == APPLICATION_ID {
            return Ok(());
        }
        let objects: i64 =
            connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0)).map_err(failure)?;
        if id != 0 || objects != 0 {
            let detail = format!("application id {id:#x}, {objects} objects");
            return Err(StateError::Engine(EngineFailure::NotAStateStore, detail.into()));
        }
        connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}")).map_err(failure)
    }

    fn connection(&mut self) -> Result<&mut Connection, StateError> {
        self.connection
            .as_mut()
            .ok_or_else(|| StateError::Engine(EngineFailure::Unreachable, "the file is closed after an error".into()))
    }

    /// Notes that the connection is in doubt.
    fn failed(&mut self, error: rusqlite::Error) -> StateError {
        if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
            self.connection = None;
        }
        failure(error)
    }

    /// Opens the file to all who read it, where there is room for the index by now; else it stays as it is.
    fn share_again(&mut self) {
        // Closed first: it holds the file.
        self.connection = None;
        if let Ok((connection, index)) = connect(&self.file) {
            (self.connection, self.index) = (Some(connection), index);
        }
    }

    fn batch(&mut self, statements: &str) -> Result<(), StateError> {
        self.connection()?.execute_batch(statements).map_err(|error| self.failed(error))
    }
}

fn connect(file: &OwnedFile) -> Result<(Connection, LogIndex), StateError> {
    match attempt(file, LogIndex::File) {
        Err(StateError::Engine(EngineFailure::DiskFull, _)) => Ok((attempt(file, LogIndex::Memory)?, LogIndex::Memory)),
        done => Ok((done?, LogIndex::File)),
    }
}

fn attempt(file: &OwnedFile, index: LogIndex) -> Result<Connection, StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&file.path, flags).map_err(failure)?;
    connection.busy_timeout(std::time::Duration::from_millis(PATIENCE_MILLIS.into())).map_err(failure)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    if index == LogIndex::Memory {
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE").map_err(failure)?;
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failure)?;
    if mode != "wal" {
        let detail = format!("the file system allows no write-ahead log, only {mode}");
        return Err(StateError::Engine(EngineFailure::Internal, detail.into()));
    }
    connection.execute_batch(SETTINGS).map_err(failure)?;
    // The first look at the content, which makes the index.
    connection.query_row("PRAGMA user_version", [], |_| Ok(())).map_err(failure)?;
    Ok(connection)
}

impl Engine for SqliteEngine {
    fn begin(&mut self, access: Access) -> Result<(), StateError> {
        if self.connection.is_none() {
            let (connection, index) = connect(&self.file)?;
            let busy: i64 =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failure)?;
            if busy != 0 {
                return Err(StateError::Engine(EngineFailure::Unreachable, "a reader holds the log".into()));
            }
            self.connection = Some(connection);
            self.index = index;
        }
        self.access = access;
        self.batch(if access == Access::Write { "BEGIN IMMEDIATE" } else { "BEGIN" })
    }

    fn commit(&mut self) -> Result<(), StateError> {
        let committed = self.batch("COMMIT");
        if self.connection.is_none() {
            let detail = committed.err().and_then(|error| error.operator_detail().map(str::to_owned));
            return Err(StateError::Engine(EngineFailure::OutcomeUnknown, detail.unwrap_or_default().into()));
        }
        if committed.is_ok() && self.index == LogIndex::Memory && self.access == Access::Write {
            self.share_again();
        }
        committed
    }

    fn rollback(&mut self) {
        let open = self.connection.as_ref().is_some_and(|connection| !connection.is_autocommit());
        if open && self.batch("ROLLBACK").is_err() {
            self.connection = None;
        }
    }

    fn verify(&mut self) -> Result<(), StateError> {
        let found: String = self
            .connection()?
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| self.failed(error))?;
        if found == "ok" { Ok(()) } else { Err(StateError::corrupt(found)) }
    }
}

impl Sql for SqliteEngine {
    fn execute(&mut self, statement: &str, values: &[Value<'_>]) -> Result<u64, StateError> {
        let changed = self
            .connection()?
            .prepare_cached(&numbered(statement))
            .and_then(|mut prepared| prepared.execute(params_from_iter(values)));
        changed.map(|changed| changed as u64).map_err(|error| self.failed(error))
    }

    fn query(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StateError> {
        let rows = self.connection()?.prepare_cached(&numbered(statement)).and_then(|mut prepared| {
            let columns = prepared.column_count();
            let mut rows = Vec::new();
            let mut found = prepared.query(params_from_iter(values))?;
            while let Some(row) = found.next()? {
                let cells = (0..columns).map(|column| row.get_ref(column).and_then(cell));
                rows.push(Row(cells.collect::<Result<_, _>>()?));
            }
            Ok(rows)
        });
        rows.map_err(|error| self.failed(error))
    }

    fn lease_clock(&mut self, caller: Timestamp) -> Result<Timestamp, StateError> {
        Ok(caller)
    }
}

/// SQLite numbers its placeholders with a question mark. No statement of ours has a dollar sign elsewhere.
fn numbered(statement: &str) -> String {
    statement.replace('$', "?")
}

fn cell(value: ValueRef<'_>) -> Result<Cell, rusqlite::Error> {
    Ok(match value {
        ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
        ValueRef::Integer(value) => Cell::Integer(value),
        ValueRef::Real(value) => Cell::Real(value),
        ValueRef::Text(_) => Cell::Text(value.as_str()?.to_owned()),
    })
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(value),
            Self::Real(value) => ValueRef::Real(value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
        }))
    }
}

/// `SQLITE_IOERR_SHMOPEN` and `SQLITE_IOERR_SHMSIZE` of <https://www.sqlite.org/rescode.html>: the index of the log could
/// not be made, or not be given its size.
const INDEX_NOT_MADE: [i32; 2] = [10 | 18 << 8, 10 | 19 << 8];

fn is_index_not_made(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|failure| INDEX_NOT_MADE.contains(&failure.extended_code))
}

#[allow(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn failure(error: rusqlite::Error) -> StateError {
    let failure = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => EngineFailure::Locked,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => EngineFailure::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => EngineFailure::Corrupt,
        Some(ErrorCode::DiskFull) => EngineFailure::DiskFull,
        Some(ErrorCode::SystemIoFailure) if is_index_not_made(&error) => EngineFailure::DiskFull,
        _ => EngineFailure::Internal,
    };
    StateError::Engine(failure, error.to_string().into())
}
