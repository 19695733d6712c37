//! How far views were materialised, in a table of the file.
//!
//! Files that were written before there was such a table get it with the first mark. Who deletes rows with SQLite's own tools
//! may leave the mark: one that was set when the view had rows does not count when it has none.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::StoreMark;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS marks (view TEXT PRIMARY KEY, store TEXT NOT NULL, until INTEGER,
    filled INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID";
const HAS_ROWS: &str = "EXISTS (SELECT 1 FROM rows WHERE view = (SELECT id FROM views WHERE name = ?1))";

/// The mark of a view; none where the file has no name for it yet. Writes nothing.
pub(super) fn read(connection: &Connection, view: &str) -> rusqlite::Result<Option<StoreMark>> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'marks')";
    if !connection.query_row(known, [], |row| row.get(0))? {
        return Ok(None);
    }
    let query =
        format!("SELECT store, CASE WHEN filled = 0 OR {HAS_ROWS} THEN until ELSE NULL END FROM marks WHERE view = ?1");
    let mark = |row: &Row<'_>| Ok(StoreMark { store: row.get(0)?, until: row.get(1)? });
    connection.query_row(&query, params![view], mark).optional()
}

/// Calls the file `fresh` for a view for which it has no name yet.
pub(super) fn name(connection: &Connection, view: &str, fresh: &str) -> rusqlite::Result<()> {
    connection.execute(TABLE, [])?;
    connection.execute("INSERT OR IGNORE INTO marks (view, store) VALUES (?1, ?2)", params![view, fresh])?;
    Ok(())
}

/// Sets the mark of a view; false where the file is not called `store` for it.
pub(super) fn set(connection: &Connection, view: &str, store: &str, until: i64) -> rusqlite::Result<bool> {
    connection.execute(TABLE, [])?;
    let update = format!("UPDATE marks SET until = ?3, filled = {HAS_ROWS} WHERE view = ?1 AND store = ?2");
    Ok(connection.execute(&update, params![view, store, until])? > 0)
}
