//! What goes to a runtime, and what it says of itself.

use std::collections::BTreeMap;

use hanok_routing::TrafficTable;
use hanok_shadow::ComparisonRules;
use serde::{Deserialize, Serialize};

/// Rules by the names that shadows of a table refer to.
pub type Comparisons = BTreeMap<String, ComparisonRules>;

/// A table to put in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableOrder {
    /// Version that must be in force.
    pub expected: u64,
    /// The table.
    pub table: TrafficTable,
    /// Every comparison that a shadow of the table names.
    #[serde(default)]
    pub comparisons: Comparisons,
}

/// The table that a runtime goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableInForce {
    /// Names this run of the runtime's process: another number after every start. Not 0.
    pub epoch: u64,
    /// The table; version 0 and empty before the first.
    pub table: TrafficTable,
}

/// What a runtime knows of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFacts {
    /// Name.
    pub name: String,
    /// Versions that it has, ready or not, ascending.
    pub versions: Vec<VersionFacts>,
}

/// One version of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFacts {
    /// Number.
    pub version: u64,
    /// Whether it serves.
    pub ready: bool,
    /// Bytes of memory that it takes once loaded: measured where it is, the size of its files otherwise. None: unknown.
    pub memory_bytes: Option<u64>,
}
