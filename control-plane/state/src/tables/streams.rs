//! The ends of the streams, and dropping records from the front.

use crate::error::StateError;
use crate::limits::PAGE_RECORDS;
use crate::retention::{Kept, Retention, RetentionReport, outlived, reader_bound};
use crate::sql::{Row, Sql, query_row};
use crate::stream::{Page, ReadFrom, Stream};
use crate::tables::cursors;
use crate::timestamp::Timestamp;
use crate::versions::Sequence;

/// Records that one pass of retention looks at.
const RECORDS_PER_PASS: usize = 10_000;

/// The ends of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) last: Sequence,
    pub(crate) trimmed: Sequence,
    pub(crate) total_bytes: u64,
    pub(crate) trimmed_bytes: u64,
}

impl Ends {
    pub(crate) fn load(sql: &mut dyn Sql, stream: Stream) -> Result<Self, StateError> {
        let statement = "SELECT last, trimmed, total_bytes, trimmed_bytes FROM streams WHERE name = $1";
        let row = query_row(sql, statement, &[stream.table().into()])?
            .ok_or_else(|| StateError::corrupt(format!("stream {} has no ends", stream.table())))?;
        Ok(Self {
            last: Sequence(row.number(0)?),
            trimmed: Sequence(row.number(1)?),
            total_bytes: row.number(2)?,
            trimmed_bytes: row.number(3)?,
        })
    }

    pub(crate) fn save(&self, sql: &mut dyn Sql, stream: Stream) -> Result<(), StateError> {
        let statement =
            "UPDATE streams SET last = $1, trimmed = $2, total_bytes = $3, trimmed_bytes = $4 WHERE name = $5";
        let values = [
            self.last.into(),
            self.trimmed.into(),
            self.total_bytes.into(),
            self.trimmed_bytes.into(),
            stream.table().into(),
        ];
        sql.execute(statement, &values)?;
        Ok(())
    }

    /// Makes room for one more record of `bytes`.
    pub(crate) fn extend(&mut self, bytes: usize) {
        self.last = Sequence(self.last.0 + 1);
        self.total_bytes += bytes as u64;
    }
}

/// Reads a page; `columns` are those that `record` turns into a record, behind the sequence and the time.
pub(crate) fn read<T>(
    sql: &mut dyn Sql,
    stream: Stream,
    from: &ReadFrom,
    limit: usize,
    columns: &str,
    record: impl Fn(Sequence, Timestamp, &mut Row) -> Result<T, StateError>,
) -> Result<Page<T>, StateError> {
    let after = match from {
        ReadFrom::After(after) => *after,
        ReadFrom::Cursor(name) => cursors::load(sql, stream, name)?.position,
    };
    let ends = Ends::load(sql, stream)?;
    let table = stream.table();
    let statement =
        format!("SELECT sequence, recorded_at, {columns} FROM {table} WHERE sequence > $1 ORDER BY sequence LIMIT $2");
    let rows = sql.query(&statement, &[after.into(), (limit.min(PAGE_RECORDS) as u64).into()])?;
    let mut next = after.max(ends.trimmed);
    let mut records = Vec::with_capacity(rows.len());
    for mut row in rows {
        let sequence = Sequence(row.number(0)?);
        if sequence.0 != next.0 + 1 {
            return Err(StateError::corrupt(format!("{table}: a gap between {next} and {sequence}")));
        }
        next = sequence;
        records.push(record(sequence, row.time(1)?, &mut row)?);
    }
    Ok(Page { records, next, last: ends.last, missed: ends.trimmed.0.saturating_sub(after.0) })
}

/// One pass of retention.
pub(crate) fn retain(
    sql: &mut dyn Sql,
    stream: Stream,
    policy: &Retention,
    now: Timestamp,
) -> Result<RetentionReport, StateError> {
    let mut ends = Ends::load(sql, stream)?;
    let readers = cursors::list(sql, stream)?;
    let bound = reader_bound(policy, ends.last, readers.iter().map(|reader| reader.position).min());
    let table = stream.table();
    let statement = format!(
        "SELECT sequence, recorded_at, total_bytes FROM {table} WHERE sequence <= $1 ORDER BY sequence LIMIT $2"
    );
    let oldest: Vec<Kept> = sql
        .query(&statement, &[bound.into(), (RECORDS_PER_PASS as u64).into()])?
        .iter()
        .map(|row| {
            Ok(Kept {
                sequence: Sequence(row.number(0)?),
                recorded_at_millis: row.integer(1)?,
                total_bytes: row.number(2)?,
            })
        })
        .collect::<Result<_, StateError>>()?;
    let before = ends.trimmed;
    let (cut, cut_bytes) = outlived(policy, &oldest, (before, ends.trimmed_bytes), ends.total_bytes, now.unix_millis());
    let dropped = cut.0 - before.0;
    let more = dropped > 0 && dropped == RECORDS_PER_PASS as u64;
    if dropped == 0 {
        return Ok(RetentionReport { dropped, more, readers_behind: 0 });
    }
    sql.execute(&format!("DELETE FROM {table} WHERE sequence <= $1"), &[cut.into()])?;
    ends.trimmed = cut;
    ends.trimmed_bytes = cut_bytes;
    ends.save(sql, stream)?;
    let mut readers_behind = 0;
    for reader in readers.iter().filter(|reader| reader.position < cut) {
        readers_behind += 1;
        let missed = cut.0 - reader.position.max(before).0;
        let statement = "UPDATE cursors SET missed = missed + $1 WHERE stream = $2 AND name = $3";
        sql.execute(statement, &[missed.into(), table.into(), (&reader.name).into()])?;
    }
    Ok(RetentionReport { dropped, more, readers_behind })
}
