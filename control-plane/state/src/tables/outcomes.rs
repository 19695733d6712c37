//! Outcomes: joined to their requests at once, held for requests to come, or refused; and the counts of it all.

use std::collections::HashMap;

use crate::error::StateError;
use crate::outcome::{Outcome, OutcomeCounts, OutcomeReceipt, OutcomeWindow};
use crate::outcome_join::{Judgement, Known, judge};
use crate::sql::{Sql, insert_rows, query_by_keys, query_row};
use crate::stream::Stream;
use crate::tables::streams::Ends;
use crate::tables::{pairs, served};
use crate::timestamp::Timestamp;

/// Records outcomes that passed their checks; one receipt each, in order.
pub(crate) fn record(
    sql: &mut dyn Sql,
    outcomes: &[Outcome],
    window: &OutcomeWindow,
    now: Timestamp,
) -> Result<Vec<OutcomeReceipt>, StateError> {
    let keys: Vec<&str> = outcomes.iter().map(|outcome| outcome.request_id.as_str()).collect();
    let mut recorded = recorded_values(sql, &keys)?;
    let requests = served::by_id(sql, &keys)?;
    let waiting = count(sql, "waiting")?;
    let mut held = 0;
    let mut too_late = 0;
    let mut receipts = Vec::with_capacity(outcomes.len());
    let mut rows = Vec::new();
    let mut joined = Vec::new();
    for outcome in outcomes {
        let key = (outcome.request_id.clone(), outcome.metric.clone());
        let request = requests.get(&outcome.request_id);
        let known = Known {
            recorded: recorded.get(&key).copied(),
            served_at: request.map(|(_, request)| request.served_at),
            room: waiting + held < window.max_waiting,
        };
        let judgement = judge(outcome.value, known, now, window.window_millis);
        receipts.push(receipt(judgement, window));
        match (judgement, request) {
            (Judgement::Join, Some((_, request))) => joined.push((receipts.len() - 1, request, outcome)),
            (Judgement::Hold, _) => held += 1,
            (Judgement::TooLate, _) => too_late += 1,
            _ => {}
        }
        if matches!(judgement, Judgement::Join | Judgement::Hold) {
            recorded.insert(key, outcome.value);
            rows.push(vec![
                (&outcome.request_id).into(),
                (&outcome.metric).into(),
                outcome.value.into(),
                outcome.observed_at.into(),
                request.map(|(ordinal, _)| *ordinal).into(),
                now.plus_millis(window.window_millis).into(),
            ]);
        }
    }
    let target = "outcomes (request_id, metric, value, observed_at, served, expires_at)";
    insert_rows(sql, target, 6, &rows, "")?;
    let sides: Vec<_> = joined.iter().map(|(_, request, outcome)| (*request, *outcome)).collect();
    for (sequence, (index, _, _)) in pairs::record(sql, &sides, now)?.into_iter().zip(&joined) {
        receipts[*index] = OutcomeReceipt::Joined(sequence);
    }
    add(sql, "waiting", held)?;
    add(sql, "too_late", too_late)?;
    Ok(receipts)
}

fn recorded_values(sql: &mut dyn Sql, keys: &[&str]) -> Result<HashMap<(String, String), f64>, StateError> {
    query_by_keys(sql, "SELECT request_id, metric, value FROM outcomes WHERE request_id IN ", keys)?
        .iter_mut()
        .map(|row| Ok(((row.text(0)?, row.text(1)?), row.real(2)?)))
        .collect()
}

/// The receipt of a judgement; a joined one gets its place when that is known.
fn receipt(judgement: Judgement, window: &OutcomeWindow) -> OutcomeReceipt {
    match judgement {
        Judgement::Join => OutcomeReceipt::Joined(crate::versions::Sequence::NONE),
        Judgement::Hold => OutcomeReceipt::Held,
        Judgement::Duplicate => OutcomeReceipt::Duplicate,
        Judgement::Conflicting { recorded } => OutcomeReceipt::Conflicting { recorded },
        Judgement::TooLate => OutcomeReceipt::TooLate,
        Judgement::NoRoom => OutcomeReceipt::NoRoom { limit: window.max_waiting },
    }
}

/// Counts the outcomes whose requests never came, and lets the oldest served requests go.
pub(crate) fn expire(sql: &mut dyn Sql, window: &OutcomeWindow, now: Timestamp) -> Result<(), StateError> {
    let expired = sql.execute("DELETE FROM outcomes WHERE served IS NULL AND expires_at < $1", &[now.into()])?;
    add(sql, "expired", expired)?;
    served::subtract_waiting(sql, expired)?;
    served::evict(sql, window, now)
}

pub(crate) fn count(sql: &mut dyn Sql, name: &str) -> Result<u64, StateError> {
    query_row(sql, "SELECT value FROM counts WHERE name = $1", &[name.into()])?
        .ok_or_else(|| StateError::corrupt(format!("no count {name}")))?
        .number(0)
}

pub(crate) fn add(sql: &mut dyn Sql, name: &str, more: u64) -> Result<(), StateError> {
    if more > 0 {
        sql.execute("UPDATE counts SET value = value + $1 WHERE name = $2", &[more.into(), name.into()])?;
    }
    Ok(())
}

/// The durable counts.
pub(crate) fn counts(sql: &mut dyn Sql) -> Result<OutcomeCounts, StateError> {
    Ok(OutcomeCounts {
        served: count(sql, "served")?,
        served_duplicates: count(sql, "served_duplicates")?,
        served_evicted: count(sql, "served_evicted")?,
        served_refused: 0,
        served_buffered: 0,
        joined: Ends::load(sql, Stream::Pairs)?.last.0,
        waiting: count(sql, "waiting")?,
        expired: count(sql, "expired")?,
        too_late: count(sql, "too_late")?,
    })
}
