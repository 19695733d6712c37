//! A whole transaction: compared, then written.

use crate::error::StateError;
use crate::sql::Sql;
use crate::tables::{cursors, journal, leases, machines, resources};
use crate::transaction::{CheckedTransaction, CommitOutcome, Committed, Expectation};
use crate::versions::Sequence;

/// Repetition is looked for before the lease: whoever asks what became of a commit may have lost the lease since.
pub(crate) fn commit(sql: &mut dyn Sql, transaction: CheckedTransaction) -> Result<CommitOutcome, StateError> {
    if let Some(sequences) = recorded_before(sql, &transaction)? {
        return Ok(CommitOutcome::AlreadyCommitted { sequences });
    }
    if let Some(grant) = &transaction.lease {
        leases::check(sql, grant)?;
    }
    for expectation in &transaction.expectations {
        match expectation {
            Expectation::Collection(name, revision) => resources::expect(sql, name, *revision)?,
            Expectation::Machine(kind, name, version) => {
                machines::expect(sql, kind, name, *version)?;
            }
        }
    }
    let now = transaction.now;
    for advance in &transaction.cursors {
        cursors::advance(sql, advance, now)?;
    }
    let mut committed = Committed::default();
    for machine in &transaction.machines {
        committed.machine_versions.push(machines::write(sql, machine, now)?);
    }
    for write in transaction.resources {
        committed.revisions.push(resources::write(sql, write, now)?);
    }
    committed.sequences = journal::record(sql, &transaction.events, now)?;
    Ok(CommitOutcome::Committed(committed))
}

/// Places of the transaction's events if all of them are recorded; `None` if none is.
fn recorded_before(sql: &mut dyn Sql, transaction: &CheckedTransaction) -> Result<Option<Vec<Sequence>>, StateError> {
    let mut sequences = Vec::new();
    for event in &transaction.events {
        sequences.extend(journal::find(sql, event)?);
    }
    let (recorded, given) = (sequences.len(), transaction.events.len());
    if recorded == 0 {
        return Ok(None);
    }
    if recorded < given {
        return Err(StateError::PartlyRecorded { recorded, given });
    }
    Ok(Some(sequences))
}
