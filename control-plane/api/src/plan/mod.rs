//! What an apply would change: a value to look at before anything happens. Pure.
//!
//! Invariant: planning what is in force already is an empty plan.

mod difference;
mod memory;
mod table;

use hanok_state::Revision;
use serde::Serialize;
use serde_json::Value;

use crate::declared::{Declared, DeclaredSet, ResourceKind};
use crate::port::ModelFacts;

pub use difference::{Difference, differences};
pub(crate) use memory::estimate;
pub use memory::{ArmMemory, MemoryEstimate};
pub(crate) use table::{StoredTable, WeightOverlays, derive, pair_weights};

/// What an apply would change, or did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Revision of the declared resources that this is based on.
    pub base_revision: u64,
    /// Resources that change, by kind and name.
    pub changes: Vec<ResourceChange>,
    /// What changes in the traffic table, weights of controllers included.
    pub traffic: Vec<Difference>,
    /// What the arms of the new table need, where a runtime could be asked.
    pub memory: MemoryEstimate,
    /// What a person should know; nothing here keeps the plan from being applied.
    pub warnings: Vec<String>,
}

/// One resource that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceChange {
    /// What it is.
    pub kind: ResourceKind,
    /// Which one.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// Field by field, defaults written out.
    pub differences: Vec<Difference>,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Created,
    /// It is there with other content.
    Changed,
    /// It goes.
    Removed,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.traffic.is_empty()
    }

    /// The plan from `current` at `base` to `next`, and from one table's entries to the other's.
    pub(crate) fn new(
        base: Revision,
        (current, next): (&DeclaredSet, &DeclaredSet),
        (before, after): (&StoredTable, &StoredTable),
        facts: &[(String, Vec<ModelFacts>)],
    ) -> Self {
        let (memory, warnings) = memory::estimate(after, facts);
        Self {
            base_revision: base.0,
            changes: resource_changes(current, next),
            traffic: differences(&before.shown(), &after.shown()),
            memory,
            warnings,
        }
    }
}

/// What differs between two sets, by kind and name.
pub(crate) fn resource_changes(current: &DeclaredSet, next: &DeclaredSet) -> Vec<ResourceChange> {
    let document = |set: &DeclaredSet, kind, name: &str| {
        let spec = set.get(kind, name)?.clone();
        Some(Declared { name: name.to_owned(), spec }.document())
    };
    let keys: std::collections::BTreeSet<_> = current.resources.keys().chain(next.resources.keys()).collect();
    let mut changes = Vec::new();
    for (kind, name) in keys {
        let (before, after) = (document(current, *kind, name), document(next, *kind, name));
        let action = match (&before, &after) {
            (None, _) => Action::Created,
            (_, None) => Action::Removed,
            (before, after) if before == after => continue,
            _ => Action::Changed,
        };
        let differences = differences(&before.unwrap_or(Value::Null), &after.unwrap_or(Value::Null));
        changes.push(ResourceChange { kind: *kind, name: name.clone(), action, differences });
    }
    changes
}
