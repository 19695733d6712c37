//! Served requests in the window: recorded in batches, joined to outcomes that waited for them, evicted oldest first.

use std::collections::{HashMap, HashSet};

use crate::error::StateError;
use crate::outcome::{Outcome, OutcomeWindow, ServedRequest};
use crate::sql::{Row, Sql, Value, insert_rows, query_by_keys, query_row};
use crate::tables::outcomes::{add, count};
use crate::tables::pairs;
use crate::timestamp::Timestamp;

/// Most served requests that leave the window in one call.
const EVICTED_AT_ONCE: u64 = 100_000;

/// The columns of a served request, behind the ordinal.
pub(crate) const COLUMNS: &str = "ordinal, request_id, model, arm, version, served_at, probability, segment";

/// Records a batch; ids that are in the window already are counted and left alone.
pub(crate) fn record(
    sql: &mut dyn Sql,
    batch: &[ServedRequest],
    window: &OutcomeWindow,
    now: Timestamp,
) -> Result<(), StateError> {
    let mut ids = HashSet::with_capacity(batch.len());
    let distinct: Vec<&ServedRequest> =
        batch.iter().filter(|request| ids.insert(request.request_id.as_str())).collect();
    let first = count(sql, "ordinal")?;
    let mut rows = Vec::with_capacity(distinct.len());
    for (request, ordinal) in distinct.iter().zip(first + 1..) {
        rows.push(vec![
            ordinal.into(),
            (&request.request_id).into(),
            (&request.model).into(),
            (&request.arm).into(),
            request.version.into(),
            request.served_at.into(),
            request.probability.into(),
            request.segment.as_ref().into(),
        ]);
    }
    let target = format!("served ({COLUMNS})");
    let inserted = insert_rows(sql, &target, 8, &rows, "ON CONFLICT (request_id) DO NOTHING")?;
    add(sql, "ordinal", distinct.len() as u64)?;
    add(sql, "served", inserted)?;
    add(sql, "served_duplicates", batch.len() as u64 - inserted)?;
    if count(sql, "waiting")? > 0 {
        let keys: Vec<&str> = distinct.iter().map(|request| request.request_id.as_str()).collect();
        join_waiting(sql, &keys, first, window, now)?;
    }
    evict(sql, window, now)
}

/// Joins outcomes that came before their requests: those of requests that this batch (ordinals after `first`) brought.
fn join_waiting(
    sql: &mut dyn Sql,
    keys: &[&str],
    first: u64,
    window: &OutcomeWindow,
    now: Timestamp,
) -> Result<(), StateError> {
    let statement = "SELECT request_id, metric, value, observed_at, expires_at FROM outcomes
        WHERE served IS NULL AND request_id IN ";
    let waiting: Vec<(Outcome, Timestamp)> = query_by_keys(sql, statement, keys)?
        .iter_mut()
        .map(|row| {
            let outcome = Outcome {
                request_id: row.text(0)?,
                metric: row.text(1)?,
                value: row.real(2)?,
                observed_at: row.time(3)?,
            };
            Ok((outcome, row.time(4)?))
        })
        .collect::<Result<_, StateError>>()?;
    if waiting.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = waiting.iter().map(|(outcome, _)| outcome.request_id.as_str()).collect();
    let served = by_id(sql, &keys)?;
    let mut joined = Vec::new();
    for (outcome, expires_at) in &waiting {
        let Some((ordinal, request)) = served.get(&outcome.request_id).filter(|(ordinal, _)| *ordinal > first) else {
            continue;
        };
        if *expires_at < now || now > request.served_at.plus_millis(window.window_millis) {
            continue; // It expires where it is.
        }
        let statement = "UPDATE outcomes SET served = $1 WHERE request_id = $2 AND metric = $3";
        sql.execute(statement, &[(*ordinal).into(), (&outcome.request_id).into(), (&outcome.metric).into()])?;
        joined.push((request, outcome));
    }
    pairs::record(sql, &joined, now)?;
    subtract_waiting(sql, joined.len() as u64)
}

pub(crate) fn subtract_waiting(sql: &mut dyn Sql, fewer: u64) -> Result<(), StateError> {
    sql.execute("UPDATE counts SET value = value - $1 WHERE name = 'waiting'", &[fewer.into()])?;
    Ok(())
}

/// Served requests in the window, with their ordinals, by id.
pub(crate) fn by_id(sql: &mut dyn Sql, keys: &[&str]) -> Result<HashMap<String, (u64, ServedRequest)>, StateError> {
    query_by_keys(sql, &format!("SELECT {COLUMNS} FROM served WHERE request_id IN "), keys)?
        .iter_mut()
        .map(|row| {
            let (ordinal, request) = (row.number(0)?, served_request(row, 1)?);
            Ok((request.request_id.clone(), (ordinal, request)))
        })
        .collect()
}

/// The columns of [`COLUMNS`] behind the ordinal, from the column `first` on.
pub(crate) fn served_request(row: &mut Row, first: usize) -> Result<ServedRequest, StateError> {
    Ok(ServedRequest {
        request_id: row.text(first)?,
        model: row.text(first + 1)?,
        arm: row.text(first + 2)?,
        version: row.number(first + 3)?,
        served_at: row.time(first + 4)?,
        probability: row.real(first + 5)?,
        segment: row.optional_text(first + 6)?,
    })
}

/// Lets go of the oldest: all whose window has passed, up to the first whose window has not, and all beyond the number.
/// Their outcomes go with them; a repeated one is from then on an outcome of an unknown request.
pub(crate) fn evict(sql: &mut dyn Sql, window: &OutcomeWindow, now: Timestamp) -> Result<(), StateError> {
    let present = count(sql, "served")?.saturating_sub(count(sql, "served_evicted")?);
    let too_many = present.saturating_sub(window.max_served).min(EVICTED_AT_ONCE);
    let mut cut = 0;
    if too_many > 0 {
        let statement = "SELECT ordinal FROM served ORDER BY ordinal LIMIT 1 OFFSET $1";
        cut = query_row(sql, statement, &[(too_many - 1).into()])?.map_or(Ok(0), |row| row.number(0))?;
    }
    let alive = Value::from(now.minus_millis(window.window_millis));
    let past = "SELECT ordinal, served_at < $1 FROM served ORDER BY ordinal LIMIT $2";
    // Most calls find nothing to do at the very first row; a batch of rows is read only if they do.
    for rows in [1, 1_024, EVICTED_AT_ONCE] {
        let oldest = sql.query(past, &[alive, rows.into()])?;
        let passed = oldest.iter().map(|row| Ok((row.number(0)?, row.integer(1)? != 0)));
        let passed: Vec<(u64, bool)> = passed.collect::<Result<_, StateError>>()?;
        let outlived = passed.iter().take_while(|(_, past)| *past).count();
        if let Some(last) = outlived.checked_sub(1) {
            cut = cut.max(passed[last].0);
        }
        if (outlived as u64) < rows {
            break;
        }
    }
    if cut == 0 {
        return Ok(());
    }
    let evicted = sql.execute("DELETE FROM served WHERE ordinal <= $1", &[cut.into()])?;
    sql.execute("DELETE FROM outcomes WHERE served <= $1", &[cut.into()])?;
    add(sql, "served_evicted", evicted)
}
