//! The place of declarations and what is in force, side by side; and notes about it in the journal.

use std::sync::Arc;

use hanok_state::{CloudEvent, MachineVersion, Revision};

use super::error::ControlError;
use super::load::set_at;
use super::state::Controller;
use crate::declared::{Declared, DeclaredSet, ResourceKind};
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
    /// What was last taken from this place; what was taken from another is not its own.
    pub(crate) record: Option<DeclaredRecord>,
    pub(crate) table: Arc<StoredTable>,
    /// Who acts, when it is not this replica.
    pub(crate) other_leader: Option<String>,
}

impl Controller {
    /// Compares what `place` declares; asks no runtime.
    pub(super) async fn compare(&mut self, place: &str, resources: Vec<Declared>) -> Result<Compared, ControlError> {
        if self.needs_reload {
            self.reload().await?;
        }
        let (record, _) = self.declared_record(place).await?;
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

    /// What was last taken from `place`, if that is where declarations were last taken from, and the version of the record:
    /// another place owns nothing here, so that a mistyped `--declared` removes nothing.
    pub(super) async fn declared_record(
        &self,
        place: &str,
    ) -> Result<(Option<DeclaredRecord>, MachineVersion), ControlError> {
        let (kind, name) = RECORD;
        let Some(machine) = self.store.machine(kind, name).await? else { return Ok((None, MachineVersion::NONE)) };
        let record: DeclaredRecord = serde_json::from_value(machine.state).map_err(|error| ControlError::Stored {
            what: kind,
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        Ok((Some(record).filter(|record| record.origin.place == place), machine.version))
    }

    /// What `place` declared when something was last taken from it.
    pub(super) async fn taken(&self, place: &str) -> Result<Option<Vec<Declared>>, ControlError> {
        let (Some(record), _) = self.declared_record(place).await? else { return Ok(None) };
        if record.owned.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let set = set_at(&self.store, Revision(record.revision)).await?;
        let own = set.resources.into_iter().filter(|(key, _)| record.owned.contains(key));
        Ok(Some(own.map(|((_, name), spec)| Declared { name, spec }).collect()))
    }

    /// Puts a record into the journal; one that is there already is there once.
    pub(super) async fn note(&mut self, event: CloudEvent) -> Result<(), ControlError> {
        self.ready_to_change().await?;
        let now = self.timestamp();
        self.store.append(vec![CloudEvent { time: now, ..event }], self.lease.clone(), now).await?;
        Ok(())
    }

    /// The place of declarations that a resource is kept in, if it is.
    pub(super) async fn kept_in(&self, kind: ResourceKind, name: String) -> Result<Option<String>, ControlError> {
        let Some(declared) = &self.settings.declared else { return Ok(None) };
        let place = declared.place.to_string();
        let (record, _) = self.declared_record(&place).await?;
        Ok(record.filter(|record| record.owned.contains(&(kind, name))).map(|_| place))
    }

    /// Tells who changes by hand what is declared elsewhere.
    pub(super) async fn declared_elsewhere(&self, changes: &[ResourceChange]) -> Result<Vec<String>, ControlError> {
        let Some(declared) = &self.settings.declared else { return Ok(Vec::new()) };
        let place = declared.place.to_string();
        let (Some(record), _) = self.declared_record(&place).await? else { return Ok(Vec::new()) };
        let theirs = changes.iter().filter(|change| record.owned.contains(&(change.kind, change.name.clone())));
        let back = "it is set back as soon as a look finds a valid declaration there";
        let then = if declared.correct_drift { back } else { "it differs until then" };
        Ok(theirs
            .map(|change| {
                format!("`{}/{}` is declared in `{place}`: change it there; {then}", change.kind, change.name)
            })
            .collect())
    }
}
