//! Records of the journal: writing them once, finding them again.

use crate::cloud_event::{CheckedEvent, CloudEvent, JournalRecord};
use crate::error::StateError;
use crate::limits::decode_document;
use crate::sql::{Row, Sql, insert_rows, query_row};
use crate::stream::{Page, ReadFrom, Stream};
use crate::tables::streams::{self, Ends};
use crate::timestamp::Timestamp;
use crate::transaction::Appended;
use crate::versions::Sequence;

/// Where this very event is recorded, if it is. The same id with other content is refused; the time may differ, for
/// whoever decides again after a crash looks at another clock.
pub(crate) fn find(sql: &mut dyn Sql, checked: &CheckedEvent) -> Result<Option<Sequence>, StateError> {
    let event = &checked.event;
    let statement = "SELECT sequence, type, subject, data FROM journal WHERE source = $1 AND id = $2";
    let Some(mut row) = query_row(sql, statement, &[(&event.source).into(), (&event.id).into()])? else {
        return Ok(None);
    };
    let same = row.text(1)? == event.event_type
        && row.optional_text(2)? == event.subject
        && same_document(row.optional_text(3)?.as_deref(), checked)?;
    if !same {
        return Err(StateError::RecordDiffers { source: event.source.clone(), id: event.id.clone() });
    }
    Ok(Some(Sequence(row.number(0)?)))
}

/// Equal as text, or else as JSON: members may have come in another order.
fn same_document(recorded: Option<&str>, checked: &CheckedEvent) -> Result<bool, StateError> {
    if recorded == checked.data.as_deref() {
        return Ok(true);
    }
    match (recorded, &checked.event.data) {
        (Some(recorded), Some(data)) => Ok(decode_document(recorded)? == *data),
        _ => Ok(false),
    }
}

/// Records events that are known to be new.
pub(crate) fn record(sql: &mut dyn Sql, events: &[CheckedEvent], now: Timestamp) -> Result<Vec<Sequence>, StateError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let mut ends = Ends::load(sql, Stream::Journal)?;
    let mut sequences = Vec::with_capacity(events.len());
    let mut rows = Vec::with_capacity(events.len());
    for checked in events {
        let CheckedEvent { event, data } = checked;
        ends.extend(checked.bytes());
        sequences.push(ends.last);
        rows.push(vec![
            ends.last.into(),
            now.into(),
            ends.total_bytes.into(),
            (&event.source).into(),
            (&event.id).into(),
            (&event.event_type).into(),
            event.subject.as_ref().into(),
            event.time.into(),
            data.as_ref().into(),
        ]);
    }
    let target = "journal (sequence, recorded_at, total_bytes, source, id, type, subject, time, data)";
    insert_rows(sql, target, 9, &rows, "")?;
    ends.save(sql, Stream::Journal)?;
    Ok(sequences)
}

/// Records those of the events that are not there yet; each id at most once, also among themselves.
pub(crate) fn append(
    sql: &mut dyn Sql,
    events: Vec<CheckedEvent>,
    now: Timestamp,
) -> Result<Vec<Appended>, StateError> {
    events
        .into_iter()
        .map(|event| match find(sql, &event)? {
            Some(sequence) => Ok(Appended::Duplicate(sequence)),
            None => Ok(Appended::Recorded(record(sql, &[event], now)?[0])),
        })
        .collect()
}

pub(crate) fn read(sql: &mut dyn Sql, from: &ReadFrom, limit: usize) -> Result<Page<JournalRecord>, StateError> {
    streams::read(sql, Stream::Journal, from, limit, "source, id, type, subject, time, data", journal_record)
}

fn journal_record(sequence: Sequence, recorded_at: Timestamp, row: &mut Row) -> Result<JournalRecord, StateError> {
    let event = CloudEvent {
        source: row.text(2)?,
        id: row.text(3)?,
        event_type: row.text(4)?,
        subject: row.optional_text(5)?,
        time: row.time(6)?,
        data: row.optional_text(7)?.map(|data| decode_document(&data)).transpose()?,
    };
    Ok(JournalRecord { sequence, recorded_at, event })
}
