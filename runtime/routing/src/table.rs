//! The traffic table as declared and stored: plain data that somebody wrote. Validation and compilation are elsewhere.
//!
//! Shares are basis points: whole numbers of 0.01 %, 10,000 for everything. Unknown fields are refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::VersionName;
use crate::allocation::BucketRun;
use crate::arm_health::OutlierPolicy;

/// How requests for public model names are spread over models and versions. Replaced whole; a higher version replaces a
/// lower one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficTable {
    /// Revision, above 0; 0 is the empty table that a process starts with.
    pub version: u64,
    /// What each public model name does. Names that are not here are served as if there were no table.
    #[serde(default)]
    pub models: BTreeMap<String, ModelTraffic>,
}

/// What one public model name does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTraffic {
    /// Who may serve: 1 to 64 arms, the first being the baseline. Their weights sum to 10,000.
    pub arms: Vec<ArmDeclaration>,
    /// What makes a request come back to the same arm.
    #[serde(default)]
    pub sticky: Sticky,
    /// Experiment id that salts the sticky hash; the public model name where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Tried in order before weights; the first that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDeclaration>,
    /// Names for version numbers of this model, usable wherever a version is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, u64>,
    /// Candidates that get copies of requests; at most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<ShadowDeclaration>,
    /// When to take an arm that plainly fails out of the split; never, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_ejection: Option<OutlierPolicy>,
    /// Whether answers say which arm and version served.
    #[serde(default)]
    pub tell: bool,
    /// What tells the segment of a request, by which experiments divide their units; none, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<RuleSubject>,
    /// Nobody reads what becomes of the requests: no observation is made of them. Counts by arm are kept all the same.
    /// Without effect where there is `outlier_ejection`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unobserved: bool,
    /// Which buckets each arm holds, as runs from bucket 0 up; the canonical allocation where empty. Written by
    /// [`TrafficTable::carry_allocations_from`], not by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocation: Vec<BucketRun>,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmDeclaration {
    /// Name, unique within the model.
    pub name: String,
    /// Model or ensemble that serves; the public model where absent. It is not routed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version that serves.
    #[serde(default)]
    pub version: VersionName,
    /// Share of requests, in basis points; 0 for an arm that only rules reach.
    pub weight_basis_points: u16,
}

/// What the sticky key of a request is. Without it the sequence id is the key, and without that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sticky {
    /// No key: each request is assigned by its own number.
    #[default]
    None,
    /// The value of this header.
    Header(String),
    /// The value of this request parameter.
    Parameter(String),
    /// The first element of this input, a `BYTES` or integer tensor.
    Tensor(String),
    /// The sequence id.
    Sequence,
}

/// Sends matching requests to an arm, whatever the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDeclaration {
    /// What is looked at. Absent in the request: no match.
    pub when: RuleSubject,
    /// What it must be like.
    pub matches: RulePattern,
    /// Name of the arm.
    pub arm: String,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleSubject {
    /// The value of this header; the name's case does not matter.
    Header(String),
    /// The value of this request parameter; numbers are their decimal text, booleans `true` and `false`.
    Parameter(String),
    /// Who was authenticated.
    Identity,
}

/// What a value must be like. Case matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RulePattern {
    /// Equal to this.
    Exact(String),
    /// Starting with this.
    Prefix(String),
    /// Holding a match of this regular expression (syntax of the `regex` crate, over bytes, without Unicode classes);
    /// anchor it with `^` and `$` to match the whole.
    Regex(String),
}

/// A candidate that gets copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowDeclaration {
    /// Who gets them.
    pub target: ShadowTargetDeclaration,
    /// Share of the requests that another arm serves, in basis points.
    pub share_basis_points: u16,
    /// Name of the comparison that judges the outputs.
    pub compare: String,
}

/// Who gets copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ShadowTargetDeclaration {
    /// An arm of the same model.
    Arm(String),
    /// A version of a model that need not be an arm.
    Version {
        /// Model; the public one where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// Version.
        #[serde(default)]
        version: VersionName,
    },
}
