//! The layouts of the tables, oldest first, and the step from one to the next.
//!
//! A layout that was released is never edited; a change is a new step at the end. Digests are text in hexadecimal, times
//! are milliseconds since the Unix epoch, facts are JSON.

use rusqlite::{OptionalExtension, Transaction};

use crate::error::{RegistryError, StorageFailure};

const LAYOUTS: [&str; 2] = [
    "
    CREATE TABLE models (name TEXT PRIMARY KEY, policy TEXT NOT NULL, newest INTEGER NOT NULL,
        created_at INTEGER NOT NULL) STRICT;
    CREATE TABLE manifests (digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
    CREATE TABLE files (manifest TEXT NOT NULL REFERENCES manifests, path TEXT NOT NULL, blob TEXT NOT NULL,
        bytes INTEGER NOT NULL, PRIMARY KEY (manifest, path)) STRICT, WITHOUT ROWID;
    CREATE INDEX files_by_blob ON files (blob);
    CREATE TABLE versions (model TEXT NOT NULL REFERENCES models, number INTEGER NOT NULL,
        digest TEXT NOT NULL REFERENCES manifests, pinned TEXT, facts TEXT NOT NULL, stage TEXT NOT NULL,
        present INTEGER NOT NULL, registered_at INTEGER NOT NULL, registered_by TEXT NOT NULL,
        used_at INTEGER NOT NULL, PRIMARY KEY (model, number)) STRICT;
    CREATE INDEX versions_by_digest ON versions (digest);
    CREATE TABLE aliases (model TEXT NOT NULL, alias TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (model, alias), FOREIGN KEY (model, number) REFERENCES versions) STRICT;
    CREATE TABLE parents (model TEXT NOT NULL, number INTEGER NOT NULL, parent_model TEXT NOT NULL,
        parent_number INTEGER NOT NULL, PRIMARY KEY (model, number, parent_model, parent_number),
        FOREIGN KEY (parent_model, parent_number) REFERENCES versions) STRICT;
    CREATE INDEX parents_by_parent ON parents (parent_model, parent_number);
    CREATE TABLE approvals (id INTEGER PRIMARY KEY, model TEXT NOT NULL, number INTEGER NOT NULL, stage TEXT NOT NULL,
        verdict TEXT NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL, checks TEXT NOT NULL, note TEXT,
        FOREIGN KEY (model, number) REFERENCES versions) STRICT;
    CREATE INDEX approvals_by_version ON approvals (model, number);
    CREATE TABLE log (sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        model TEXT NOT NULL, number INTEGER, detail TEXT NOT NULL) STRICT;
    CREATE INDEX log_by_model ON log (model);
",
    "
    CREATE TABLE revisions (model TEXT NOT NULL, number INTEGER NOT NULL, revision TEXT NOT NULL,
        PRIMARY KEY (model, number, revision), FOREIGN KEY (model, number) REFERENCES versions) STRICT, WITHOUT ROWID;
",
];

/// Whether the tables are of the newest layout.
pub(crate) fn is_newest(transaction: &Transaction<'_>) -> Result<bool, RegistryError> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'layouts')";
    if !transaction.query_row(known, [], |row| row.get(0))? {
        return Ok(false);
    }
    let newest: Option<i64> = transaction.query_row("SELECT MAX(version) FROM layouts", [], |row| row.get(0))?;
    Ok(newest.and_then(|found| usize::try_from(found).ok()) == Some(LAYOUTS.len()))
}

/// Brings the tables to the newest layout, inside the transaction that is open.
pub(crate) fn migrate(transaction: &Transaction<'_>) -> Result<(), RegistryError> {
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS layouts (version INTEGER PRIMARY KEY) STRICT")?;
    let found: Option<i64> =
        transaction.query_row("SELECT MAX(version) FROM layouts", [], |row| row.get(0)).optional()?.flatten();
    let found = found.map_or(Ok(0), u64::try_from).map_err(|_| RegistryError::corrupt("a negative layout"))?;
    let known = LAYOUTS.len() as u64;
    if found > known {
        return Err(RegistryError::Storage(StorageFailure::NewerLayout { known, found }, "".into()));
    }
    for (layout, version) in LAYOUTS.iter().zip(1_i64..).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        transaction.execute_batch(layout)?;
        transaction.execute("INSERT INTO layouts VALUES (?1)", [version])?;
    }
    Ok(())
}
