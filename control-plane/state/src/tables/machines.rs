//! Machines' states and versions.

use crate::error::StateError;
use crate::limits::{PAGE_RECORDS, decode_document};
use crate::machine::Machine;
use crate::sql::{Row, Sql, query_row};
use crate::timestamp::Timestamp;
use crate::transaction::CheckedMachineWrite;
use crate::versions::MachineVersion;

const COLUMNS: &str = "SELECT kind, name, version, updated_at, state FROM machines";

pub(crate) fn load(sql: &mut dyn Sql, kind: &str, name: &str) -> Result<Option<Machine>, StateError> {
    let statement = format!("{COLUMNS} WHERE kind = $1 AND name = $2 AND state IS NOT NULL");
    query_row(sql, &statement, &[kind.into(), name.into()])?.map(|mut row| read(&mut row)).transpose()
}

/// Machines of a kind behind a name, in the order of their names' bytes.
pub(crate) fn list(sql: &mut dyn Sql, kind: &str, after: &str, limit: usize) -> Result<Vec<Machine>, StateError> {
    let statement = format!("{COLUMNS} WHERE kind = $1 AND name > $2 AND state IS NOT NULL ORDER BY name LIMIT $3");
    let limit = limit.min(PAGE_RECORDS) as u64;
    sql.query(&statement, &[kind.into(), after.into(), limit.into()])?.iter_mut().map(read).collect()
}

/// Refuses unless the machine is at `expected`.
pub(crate) fn expect(
    sql: &mut dyn Sql,
    kind: &str,
    name: &str,
    expected: MachineVersion,
) -> Result<MachineVersion, StateError> {
    let statement = "SELECT version, state IS NOT NULL FROM machines WHERE kind = $1 AND name = $2";
    let (version, present) = match query_row(sql, statement, &[kind.into(), name.into()])? {
        Some(row) => (MachineVersion(row.number(0)?), row.integer(1)? != 0),
        None => (MachineVersion::NONE, false),
    };
    let found = if present { version } else { MachineVersion::NONE };
    if found != expected {
        return Err(StateError::Conflict {
            what: "machine",
            name: format!("{kind}/{name}"),
            expected: expected.0,
            actual: found.0,
        });
    }
    Ok(version)
}

/// Writes or removes a machine by compare-and-set.
pub(crate) fn write(
    sql: &mut dyn Sql,
    write: &CheckedMachineWrite,
    now: Timestamp,
) -> Result<MachineVersion, StateError> {
    if write.state.is_none() && write.expected == MachineVersion::NONE {
        return Err(StateError::NotFound { what: "machine", name: format!("{}/{}", write.kind, write.name) });
    }
    let last = expect(sql, &write.kind, &write.name, write.expected)?;
    let version = MachineVersion(last.0 + 1);
    let statement = "INSERT INTO machines (kind, name, version, state, updated_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (kind, name) DO UPDATE
        SET version = excluded.version, state = excluded.state, updated_at = excluded.updated_at";
    let values = [(&write.kind).into(), (&write.name).into(), version.into(), write.state.as_ref().into(), now.into()];
    sql.execute(statement, &values)?;
    Ok(version)
}

fn read(row: &mut Row) -> Result<Machine, StateError> {
    Ok(Machine {
        kind: row.text(0)?,
        name: row.text(1)?,
        version: MachineVersion(row.number(2)?),
        updated_at: row.time(3)?,
        state: decode_document(&row.text(4)?)?,
    })
}
