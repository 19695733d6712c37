//! Everything the controller remembers, and the small questions that its other parts ask of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hanok_state::{LeaseGrant, MachineVersion, Revision, StateStore, Timestamp};

use super::judge::{Judge, JudgeKey, StoredBody};
use super::link::Link;
use crate::declared::{DeclaredSet, ResourceKind};
use crate::metrics::MetricsBoard;
use crate::plan::{StoredTable, WeightOverlays, pair_weights};
use crate::settings::ControlSettings;

/// Collection of declared resources.
pub(super) const DECLARED: &str = "declared";
/// Collection of the one traffic table.
pub(super) const TRAFFIC: &str = "traffic";
/// Reader of the joined pairs.
pub(super) const PAIRS_CURSOR: &str = "control-plane";
/// Tables whose weights are remembered, for records of requests that they assigned.
const REMEMBERED_TABLES: usize = 64;

/// Arms and their weights in basis points.
pub(super) type ArmWeights = Vec<(String, u16)>;
/// Weights of models, by table version and public name.
pub(super) type KnownWeights = BTreeMap<u64, BTreeMap<String, ArmWeights>>;

/// The declared resources as they are stored.
#[derive(Clone, Debug, Default)]
pub(super) struct DeclaredState {
    pub(super) set: DeclaredSet,
    pub(super) revision: Revision,
    /// Revision that last changed each resource.
    pub(super) changed_in: BTreeMap<JudgeKey, u64>,
}

/// The controller.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(super) settings: ControlSettings,
    pub(super) store: StateStore,
    pub(super) board: Arc<MetricsBoard>,
    pub(super) links: Vec<Link>,
    pub(super) declared: DeclaredState,
    pub(super) traffic: Arc<StoredTable>,
    pub(super) traffic_revision: Revision,
    /// The last table in which no rollout was under way, before the one in force.
    pub(super) good: Option<Arc<StoredTable>>,
    pub(super) good_version: MachineVersion,
    /// Whether no rollout was under way when the table came in force.
    pub(super) settled: bool,
    pub(super) judges: BTreeMap<JudgeKey, Judge>,
    pub(super) remembered: VecDeque<Arc<StoredTable>>,
    /// Pairs up to here were read, and up to here the cursor is on the disk.
    pub(super) pairs_read: u64,
    pub(super) pairs_cursor: u64,
    pub(super) lease: Option<LeaseGrant>,
    /// Who acts instead, when another replica does.
    pub(super) other_leader: Option<String>,
    /// Memory may differ from the store.
    pub(super) needs_reload: bool,
    pub(super) checkpointed_at: u64,
    pub(super) kept_house_at: u64,
    /// Served requests were handed over since the last flush.
    pub(super) served_unflushed: bool,
    pub(super) served_refused: u64,
    pub(super) last_failure: Option<String>,
}

impl Controller {
    pub(super) fn now(&self) -> u64 {
        self.settings.clock.now_millis()
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp::default().plus_millis(self.now())
    }

    /// Version of the next table: above the store's and above what any runtime has.
    pub(super) fn next_table_version(&self) -> u64 {
        let seen = self.links.iter().filter_map(|link| link.in_force).max().unwrap_or_default();
        seen.max(self.traffic.table.version).saturating_add(1)
    }

    /// Whether any rollout moves traffic now.
    pub(super) fn rollout_under_way(&self) -> bool {
        self.judges.values().any(|judge| judge.kind() == ResourceKind::Rollout && judge.is_watching())
    }

    /// Takes a table over that is durable.
    pub(super) fn adopt_table(&mut self, table: StoredTable) {
        let table = Arc::new(table);
        self.remembered.push_back(Arc::clone(&table));
        if self.remembered.len() > REMEMBERED_TABLES {
            self.remembered.pop_front();
        }
        self.traffic = table;
        self.settled = !self.rollout_under_way();
    }

    /// Arms and weights of a model in a remembered table.
    pub(super) fn weights_at(&self, version: u64, model: &str) -> Option<ArmWeights> {
        let table = self.remembered.iter().rev().find(|table| table.table.version == version)?;
        let entry = table.table.models.get(model)?;
        Some(entry.arms.iter().map(|arm| (arm.name.clone(), arm.weight_basis_points)).collect())
    }
}

/// The weights that judges decided, over what is declared: the newest run of each traffic counts. A rollout that is over
/// keeps its weights until the traffic is declared anew.
pub(super) fn overlays(judges: &BTreeMap<JudgeKey, Judge>, changed_in: &BTreeMap<JudgeKey, u64>) -> WeightOverlays {
    let mut chosen: BTreeMap<&str, (u64, ArmWeights)> = BTreeMap::new();
    for judge in judges.values() {
        let stored = &judge.stored;
        let weights = match &stored.body {
            StoredBody::Rollout { spec, state, .. } if stored.started_at.is_some() => {
                pair_weights(&spec.baseline, &spec.candidate, state.candidate_share().get())
            }
            StoredBody::Bandit { plan, state, updates, stopped: false, .. } if *updates > 0 => {
                let weights = state.weights().iter().map(|weight| weight.get());
                plan.arms.iter().cloned().zip(weights).collect()
            }
            _ => continue,
        };
        let declared = changed_in.get(&(ResourceKind::Traffic, stored.traffic.clone())).copied().unwrap_or_default();
        if stored.ended_in.is_some_and(|ended| declared > ended) {
            continue;
        }
        let newest = chosen.get(stored.traffic.as_str()).is_none_or(|(revision, _)| stored.revision > *revision);
        if newest {
            chosen.insert(&stored.traffic, (stored.revision, weights));
        }
    }
    chosen.into_iter().map(|(traffic, (_, weights))| (traffic.to_owned(), weights)).collect()
}
