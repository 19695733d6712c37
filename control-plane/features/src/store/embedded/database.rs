//! The file: SQLite, with a row for each key, numbered by the order of writing.
//!
//! A replaced row gets a new number, so whoever remembers the last number that it has seen finds what others have written
//! since. Several processes may write (`hanok features put` beside a server): SQLite lets one at a time, and an older row
//! never replaces a newer one, whoever comes first.
//!
//! Who only reads needs no right to write, makes no file and waits for no writer, and no room on the disk either.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode as SqliteCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use super::super::StoreMark;
use super::super::file_identity::{FileIdentity, content_mark};
use super::layout::{Layout, Layouts, from_text, to_text};
use super::marks;
use super::table::KeyedRow;
use crate::declared::FeatureView;
use crate::entity_key::{KeyLayout, KeyParts};
use crate::error::FeatureError;

/// `PRAGMA application_id`: "hanf".
const APPLICATION: i32 = 0x6861_6e66;
/// `PRAGMA user_version`.
const FORMAT: i32 = 1;
/// How long another process that writes is waited for.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE views (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE layouts (view INTEGER NOT NULL, number INTEGER NOT NULL, features TEXT NOT NULL,
        PRIMARY KEY (view, number)) WITHOUT ROWID;
    CREATE TABLE rows (sequence INTEGER PRIMARY KEY AUTOINCREMENT, view INTEGER NOT NULL, key BLOB NOT NULL,
        event INTEGER NOT NULL, layout INTEGER NOT NULL, row BLOB NOT NULL, UNIQUE (view, key));";

/// A row to be kept.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) key: Box<[u8]>,
    pub(super) event_micros: i64,
    /// Encoded in the layout in force.
    pub(super) row: Box<[u8]>,
}

/// What is read and written of one view.
struct OpenView {
    /// In the file; none where nobody has opened the view to write yet.
    id: Option<i64>,
    name: String,
    keys: KeyLayout,
    /// Of the layout in force; none where nobody has written with it yet.
    number: Option<usize>,
    layouts: Layouts,
}

pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    file: FileIdentity,
    writable: bool,
    /// Of a file that is read as one that nobody changes: what it and its log were when it was opened.
    unchanged: Option<Contents>,
    views: Vec<OpenView>,
    /// The last number that was read.
    seen: i64,
    version: i64,
}

