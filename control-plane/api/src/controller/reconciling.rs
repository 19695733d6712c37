//! The place of declarations and what is in force, side by side; and notes about it in the journal.

use std::sync::Arc;

use hanok_state::{CloudEvent, MachineVersion};

use super::error::ControlError;
use super::state::Controller;
use crate::declared::{Declared, DeclaredSet};
use crate::plan::{ResourceChange, StoredTable, resource_changes};
use crate::reconcile::DeclaredRecord;

/// Kind and name under which the record of the place is kept.
pub(super) const RECORD: (&str, &str) = ("declared-source", "current");

/// What is declared beside what is in force.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) revision: u64,
    /// What putting the declaration in force would change.
    pub(crate) changes: Vec<ResourceChange>,
    /// `KIND/NAME` of what is in force and was never declared by the place.
    pub(crate) foreign: Vec<String>,
    pub(crate) record: Option<DeclaredRecord>,
    pub(crate) table: Arc<StoredTable>,
    /// Who acts, when it is not this replica.
    pub(crate) other_leader: Option<String>,
}

impl Controller {
    /// Compares; asks no runtime.
    pub(super) async fn compare(&mut self, resources: Vec<Declared>) -> Result<Compared, ControlError> {
        if self.needs_reload {
            self.reload().await?;
        }
        let record = self.declared_record().await?.map(|(record, _)| record);
        let owned = record.as_ref().map(|record| record.owned.clone()).unwrap_or_default();
        let given = DeclaredSet::new(resources);
        let current = &self.declared.set;
        Ok(Compared {
            revision: self.declared.revision.0,
            changes: resource_changes(current, &current.reconciled(&given, &owned)),
            foreign: current.foreign(&given, &owned),
            record,
            table: Arc::clone(&self.traffic),
            other_leader: self.other_leader.clone(),
        })
    }

    /// What was last taken from the place of declarations.
    pub(super) async fn declared_record(&self) -> Result<Option<(DeclaredRecord, MachineVersion)>, ControlError> {
        let (kind, name) = RECORD;
        let Some(machine) = self.store.machine(kind, name).await? else { return Ok(None) };
        let record = serde_json::from_value(machine.state).map_err(|error| ControlError::Stored {
            what: kind,
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Some((record, machine.version)))
    }

    /// Puts a record into the journal; one that is there already is there once.
    pub(super) async fn note(&mut self, event: CloudEvent) -> Result<(), ControlError> {
        self.ready_to_change().await?;
        let now = self.timestamp();
        self.store.append(vec![CloudEvent { time: now, ..event }], self.lease.clone(), now).await?;
        Ok(())
    }

    /// Tells who changes by hand what is declared elsewhere.
    pub(super) async fn declared_elsewhere(&self, changes: &[ResourceChange]) -> Result<Vec<String>, ControlError> {
        let Some(declared) = &self.settings.declared else { return Ok(Vec::new()) };
        let Some((record, _)) = self.declared_record().await? else { return Ok(Vec::new()) };
        let theirs = changes.iter().filter(|change| record.owned.contains(&(change.kind, change.name.clone())));
        let then = if declared.correct_drift { "it is set back at the next look" } else { "it differs until then" };
        Ok(theirs
            .map(|change| {
                format!(
                    "`{}/{}` is declared in `{}`: change it there; {then}",
                    change.kind, change.name, declared.place
                )
            })
            .collect())
    }
}
