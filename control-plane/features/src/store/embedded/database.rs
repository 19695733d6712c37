//! The file: SQLite, with a row for each key, numbered by the order of writing.
//!
//! A replaced row gets a new number, so whoever remembers the last number that it has seen finds what others have written
//! since. Several processes may write (`hanok features put` beside a server): SQLite lets one at a time, and an older row
//! never replaces a newer one, whoever comes first.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode as SqliteCode, Transaction, TransactionBehavior, params};

use super::layout::{Layout, Layouts, from_text, to_text};
use super::table::KeyedRow;
use crate::declared::FeatureView;
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
    id: i64,
    name: String,
    number: usize,
    layouts: Layouts,
}

pub(super) struct Database {
    connection: Connection,
    views: Vec<OpenView>,
    /// The last number that was read.
    seen: i64,
    version: i64,
}

impl Database {
    /// Opens or makes the file. Blocks.
    pub(super) fn open(path: &Path, views: &[Arc<FeatureView>]) -> Result<Self, FeatureError> {
        let opened = |error: rusqlite::Error| failed("the feature store cannot be opened", &error);
        let mut connection = Connection::open(path).map_err(opened)?;
        connection.busy_timeout(BUSY).map_err(opened)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(opened)?;
        // Every commit is on the disk when it is acknowledged.
        connection.pragma_update(None, "synchronous", "full").map_err(opened)?;
        let mut open_views = Vec::new();
        let transaction = begin(&mut connection)?;
        prepare(&transaction)?;
        for view in views {
            open_views.push(open_view(&transaction, view)?);
        }
        transaction.commit().map_err(|error| failed(WRITE, &error))?;
        let version = data_version(&connection)?;
        Ok(Self { connection, views: open_views, seen: 0, version })
    }

    /// Whether another connection has changed the file since the last call.
    pub(super) fn changed_by_others(&mut self) -> Result<bool, FeatureError> {
        let version = data_version(&self.connection)?;
        Ok(std::mem::replace(&mut self.version, version) != version)
    }

    /// Rows written since the last read, by place of the view, up to a bound; empty when there are no more.
    pub(super) fn read_new(&mut self, most: usize) -> Result<Vec<(usize, KeyedRow)>, FeatureError> {
        let mut rows = Vec::new();
        read_after(&self.connection, &mut self.views, &mut self.seen, most, &mut rows)?;
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
                let Some(view) = self.views.get(*place) else {
                    counts.push(count);
                    continue;
                };
                for NewRow { key, event_micros, row } in rows {
                    let number = i64::try_from(view.number).unwrap_or(i64::MAX);
                    let taken = insert
                        .execute(params![view.id, key, event_micros, number, row])
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
}

const READ: &str = "the feature store cannot be read";
const WRITE: &str = "the feature store cannot write";

fn failed(what: &'static str, error: &rusqlite::Error) -> FeatureError {
    match error.sqlite_error_code() {
        Some(SqliteCode::NotADatabase) => {
            FeatureError::Unsupported("expected a feature store, got a file of another kind".to_owned())
        }
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

/// Makes the tables of a new file, and refuses files of others.
fn prepare(transaction: &Transaction<'_>) -> Result<(), FeatureError> {
    let read = |error: rusqlite::Error| failed(READ, &error);
    let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(read);
    let (application, format) = (number("application_id")?, number("user_version")?);
    if (application, format) == (APPLICATION, FORMAT) {
        return Ok(());
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
    let write = |error: rusqlite::Error| failed(WRITE, &error);
    transaction.execute_batch(TABLES).map_err(write)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(write)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(write)
}

fn open_view(transaction: &Transaction<'_>, view: &FeatureView) -> Result<OpenView, FeatureError> {
    let write = |error: rusqlite::Error| failed(WRITE, &error);
    transaction.execute("INSERT OR IGNORE INTO views (name) VALUES (?1)", params![view.name]).map_err(write)?;
    let id = transaction
        .query_row("SELECT id FROM views WHERE name = ?1", params![view.name], |row| row.get(0))
        .map_err(|error| failed(READ, &error))?;
    let mut layouts = Layouts::of(view);
    let mut known = read_layouts(transaction, id)?;
    layouts.learn(&view.name, &known)?;
    let number = match known.iter().position(|one| one == layouts.in_force()) {
        Some(number) => number,
        None => {
            let number = known.len();
            let text = to_text(layouts.in_force());
            let place = i64::try_from(number).unwrap_or(i64::MAX);
            transaction
                .execute("INSERT INTO layouts (view, number, features) VALUES (?1, ?2, ?3)", params![id, place, text])
                .map_err(write)?;
            known.push(layouts.in_force().clone());
            layouts.learn(&view.name, &known)?;
            number
        }
    };
    Ok(OpenView { id, name: view.name.clone(), number, layouts })
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
        let Some(place) = views.iter().position(|view| view.id == id) else { continue };
        let Some(view) = views.get_mut(place) else { continue };
        let number = usize::try_from(row.get::<_, i64>(3).map_err(read)?).unwrap_or(usize::MAX);
        if !view.layouts.knows(number) {
            // Another process declares other features of the view.
            let layouts = read_layouts(connection, id)?;
            view.layouts.learn(&view.name, &layouts)?;
        }
        let blob = |column| row.get_ref(column).and_then(|value| Ok(value.as_blob()?)).map_err(read);
        into.push((place, (Box::from(blob(2)?), view.layouts.bring_up(number, blob(4)?)?)));
    }
    Ok(())
}
