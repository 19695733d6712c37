//! What the statements need of a database, and nothing more: both engines offer it, one set of statements uses it.
//!
//! Placeholders are `$1`, `$2`, ... in order. Values are integers, numbers and text; times are milliseconds.

use std::fmt;

use crate::error::StateError;
use crate::timestamp::Timestamp;
use crate::versions::{FencingToken, MachineVersion, Revision, Sequence};

/// A value on its way into the database.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a str),
}

/// A value on its way out.
#[derive(Debug)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

/// One row of an answer.
#[derive(Debug)]
pub(crate) struct Row(pub(crate) Vec<Cell>);

/// Statements within the transaction that is open.
pub(crate) trait Sql {
    /// Runs a statement and tells how many rows it changed.
    fn execute(&mut self, statement: &str, values: &[Value<'_>]) -> Result<u64, StateError>;

    /// Runs a query and brings all of its rows.
    fn query(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StateError>;

    /// The clock that leases go by: one clock for all who share the database, else the caller's.
    fn lease_clock(&mut self, caller: Timestamp) -> Result<Timestamp, StateError>;
}

impl fmt::Debug for dyn Sql + '_ {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sql")
    }
}

/// The only row of an answer that has one or none.
pub(crate) fn query_row(sql: &mut dyn Sql, statement: &str, values: &[Value<'_>]) -> Result<Option<Row>, StateError> {
    Ok(sql.query(statement, values)?.into_iter().next())
}

/// Rows that one statement inserts. Few sizes, so that few statements are prepared; the largest stays below what both
/// databases allow for parameters (SQLite 32,766, PostgreSQL 65,535).
const ROWS_AT_ONCE: [usize; 4] = [128, 32, 8, 1];

/// Inserts `rows`, each of `width` values, into `target` (`table (columns)`), ending each statement with `suffix`.
/// Tells how many rows were inserted.
pub(crate) fn insert_rows(
    sql: &mut dyn Sql,
    target: &str,
    width: usize,
    rows: &[Vec<Value<'_>>],
    suffix: &str,
) -> Result<u64, StateError> {
    let mut rest = rows;
    let mut inserted = 0;
    for at_once in ROWS_AT_ONCE {
        let mut statement = String::new();
        while rest.len() >= at_once {
            let (now, later) = rest.split_at(at_once);
            rest = later;
            if statement.is_empty() {
                statement = format!("INSERT INTO {target} VALUES {} {suffix}", placeholders(at_once, width));
            }
            inserted += sql.execute(&statement, &now.concat())?;
        }
    }
    Ok(inserted)
}

/// `($1,$2),($3,$4)` for two rows of two.
fn placeholders(rows: usize, width: usize) -> String {
    let row = |row: usize| {
        let numbers: Vec<String> = (0..width).map(|column| format!("${}", row * width + column + 1)).collect();
        format!("({})", numbers.join(","))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

/// Keys that one statement looks up. Lists are filled up with their last key.
pub(crate) const KEYS_AT_ONCE: usize = 128;

/// Looks up rows by text keys, `KEYS_AT_ONCE` at a time; `statement` ends in `IN `.
pub(crate) fn query_by_keys(sql: &mut dyn Sql, statement: &str, keys: &[&str]) -> Result<Vec<Row>, StateError> {
    let mut rows = Vec::new();
    let statement = format!("{statement}{}", placeholders(1, KEYS_AT_ONCE));
    for chunk in keys.chunks(KEYS_AT_ONCE) {
        let last = chunk[chunk.len() - 1];
        let filled = chunk.iter().copied().chain(std::iter::repeat(last)).take(KEYS_AT_ONCE);
        rows.extend(sql.query(&statement, &filled.map(Value::Text).collect::<Vec<_>>())?);
    }
    Ok(rows)
}

impl Row {
    pub(crate) fn integer(&self, column: usize) -> Result<i64, StateError> {
        match self.0.get(column) {
            Some(Cell::Integer(value)) => Ok(*value),
            other => Err(mismatch(column, "an integer", other)),
        }
    }

    pub(crate) fn number(&self, column: usize) -> Result<u64, StateError> {
        u64::try_from(self.integer(column)?).map_err(|_| mismatch(column, "no negative number", self.0.get(column)))
    }

    pub(crate) fn optional_number(&self, column: usize) -> Result<Option<u64>, StateError> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.number(column).map(Some),
        }
    }

    pub(crate) fn real(&self, column: usize) -> Result<f64, StateError> {
        match self.0.get(column) {
            Some(Cell::Real(value)) => Ok(*value),
            other => Err(mismatch(column, "a number", other)),
        }
    }

    /// Takes the text out of the row.
    pub(crate) fn text(&mut self, column: usize) -> Result<String, StateError> {
        match self.0.get_mut(column) {
            Some(Cell::Text(value)) => Ok(std::mem::take(value)),
            other => Err(mismatch(column, "a text", other.as_deref())),
        }
    }

    /// Takes the text out of the row, if there is one.
    pub(crate) fn optional_text(&mut self, column: usize) -> Result<Option<String>, StateError> {
        match self.0.get(column) {
            Some(Cell::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    pub(crate) fn time(&self, column: usize) -> Result<Timestamp, StateError> {
        Timestamp::from_unix_millis(self.integer(column)?).map_err(|_| mismatch(column, "a time", self.0.get(column)))
    }
}

fn mismatch(column: usize, expected: &str, found: Option<&Cell>) -> StateError {
    StateError::corrupt(format!("column {column}: expected {expected}, found {found:?}"))
}

/// More than the database can count is more than anything stored: it compares as such.
impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Integer(value.unix_millis())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! from_counter {
    ($($name:ident),*) => {
        $(impl From<$name> for Value<'_> {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        })*
    };
}

from_counter!(FencingToken, MachineVersion, Revision, Sequence);
