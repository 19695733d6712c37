//! Readers' places in the streams.

use crate::error::StateError;
use crate::sql::{Row, Sql, query_row};
use crate::stream::{Cursor, Stream};
use crate::tables::streams::Ends;
use crate::timestamp::Timestamp;
use crate::transaction::CursorAdvance;
use crate::versions::Sequence;

const COLUMNS: &str = "SELECT name, position, missed, updated_at FROM cursors";

/// Registers a reader behind `after`, no earlier than what is kept and no later than the end; an existing one stays.
pub(crate) fn register(
    sql: &mut dyn Sql,
    stream: Stream,
    name: &str,
    after: Sequence,
    now: Timestamp,
) -> Result<Cursor, StateError> {
    let ends = Ends::load(sql, stream)?;
    let position = after.max(ends.trimmed).min(ends.last);
    let statement = "INSERT INTO cursors VALUES ($1, $2, $3, 0, $4) ON CONFLICT DO NOTHING";
    sql.execute(statement, &[stream.table().into(), name.into(), position.into(), now.into()])?;
    load(sql, stream, name)
}

/// Forgets a reader.
pub(crate) fn remove(sql: &mut dyn Sql, stream: Stream, name: &str) -> Result<(), StateError> {
    let removed =
        sql.execute("DELETE FROM cursors WHERE stream = $1 AND name = $2", &[stream.table().into(), name.into()])?;
    if removed == 0 { Err(unknown(name)) } else { Ok(()) }
}

pub(crate) fn load(sql: &mut dyn Sql, stream: Stream, name: &str) -> Result<Cursor, StateError> {
    let statement = format!("{COLUMNS} WHERE stream = $1 AND name = $2");
    let mut row = query_row(sql, &statement, &[stream.table().into(), name.into()])?.ok_or_else(|| unknown(name))?;
    read(stream, &mut row)
}

pub(crate) fn list(sql: &mut dyn Sql, stream: Stream) -> Result<Vec<Cursor>, StateError> {
    let mut rows = sql.query(&format!("{COLUMNS} WHERE stream = $1 ORDER BY name"), &[stream.table().into()])?;
    rows.iter_mut().map(|row| read(stream, row)).collect()
}

/// Moves a reader by compare-and-set.
pub(crate) fn advance(sql: &mut dyn Sql, step: &CursorAdvance, now: Timestamp) -> Result<(), StateError> {
    let found = load(sql, step.stream, &step.name)?.position;
    if found != step.expected {
        return Err(StateError::Conflict {
            what: "cursor",
            name: step.name.clone(),
            expected: step.expected.0,
            actual: found.0,
        });
    }
    let last = Ends::load(sql, step.stream)?.last;
    if step.to < step.expected || step.to > last {
        return Err(StateError::invalid(
            "cursor",
            format!("expected a position from {} to {last}, got {}", step.expected, step.to),
        ));
    }
    let statement = "UPDATE cursors SET position = $1, updated_at = $2 WHERE stream = $3 AND name = $4";
    let values = [step.to.into(), now.into(), step.stream.table().into(), (&step.name).into()];
    sql.execute(statement, &values)?;
    Ok(())
}

fn unknown(name: &str) -> StateError {
    StateError::NotFound { what: "cursor", name: name.to_owned() }
}

fn read(stream: Stream, row: &mut Row) -> Result<Cursor, StateError> {
    Ok(Cursor {
        stream,
        name: row.text(0)?,
        position: Sequence(row.number(1)?),
        missed: row.number(2)?,
        updated_at: row.time(3)?,
    })
}
