//! The traffic table that follows from what is declared and from what controllers decided. Pure.

use std::collections::BTreeMap;

use hanok_routing::{ModelTraffic, TrafficTable};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::declared::DeclaredSet;
use crate::port::Comparisons;

/// A table as it is stored: what every runtime is to go by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredTable {
    /// The table; version 0 before the first.
    pub(crate) table: TrafficTable,
    /// What its shadows name.
    pub(crate) comparisons: Comparisons,
    /// Put in force by the kill switch: nothing changes it but an apply or a rollback of the declared resources.
    pub(crate) held: bool,
}

impl StoredTable {
    /// Whether requests are treated alike, whatever the version.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.table.models == other.table.models && self.comparisons == other.comparisons && self.held == other.held
    }

    /// What a person sees of it: no version, and no buckets, which follow from the weights.
    pub(crate) fn shown(&self) -> Value {
        let mut models = self.table.models.clone();
        models.values_mut().for_each(|model| model.allocation.clear());
        json!({ "models": models, "comparisons": self.comparisons })
    }
}

/// Weights that controllers decided, by name of the `Traffic`: arm and basis points. Arms that are not named get none.
pub(crate) type WeightOverlays = BTreeMap<String, Vec<(String, u16)>>;

/// Weights that give the candidate `share` and the baseline the rest.
pub(crate) fn pair_weights(baseline: &str, candidate: &str, share: u16) -> Vec<(String, u16)> {
    vec![(baseline.to_owned(), 10_000_u16.saturating_sub(share)), (candidate.to_owned(), share)]
}

/// The table of version `version` that follows on `previous`, moving no more sticky keys than the weights force it to.
pub(crate) fn derive(
    set: &DeclaredSet,
    overlays: &WeightOverlays,
    previous: &StoredTable,
    version: u64,
) -> StoredTable {
    let mut table = TrafficTable { version, models: BTreeMap::new() };
    let mut comparisons = Comparisons::new();
    for (name, traffic) in set.traffics() {
        let (mut entry, own) = traffic.entry(name, set.is_watched(name));
        comparisons.extend(own);
        if let Some(weights) = overlays.get(name) {
            overlay(&mut entry, weights);
        }
        table.models.insert(traffic.public_model(name).to_owned(), entry);
    }
    for (name, rules) in set.comparisons() {
        let used = |entry: &ModelTraffic| entry.shadow.iter().any(|shadow| shadow.compare == name);
        if table.models.values().any(used) {
            comparisons.insert(name.to_owned(), rules.clone());
        }
    }
    table.carry_allocations_from(&previous.table);
    StoredTable { table, comparisons, held: false }
}

/// Weights that do not name arms of the entry, or do not sum to the whole, are of an older declaration: left out.
fn overlay(entry: &mut ModelTraffic, weights: &[(String, u16)]) {
    let known = |arm: &String| entry.arms.iter().any(|declared| declared.name == *arm);
    let sum: u32 = weights.iter().map(|(_, weight)| u32::from(*weight)).sum();
    if sum != 10_000 || !weights.iter().all(|(arm, _)| known(arm)) {
        return;
    }
    for arm in &mut entry.arms {
        let weight = weights.iter().find(|(name, _)| *name == arm.name);
        arm.weight_basis_points = weight.map_or(0, |(_, weight)| *weight);
    }
}