impl Database {
    /// Opens the file to read it; none where there is none yet, or nobody has written anything. Blocks.
    pub(super) fn open_to_read(path: &Path, views: &[Arc<FeatureView>]) -> Result<Option<Self>, FeatureError> {
        // Before it is opened: where it is replaced meanwhile, the next look finds out.
        let Some(file) = FileIdentity::at(path).map_err(|error| FeatureError::unavailable(OPEN, error))? else {
            return Ok(None);
        };
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(path, READ_ONLY)?;
            connection.busy_timeout(BUSY)?;
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
            Ok(connection)
        };
        let mut unchanged = None;
        let connection = match connect() {
            // Nothing can be made beside the file: it is read as one that stays as it is, and again when it does not.
            Err(error) if needs_files_beside(&error) => {
                unchanged = Some(contents(path));
                if has_log(path) { copied(path).map_err(|_| error) } else { connect_unchanging(path) }
            }
            connection => connection,
        };
        let opened = |error: rusqlite::Error| failed(OPEN, &error);
        let mut connection = connection.map_err(opened)?;
        let transaction = connection.transaction().map_err(opened)?;
        if !is_made(&transaction)? {
            return Ok(None);
        }
        let views = views.iter().map(|view| find_view(&transaction, view)).collect::<Result<_, _>>()?;
        drop(transaction);
        Ok(Some(Self { unchanged, ..Self::with(connection, path, file, false, views)? }))
    }

    /// Opens or makes the file to write it. Blocks.
    pub(super) fn open_to_write(path: &Path, views: &[Arc<FeatureView>]) -> Result<Self, FeatureError> {
        let opened = |error: rusqlite::Error| failed(OPEN, &error);
        let unmade = |error: &dyn std::fmt::Display| FeatureError::unavailable(OPEN, error);
        FileIdentity::at(path).map_err(|error| unmade(&error))?;
        // Made first, so that it is known which file is opened.
        File::options().append(true).create(true).open(path).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FeatureError::Full(OPEN, error.to_string().into()),
            _ => unmade(&error),
        })?;
        let file = FileIdentity::at(path).map_err(|error| unmade(&error))?;
        let file = file.ok_or_else(|| unmade(&"it was removed at once"))?;
        let mut connection = Connection::open(path).map_err(opened)?;
        connection.busy_timeout(BUSY).map_err(opened)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(opened)?;
        // Every commit is on the disk when it is acknowledged.
        connection.pragma_update(None, "synchronous", "full").map_err(opened)?;
        let mut open_views = Vec::new();
        let transaction = begin(&mut connection)?;
        if !is_made(&transaction)? {
            make(&transaction)?;
        }
        for view in views {
            open_views.push(open_view(&transaction, view)?);
        }
        transaction.commit().map_err(|error| failed(WRITE, &error))?;
        Self::with(connection, path, file, true, open_views)
    }

    fn with(
        connection: Connection,
        path: &Path,
        file: FileIdentity,
        writable: bool,
        views: Vec<OpenView>,
    ) -> Result<Self, FeatureError> {
        let version = data_version(&connection)?;
        Ok(Self { connection, path: path.to_owned(), file, writable, unchanged: None, views, seen: 0, version })
    }

    pub(super) const fn is_writable(&self) -> bool {
        self.writable
    }

    /// Whether the open file is still the one at its path, and readable by this connection.
    pub(super) fn is_in_place(&self) -> bool {
        FileIdentity::at(&self.path).is_ok_and(|found| found == Some(self.file))
            && self.unchanged.is_none_or(|unchanged| unchanged == contents(&self.path))
    }

    /// Goes on where another connection to the same file has read to; false where that has another file.
    pub(super) fn follows(&mut self, other: &Self) -> bool {
        let same = self.file == other.file;
        if same {
            self.seen = other.seen;
        }
        same
    }

    /// A number that changes with every change of the file by others.
    pub(super) fn version(&self) -> Result<i64, FeatureError> {
        data_version(&self.connection)
    }

    /// Whether everything up to a version was read.
    pub(super) const fn has_read(&self, version: i64) -> bool {
        self.version == version
    }

    /// Notes that everything up to a version was read.
    pub(super) const fn note_read(&mut self, version: i64) {
        self.version = version;
    }

    /// Rows written since the last read, by place of the view, up to a bound; empty when there are no more. What could not
    /// be read is still new at the next call.
    pub(super) fn read_new(&mut self, most: usize) -> Result<Vec<(usize, KeyedRow)>, FeatureError> {
        let mut rows = Vec::new();
        let mut seen = self.seen;
        // One snapshot: rows of a view that others open meanwhile are not passed by.
        let transaction = self.connection.transaction().map_err(|error| failed(READ, &error))?;
        for view in self.views.iter_mut().filter(|view| view.id.is_none()) {
            view.id = view_id(&transaction, &view.name)?;
        }
        read_after(&transaction, &mut self.views, &mut seen, most, &mut rows)?;
        drop(transaction);
        self.seen = seen;
        Ok(rows)
    }

    /// Writes groups of rows in one transaction. Says for each group how many of it were taken, and which rows changed,
    /// those of other processes included, by place of the view and in order.
    #[allow(clippy::type_complexity, reason = "two lists, each plain")]
    pub(super) fn write(
        &mut self,
        groups: &[(usize, Vec<NewRow>)],
    ) -> Result<(Vec<usize>, Vec<(usize, KeyedRow)>), FeatureError> {
        let mut changed = Vec::new();
        let mut counts = Vec::new();
        let mut seen = self.seen;
        let transaction = begin(&mut self.connection)?;
        read_after(&transaction, &mut self.views, &mut seen, usize::MAX, &mut changed)?;
        {
            let insert = "INSERT OR REPLACE INTO rows (view, key, event, layout, row) SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE NOT EXISTS (SELECT 1 FROM rows WHERE view = ?1 AND key = ?2 AND event > ?3)";
            let mut insert = transaction.prepare_cached(insert).map_err(|error| failed(WRITE, &error))?;
            for (place, rows) in groups {
                let mut count = 0;
                let view = self.views.get(*place).and_then(|view| Some((view.id?, i64::try_from(view.number?).ok()?)));
                let Some((id, number)) = view else {
                    return Err(FeatureError::internal(WRITE, "it is open to be read only"));
                };
                for NewRow { key, event_micros, row } in rows {
                    let taken = insert
                        .execute(params![id, key, event_micros, number, row])
                        .map_err(|error| failed(WRITE, &error))?;
                    if taken > 0 {
                        count += 1;
                        seen = transaction.last_insert_rowid();
                        changed.push((*place, (key.clone(), row.clone())));
                    }
                }
                counts.push(count);
            }
        }
        transaction.commit().map_err(|error| failed(WRITE, &error))?;
        self.seen = seen;
        Ok((counts, changed))
    }

    /// How far a view was materialised; none where the file has no name for it yet.
    pub(super) fn mark(&self, view: &str) -> Result<Option<StoreMark>, FeatureError> {
        marks::read(&self.connection, view).map_err(|error| failed(READ, &error))
    }

    /// The same, after the file has a name for it. Durable when it returns.
    pub(super) fn named_mark(&mut self, view: &str, fresh: &str) -> Result<StoreMark, FeatureError> {
        let mark = self.in_transaction(|transaction| {
            marks::name(transaction, view, fresh)?;
            marks::read(transaction, view)
        })?;
        mark.ok_or_else(|| FeatureError::internal(READ, "the mark of a view is gone in its own transaction"))
    }

    /// Notes how far; false where the file has another name. Durable when it returns.
    pub(super) fn set_mark(&mut self, view: &str, store: &str, until: i64) -> Result<bool, FeatureError> {
        self.in_transaction(|transaction| marks::set(transaction, view, store, until))
    }

    fn in_transaction<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, FeatureError> {
        let write = |error: rusqlite::Error| failed(WRITE, &error);
        let transaction = begin(&mut self.connection)?;
        let done = work(&transaction).map_err(write)?;
        transaction.commit().map_err(write)?;
        Ok(done)
    }
}

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const OPEN: &str = "the feature store cannot be opened";
const READ: &str = "the feature store cannot be read";
const WRITE: &str = "the feature store cannot write";

