//! Joined pairs: written once, read as a stream.

use crate::error::StateError;
use crate::outcome::{JoinedPair, Outcome, ServedRequest};
use crate::sql::{Row, Sql, insert_rows};
use crate::stream::{Page, ReadFrom, Stream};
use crate::tables::served::served_request;
use crate::tables::streams::{self, Ends};
use crate::timestamp::Timestamp;
use crate::versions::Sequence;

/// Bytes of the numbers of a pair, as retention by size counts them.
const NUMBERS_BYTES: usize = 48;

/// Records pairs and gives them their places, in order.
pub(crate) fn record(
    sql: &mut dyn Sql,
    pairs: &[(&ServedRequest, &Outcome)],
    now: Timestamp,
) -> Result<Vec<Sequence>, StateError> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let mut ends = Ends::load(sql, Stream::Pairs)?;
    let mut sequences = Vec::with_capacity(pairs.len());
    let mut rows = Vec::with_capacity(pairs.len());
    for (served, outcome) in pairs {
        let segment = served.segment.as_ref();
        let texts = [&served.request_id, &served.model, &served.arm, &outcome.metric];
        ends.extend(
            texts.iter().map(|text| text.len()).sum::<usize>() + segment.map_or(0, String::len) + NUMBERS_BYTES,
        );
        sequences.push(ends.last);
        rows.push(vec![
            ends.last.into(),
            now.into(),
            ends.total_bytes.into(),
            (&served.request_id).into(),
            (&served.model).into(),
            (&served.arm).into(),
            served.version.into(),
            served.served_at.into(),
            served.probability.into(),
            segment.into(),
            (&outcome.metric).into(),
            outcome.value.into(),
            outcome.observed_at.into(),
        ]);
    }
    let target = "pairs (sequence, recorded_at, total_bytes, request_id, model, arm, version, served_at, probability,
        segment, metric, value, observed_at)";
    insert_rows(sql, target, 13, &rows, "")?;
    ends.save(sql, Stream::Pairs)?;
    Ok(sequences)
}

pub(crate) fn read(sql: &mut dyn Sql, from: &ReadFrom, limit: usize) -> Result<Page<JoinedPair>, StateError> {
    let columns = "request_id, model, arm, version, served_at, probability, segment, metric, value, observed_at";
    streams::read(sql, Stream::Pairs, from, limit, columns, joined_pair)
}

fn joined_pair(sequence: Sequence, joined_at: Timestamp, row: &mut Row) -> Result<JoinedPair, StateError> {
    let served = served_request(row, 2)?;
    let outcome = Outcome {
        request_id: served.request_id.clone(),
        metric: row.text(9)?,
        value: row.real(10)?,
        observed_at: row.time(11)?,
    };
    Ok(JoinedPair { sequence, joined_at, served, outcome })
}
