//! Reading everything back from the store: at the start, and whenever memory may be ahead of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hanok_state::{MachineVersion, PAGE_RECORDS, Revision, Sequence, StateStore, Stream};

use super::error::ControlError;
use super::judge::{JUDGES, Judge};
use super::link::Link;
use super::state::{Controller, DECLARED, DeclaredState, PAIRS_CURSOR, TRAFFIC};
use crate::declared::{DeclaredSet, parse_resource};
use crate::metrics::MetricsBoard;
use crate::plan::StoredTable;
use crate::port::RuntimePort;
use crate::settings::ControlSettings;
use crate::start::StartError;

impl Controller {
    /// The controller over what `store` holds.
    pub(crate) async fn load(
        settings: ControlSettings,
        runtimes: Vec<Arc<dyn RuntimePort>>,
        store: StateStore,
        board: Arc<MetricsBoard>,
    ) -> Result<Self, StartError> {
        let mut controller = Self {
            settings,
            store,
            board,
            links: runtimes.into_iter().map(Link::new).collect(),
            declared: DeclaredState::default(),
            traffic: Arc::default(),
            traffic_revision: Revision::NONE,
            good: None,
            good_version: MachineVersion::NONE,
            settled: true,
            judges: BTreeMap::new(),
            remembered: VecDeque::new(),
            pairs_read: 0,
            pairs_cursor: 0,
            lease: None,
            other_leader: None,
            needs_reload: false,
            checkpointed_at: 0,
            kept_house_at: 0,
            served_unflushed: false,
            served_refused: 0,
            last_failure: None,
        };
        controller.reload().await.map_err(|error| match error {
            ControlError::Store(error) => StartError::Store(error),
            ControlError::Stored { what, name, reason } => StartError::Stored { what, name, reason },
            other => StartError::Stored { what: "state", name: String::new(), reason: other.to_string() },
        })?;
        Ok(controller)
    }

    /// Takes everything from the store anew. Records that are not acknowledged are read again.
    pub(super) async fn reload(&mut self) -> Result<(), ControlError> {
        let declared = self.store.resources(DECLARED, None).await?;
        let traffic = self.store.resources(TRAFFIC, None).await?;
        let good = self.store.machine("traffic", "good").await?;
        let mut judges = BTreeMap::new();
        for (_, kind) in JUDGES {
            let mut after = String::new();
            loop {
                let page = self.store.machines(kind, &after, PAGE_RECORDS).await?;
                let full = page.len() == PAGE_RECORDS;
                for machine in page {
                    after.clone_from(&machine.name);
                    let name = machine.name.clone();
                    let judge =
                        Judge::load(machine).map_err(|reason| ControlError::Stored { what: kind, name, reason })?;
                    judges.insert(judge.key(), judge);
                }
                if !full {
                    break;
                }
            }
        }
        let cursor = self.store.register_cursor(Stream::Pairs, PAIRS_CURSOR, Sequence::NONE, self.timestamp()).await?;
        self.declared = declared_state(declared)?;
        self.traffic_revision = traffic.revision;
        let table = match traffic.resources.into_iter().next() {
            Some(resource) => read_table(resource.document)?,
            None => StoredTable::default(),
        };
        (self.good, self.good_version) = match good {
            Some(machine) => (Some(Arc::new(read_table(machine.state)?)), machine.version),
            None => (None, MachineVersion::NONE),
        };
        self.judges = judges;
        self.pairs_cursor = cursor.position.0;
        self.pairs_read = cursor.position.0;
        if self.traffic.table.version != table.table.version || self.remembered.is_empty() {
            self.adopt_table(table);
        } else {
            self.settled = !self.rollout_under_way();
        }
        self.links.iter_mut().for_each(Link::rewind);
        self.needs_reload = false;
        Ok(())
    }
}

fn read_table(document: serde_json::Value) -> Result<StoredTable, ControlError> {
    serde_json::from_value(document).map_err(|error| ControlError::Stored {
        what: "traffic table",
        name: "current".to_owned(),
        reason: error.to_string(),
    })
}

fn declared_state(stored: hanok_state::ResourceSet) -> Result<DeclaredState, ControlError> {
    let (set, changed_in) = read_set(stored.resources)?;
    Ok(DeclaredState { set, revision: stored.revision, changed_in })
}

/// The declared set of stored documents, with the revision that last changed each.
pub(super) fn read_set(
    resources: Vec<hanok_state::Resource>,
) -> Result<(DeclaredSet, BTreeMap<super::judge::JudgeKey, u64>), ControlError> {
    let mut changed_in = BTreeMap::new();
    let mut declared = Vec::with_capacity(resources.len());
    for resource in resources {
        let (kind, name) = (resource.kind.clone(), resource.name.clone());
        let parsed = parse_resource(resource.document, None).map_err(|problems| ControlError::Stored {
            what: "resource",
            name: format!("{kind}/{name}"),
            reason: problems.first().map_or_else(String::new, ToString::to_string),
        })?;
        changed_in.insert((parsed.spec.kind(), name), resource.changed_in.0);
        declared.push(parsed);
    }
    Ok((DeclaredSet::new(declared), changed_in))
}

/// The declared set at a revision.
pub(super) async fn set_at(store: &StateStore, revision: Revision) -> Result<DeclaredSet, ControlError> {
    let stored = store.resources(DECLARED, Some(revision)).await?;
    Ok(read_set(stored.resources)?.0)
}
