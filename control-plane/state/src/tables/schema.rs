//! The layouts of the tables, oldest first, and the step from one to the next.
//!
//! A layout that was released is never edited; a change is a new step at the end. Every statement must say the same to
//! both databases, after `{number}` and `{text}` are written in their words.

use crate::error::{EngineFailure, StateError};
use crate::sql::{Sql, query_row};

/// Words that the databases spell differently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// A 64-bit integer.
    pub(crate) number: &'static str,
    /// Text that is compared by its bytes.
    pub(crate) text: &'static str,
}

const LAYOUTS: [&[&str]; 1] = [&[
    // The streams and their ends: what is in the table are the records after `trimmed` up to `last`.
    "CREATE TABLE streams (name {text} PRIMARY KEY, last {number} NOT NULL, trimmed {number} NOT NULL,
        total_bytes {number} NOT NULL, trimmed_bytes {number} NOT NULL)",
    "INSERT INTO streams VALUES ('journal', 0, 0, 0, 0), ('pairs', 0, 0, 0, 0)",
    "CREATE TABLE cursors (stream {text} NOT NULL, name {text} NOT NULL, position {number} NOT NULL,
        missed {number} NOT NULL, updated_at {number} NOT NULL, PRIMARY KEY (stream, name))",
    "CREATE TABLE journal (sequence {number} PRIMARY KEY, recorded_at {number} NOT NULL, total_bytes {number} NOT NULL,
        source {text} NOT NULL, id {text} NOT NULL, type {text} NOT NULL, subject {text}, time {number} NOT NULL,
        data {text}, UNIQUE (source, id))",
    "CREATE TABLE pairs (sequence {number} PRIMARY KEY, recorded_at {number} NOT NULL, total_bytes {number} NOT NULL,
        request_id {text} NOT NULL, model {text} NOT NULL, arm {text} NOT NULL, version {number} NOT NULL,
        served_at {number} NOT NULL, probability DOUBLE PRECISION NOT NULL, segment {text}, metric {text} NOT NULL,
        value DOUBLE PRECISION NOT NULL, observed_at {number} NOT NULL)",
    "CREATE TABLE collections (name {text} PRIMARY KEY, revision {number} NOT NULL)",
    "CREATE TABLE revisions (collection {text} NOT NULL, revision {number} NOT NULL, created_at {number} NOT NULL,
        author {text} NOT NULL, restores {number}, PRIMARY KEY (collection, revision))",
    // A resource has a row for each revision that changed it; without a document, that revision removed it.
    "CREATE TABLE resources (collection {text} NOT NULL, kind {text} NOT NULL, name {text} NOT NULL,
        revision {number} NOT NULL, document {text}, PRIMARY KEY (collection, kind, name, revision))",
    // Every resource that a collection ever had: what keeps reading a set from walking through all revisions.
    "CREATE TABLE resource_names (collection {text} NOT NULL, kind {text} NOT NULL, name {text} NOT NULL,
        PRIMARY KEY (collection, kind, name))",
    // Without a state the machine was removed; its version goes on from here when it is made again.
    "CREATE TABLE machines (kind {text} NOT NULL, name {text} NOT NULL, version {number} NOT NULL, state {text},
        updated_at {number} NOT NULL, PRIMARY KEY (kind, name))",
    "CREATE TABLE leases (name {text} PRIMARY KEY, holder {text} NOT NULL, token {number} NOT NULL,
        expires_at {number} NOT NULL)",
    // `ordinal` is the order of arrival; the window loses its oldest first.
    "CREATE TABLE served (ordinal {number} PRIMARY KEY, request_id {text} NOT NULL UNIQUE, model {text} NOT NULL,
        arm {text} NOT NULL, version {number} NOT NULL, served_at {number} NOT NULL,
        probability DOUBLE PRECISION NOT NULL, segment {text})",
    // Without `served` the outcome waits for its request until `expires_at`.
    "CREATE TABLE outcomes (request_id {text} NOT NULL, metric {text} NOT NULL, value DOUBLE PRECISION NOT NULL,
        observed_at {number} NOT NULL, served {number}, expires_at {number} NOT NULL, PRIMARY KEY (request_id, metric))",
    "CREATE INDEX outcomes_joined ON outcomes (served) WHERE served IS NOT NULL",
    "CREATE INDEX outcomes_waiting ON outcomes (expires_at) WHERE served IS NULL",
    "CREATE TABLE counts (name {text} PRIMARY KEY, value {number} NOT NULL)",
    "INSERT INTO counts VALUES ('ordinal', 0), ('served', 0), ('served_duplicates', 0), ('served_evicted', 0),
        ('waiting', 0), ('expired', 0), ('too_late', 0)",
]];

/// Brings the tables to the newest layout, inside the transaction that is open.
pub(crate) fn migrate(sql: &mut dyn Sql, dialect: Dialect) -> Result<(), StateError> {
    sql.execute(&spell("CREATE TABLE IF NOT EXISTS layouts (version {number} PRIMARY KEY)", dialect), &[])?;
    let newest = query_row(sql, "SELECT MAX(version) FROM layouts", &[])?;
    let found = newest.map_or(Ok(None), |row| row.optional_number(0))?.unwrap_or(0);
    let known = LAYOUTS.len() as u64;
    if found > known {
        return Err(StateError::Engine(EngineFailure::NewerLayout { known, found }, "".into()));
    }
    for (layout, version) in LAYOUTS.iter().zip(1_u64..).filter(|&(_, version)| version > found) {
        for statement in *layout {
            sql.execute(&spell(statement, dialect), &[])?;
        }
        sql.execute("INSERT INTO layouts VALUES ($1)", &[version.into()])?;
    }
    Ok(())
}

fn spell(statement: &str, dialect: Dialect) -> String {
    statement.replace("{number}", dialect.number).replace("{text}", dialect.text)
}