fn failed(what: &'static str, error: &rusqlite::Error) -> FeatureError {
    match error.sqlite_error_code() {
        Some(SqliteCode::NotADatabase) => {
            FeatureError::Unsupported("expected a feature store, got a file of another kind".to_owned())
        }
        _ if is_full(error) => FeatureError::Full(what, error.to_string().into()),
        Some(SqliteCode::DatabaseBusy | SqliteCode::DatabaseLocked | SqliteCode::CannotOpen) => {
            FeatureError::unavailable(what, error)
        }
        _ => FeatureError::internal(what, error),
    }
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, FeatureError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| failed(WRITE, &error))
}

fn data_version(connection: &Connection) -> Result<i64, FeatureError> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(|error| failed(READ, &error))
}

/// Whether SQLite could not make or write the files that it keeps beside one that is written in turns with readers.
fn needs_files_beside(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(SqliteCode::CannotOpen | SqliteCode::ReadOnly)) || is_full(error)
}

/// `SQLITE_IOERR_SHMOPEN` and `SQLITE_IOERR_SHMSIZE` of <https://www.sqlite.org/rescode.html>: the index of the log could
/// not be made, or not be given its size.
const INDEX_NOT_MADE: [i32; 2] = [10 | 18 << 8, 10 | 19 << 8];

/// Whether no space is left on the disk.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(SqliteCode::DiskFull)
        || error.sqlite_error().is_some_and(|failure| INDEX_NOT_MADE.contains(&failure.extended_code))
}

/// When the file and its log were changed last, and how long they are.
type Contents = [Option<(SystemTime, u64)>; 2];

fn contents(path: &Path) -> Contents {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    // A log without content is none: whoever opens the file may make and remove one.
    [content_mark(path), content_mark(Path::new(&log)).filter(|(_, length)| *length > 0)]
}

/// Whether there is a log beside the file, with rows that are not in it yet.
fn has_log(path: &Path) -> bool {
    let [_, log] = contents(path);
    log.is_some()
}

