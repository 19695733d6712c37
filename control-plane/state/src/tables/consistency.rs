//! What must always hold between the tables; a violation is damage, not a state.

use crate::error::StateError;
use crate::sql::{Sql, query_row};
use crate::stream::Stream;
use crate::tables::outcomes::count;
use crate::tables::streams::Ends;

/// Pairs of counts that are equal, with what it means if they are not. Each query answers the number of offenders.
const OFFENDERS: [(&str, &str); 4] = [
    (
        "collections that are not at their newest revision",
        "SELECT COUNT(*) FROM collections c WHERE c.revision <>
            (SELECT COUNT(*) FROM revisions r WHERE r.collection = c.name AND r.revision <= c.revision)",
    ),
    (
        "resources newer than their collection",
        "SELECT COUNT(*) FROM resources r JOIN collections c ON r.collection = c.name WHERE r.revision > c.revision",
    ),
    (
        "outcomes joined to requests that are gone",
        "SELECT COUNT(*) FROM outcomes o WHERE o.served IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM served s WHERE s.ordinal = o.served)",
    ),
    (
        "cursors past their stream",
        "SELECT COUNT(*) FROM cursors c JOIN streams s ON c.stream = s.name WHERE c.position > s.last",
    ),
];

/// Compares the tables with each other.
pub(crate) fn check(sql: &mut dyn Sql) -> Result<(), StateError> {
    for stream in [Stream::Journal, Stream::Pairs] {
        let ends = Ends::load(sql, stream)?;
        let table = stream.table();
        let kept = rows(
            sql,
            &format!("SELECT COUNT(*) FROM {table} WHERE sequence > {} AND sequence <= {}", ends.trimmed, ends.last),
        )?;
        let all = rows(sql, &format!("SELECT COUNT(*) FROM {table}"))?;
        if kept != all || kept != ends.last.0 - ends.trimmed.0 {
            let detail = format!("{table}: {all} records, {kept} of them between {} and {}", ends.trimmed, ends.last);
            return Err(StateError::corrupt(detail));
        }
    }
    for (what, query) in OFFENDERS {
        let offenders = rows(sql, query)?;
        if offenders > 0 {
            return Err(StateError::corrupt(format!("{offenders} {what}")));
        }
    }
    let waiting = rows(sql, "SELECT COUNT(*) FROM outcomes WHERE served IS NULL")?;
    let present = rows(sql, "SELECT COUNT(*) FROM served")?;
    let counted = (count(sql, "waiting")?, count(sql, "served")?.checked_sub(count(sql, "served_evicted")?));
    if counted != (waiting, Some(present)) {
        return Err(StateError::corrupt(format!("counted {counted:?}, found {waiting} waiting and {present} served")));
    }
    Ok(())
}

fn rows(sql: &mut dyn Sql, query: &str) -> Result<u64, StateError> {
    query_row(sql, query, &[])?.ok_or_else(|| StateError::corrupt("a count without an answer"))?.number(0)
}
