//! Leases: who may act, by which token.

use crate::error::StateError;
use crate::lease::{LeaseAnswer, LeaseGrant};
use crate::sql::{Sql, query_row};
use crate::timestamp::Timestamp;
use crate::versions::FencingToken;

/// Grants the lease unless somebody else holds it. Every grant has a new token, also one to the present holder: its
/// earlier incarnation may still be at work.
pub(crate) fn acquire(
    sql: &mut dyn Sql,
    name: &str,
    holder: &str,
    term_millis: u64,
    now: Timestamp,
) -> Result<LeaseAnswer, StateError> {
    let clock = sql.lease_clock(now)?;
    let statement = "SELECT holder, token, expires_at FROM leases WHERE name = $1";
    let mut last = FencingToken::NONE;
    if let Some(mut row) = query_row(sql, statement, &[name.into()])? {
        let (present, expires_at) = (row.text(0)?, row.time(2)?);
        if present != holder && clock < expires_at {
            return Ok(LeaseAnswer::Held { holder: present, expires_at });
        }
        last = FencingToken(row.number(1)?);
    }
    let grant = LeaseGrant {
        name: name.to_owned(),
        token: FencingToken(last.0 + 1),
        expires_at: clock.plus_millis(term_millis),
    };
    let statement = "INSERT INTO leases VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, expires_at = excluded.expires_at";
    sql.execute(statement, &[name.into(), holder.into(), grant.token.into(), grant.expires_at.into()])?;
    Ok(LeaseAnswer::Granted(grant))
}

/// Refuses whoever is not the newest holder.
pub(crate) fn check(sql: &mut dyn Sql, grant: &LeaseGrant) -> Result<(), StateError> {
    let row = query_row(sql, "SELECT token FROM leases WHERE name = $1", &[(&grant.name).into()])?
        .ok_or_else(|| StateError::NotFound { what: "lease", name: grant.name.clone() })?;
    let current = row.number(0)?;
    if current != grant.token.0 {
        return Err(StateError::Fenced { lease: grant.name.clone(), token: grant.token.0, current });
    }
    Ok(())
}

/// Moves the end of a grant that is the newest.
pub(crate) fn renew(
    sql: &mut dyn Sql,
    grant: LeaseGrant,
    term_millis: u64,
    now: Timestamp,
) -> Result<LeaseGrant, StateError> {
    check(sql, &grant)?;
    let expires_at = sql.lease_clock(now)?.plus_millis(term_millis);
    sql.execute("UPDATE leases SET expires_at = $1 WHERE name = $2", &[expires_at.into(), (&grant.name).into()])?;
    Ok(LeaseGrant { expires_at, ..grant })
}

/// Lets others take over at once. The token is used up: whoever released acts no more under it.
pub(crate) fn release(sql: &mut dyn Sql, grant: &LeaseGrant) -> Result<(), StateError> {
    check(sql, grant)?;
    sql.execute("UPDATE leases SET expires_at = 0, token = token + 1 WHERE name = $1", &[(&grant.name).into()])?;
    Ok(())
}