/// A file with its log, copied into memory: for a moment with the log's index in memory, which keeps all others out.
fn copied(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_in_memory_with_flags(flags | OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.busy_timeout(BUSY)?;
    // The file is left as it is, or what it was would not tell when others change it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
    connection.execute("ATTACH ?1 AS file", [format!("{}?mode=rw", address(path))])?;
    let transaction = connection.transaction()?;
    for name in ["application_id", "user_version"] {
        let value: i32 = transaction.pragma_query_value(Some("file"), name, |row| row.get(0))?;
        transaction.pragma_update(Some("main"), name, value)?;
    }
    let tables: Vec<(String, Option<String>)> = {
        let query = "SELECT name, sql FROM file.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut statement = transaction.prepare(query)?;
        let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        tables.collect::<Result<_, _>>()?
    };
    for (name, made) in tables {
        transaction.execute_batch(&made.unwrap_or_default())?;
        let name = name.replace('"', "\"\"");
        transaction.execute(&format!("INSERT INTO main.\"{name}\" SELECT * FROM file.\"{name}\""), [])?;
    }
    transaction.commit()?;
    // Closes the file, for others to open.
    connection.execute_batch("DETACH file")?;
    Ok(connection)
}

/// Opens a file to read it that nobody changes while it is open: SQLite makes nothing beside it then.
pub(super) fn connect_unchanging(path: &Path) -> rusqlite::Result<Connection> {
    let name = format!("{}?immutable=1", address(path));
    Connection::open_with_flags(name, READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

fn address(path: &Path) -> String {
    let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{name}")
}

/// Whether the tables are made; files of others are refused.
fn is_made(transaction: &Transaction<'_>) -> Result<bool, FeatureError> {
    let read = |error: rusqlite::Error| failed(READ, &error);
    let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(read);
    let (application, format) = (number("application_id")?, number("user_version")?);
    if (application, format) == (APPLICATION, FORMAT) {
        return Ok(true);
    }
    if application == APPLICATION {
        let text =
            format!("the feature store was written by another version: expected layout `{FORMAT}`, got `{format}`");
        return Err(FeatureError::Unsupported(text));
    }
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(read)?;
    if application != 0 || tables > 0 {
        return Err(FeatureError::Unsupported(
            "expected a feature store, got a database of another program".to_owned(),
        ));
    }
    Ok(false)
}

/// Makes the tables of a new file.
fn make(transaction: &Transaction<'_>) -> Result<(), FeatureError> {
    let write = |error: rusqlite::Error| failed(WRITE, &error);
    transaction.execute_batch(TABLES).map_err(write)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(write)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(write)
}

fn view_id(connection: &Connection, view: &str) -> Result<Option<i64>, FeatureError> {
    let found = connection.query_row("SELECT id FROM views WHERE name = ?1", params![view], |row| row.get(0));
    found.optional().map_err(|error| failed(READ, &error))
}

/// What the file knows of a view.
fn find_view(connection: &Connection, view: &FeatureView) -> Result<OpenView, FeatureError> {
    let id = view_id(connection, &view.name)?;
    let mut layouts = Layouts::of(view);
    let known = id.map_or_else(|| Ok(Vec::new()), |id| read_layouts(connection, id))?;
    layouts.learn(&view.name, &known)?;
    let number = known.iter().position(|one| one == layouts.in_force());
    Ok(OpenView { id, name: view.name.clone(), keys: view.keys.clone(), number, layouts })
}

/// The same, after the file knows the view and its layout.
fn open_view(transaction: &Transaction<'_>, view: &FeatureView) -> Result<OpenView, FeatureError> {
    let write = |error: rusqlite::Error| failed(WRITE, &error);
    transaction.execute("INSERT OR IGNORE INTO views (name) VALUES (?1)", params![view.name]).map_err(write)?;
    let open = find_view(transaction, view)?;
    if open.number.is_some() {
        return Ok(open);
    }
    let insert = "INSERT INTO layouts (view, number, features) \
                  VALUES (?1, (SELECT count(*) FROM layouts WHERE view = ?1), ?2)";
    transaction.execute(insert, params![open.id, to_text(open.layouts.in_force())]).map_err(write)?;
    find_view(transaction, view)
}

fn read_layouts(connection: &Connection, view: i64) -> Result<Vec<Layout>, FeatureError> {
    let read = |error: rusqlite::Error| failed(READ, &error);
    let query = "SELECT features FROM layouts WHERE view = ?1 ORDER BY number";
    let mut statement = connection.prepare_cached(query).map_err(read)?;
    let texts = statement.query_map(params![view], |row| row.get::<_, String>(0)).map_err(read)?;
    let mut layouts = Vec::new();
    for text in texts {
        let damaged = || FeatureError::internal(READ, "a layout of a view is damaged");
        layouts.push(from_text(&text.map_err(read)?).ok_or_else(damaged)?);
    }
    Ok(layouts)
}

fn read_after(
    connection: &Connection,
    views: &mut [OpenView],
    seen: &mut i64,
    most: usize,
    into: &mut Vec<(usize, KeyedRow)>,
) -> Result<(), FeatureError> {
    let read = |error: rusqlite::Error| failed(READ, &error);
    let query = "SELECT sequence, view, key, layout, row FROM rows WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(query).map_err(read)?;
    let mut rows = statement.query(params![*seen, most]).map_err(read)?;
    while let Some(row) = rows.next().map_err(read)? {
        *seen = row.get(0).map_err(read)?;
        let id: i64 = row.get(1).map_err(read)?;
        let Some(place) = views.iter().position(|view| view.id == Some(id)) else { continue };
        let Some(view) = views.get_mut(place) else { continue };
        let number = usize::try_from(row.get::<_, i64>(3).map_err(read)?).unwrap_or(usize::MAX);
        if !view.layouts.knows(number) {
            // Another process declares other features of the view.
            let layouts = read_layouts(connection, id)?;
            view.layouts.learn(&view.name, &layouts)?;
        }
        let blob = |column| row.get_ref(column).and_then(|value| Ok(value.as_blob()?)).map_err(read);
        if !view.keys.describes(blob(2)?) {
            let stored = KeyParts::read(blob(2)?).map_or_else(|_| "no key".to_owned(), |stored| stored.form());
            return Err(FeatureError::Unsupported(format!(
                "view `{}`: expected stored keys `{}`, got `{stored}`; a view with other keys needs another name",
                view.name,
                view.keys.form()
            )));
        }
        into.push((place, (Box::from(blob(2)?), view.layouts.bring_up(number, blob(4)?)?)));
    }
    Ok(())
}
