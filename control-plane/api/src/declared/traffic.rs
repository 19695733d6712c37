//! Declared traffic of one public model name, and the comparisons that its shadows refer to.
//!
//! Weights are where a rollout or bandit starts; while one is under way they are its own.

use std::collections::BTreeMap;

use hanok_routing::arm_health::OutlierPolicy;
use hanok_routing::{
    ArmDeclaration, ModelTraffic, RuleDeclaration, RuleSubject, ShadowDeclaration, ShadowTargetDeclaration, Sticky,
    VersionName,
};
use hanok_shadow::ComparisonRules;
use serde::{Deserialize, Serialize};

use super::Percent;

/// The traffic of one public model name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficSpec {
    /// Public model name; the resource's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who may serve, the baseline first. Weights sum to 100.
    pub arms: Vec<TrafficArm>,
    /// What makes a request come back to the same arm.
    #[serde(default)]
    pub sticky: Sticky,
    /// Salts the sticky hash; the public model name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Tried in order before weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDeclaration>,
    /// Names for version numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, u64>,
    /// Candidates that get copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<ShadowSpec>,
    /// When to take an arm that plainly fails out of the split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_ejection: Option<OutlierPolicy>,
    /// Whether answers say which arm and version served.
    #[serde(default)]
    pub tell: bool,
    /// What tells the segment of a request, by which experiments divide their units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<RuleSubject>,
    /// Whether requests are kept for the outcomes that are reported for them, also while no judge reads labels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join_outcomes: bool,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficArm {
    /// Name, unique within the model.
    pub name: String,
    /// Model or ensemble that serves; the public model where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Version: a number, `latest` or a label.
    #[serde(default)]
    pub version: VersionName,
    /// Share of requests in percent, in steps of 0.01; 0 for an arm that only rules reach.
    pub weight: Percent,
}

/// One shadow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowSpec {
    /// Who gets the copies: `arm: NAME`, or `version: {model: NAME, version: VERSION}`.
    pub target: ShadowTargetDeclaration,
    /// Share of the requests that another arm serves, in percent.
    pub share: Percent,
    /// What judges the outputs; the default rules where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<ShadowCompare>,
}

/// A comparison, by name or in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ShadowCompare {
    /// The `Comparison` resource of this name.
    Named(String),
    /// Rules of its own.
    Inline(ComparisonRules),
}

impl TrafficSpec {
    /// The public model name of the resource `name`.
    #[must_use]
    pub fn public_model<'a>(&'a self, name: &'a str) -> &'a str {
        self.model.as_deref().unwrap_or(name)
    }

    /// The entry of the traffic table, and the comparisons that only it names.
    ///
    /// It is observed when a judge watches it (`watched`), or its outcomes are joined.
    pub(crate) fn entry(&self, name: &str, watched: bool) -> (ModelTraffic, Vec<(String, ComparisonRules)>) {
        let public = self.public_model(name);
        let observed = watched || self.join_outcomes;
        let mut comparisons = Vec::new();
        let mut shadow = Vec::new();
        for (index, declared) in self.shadow.iter().enumerate() {
            let compare = match &declared.compare {
                Some(ShadowCompare::Named(named)) => named.clone(),
                Some(ShadowCompare::Inline(rules)) => own_comparison(&mut comparisons, public, index, rules.clone()),
                None => own_comparison(&mut comparisons, public, index, ComparisonRules::default()),
            };
            let share_basis_points = declared.share.basis_points();
            shadow.push(ShadowDeclaration { target: declared.target.clone(), share_basis_points, compare });
        }
        let arms = self.arms.iter().map(|arm| ArmDeclaration {
            name: arm.name.clone(),
            model: arm.model.clone(),
            version: arm.version.clone(),
            weight_basis_points: arm.weight.basis_points(),
        });
        let entry = ModelTraffic {
            arms: arms.collect(),
            sticky: self.sticky.clone(),
            salt: self.salt.clone(),
            rules: self.rules.clone(),
            labels: self.labels.clone(),
            shadow,
            outlier_ejection: self.outlier_ejection.clone(),
            tell: self.tell,
            segment: self.segment.clone(),
            unobserved: !observed,
            allocation: Vec::new(),
        };
        (entry, comparisons)
    }
}

/// Named so that no resource can have the name.
fn own_comparison(
    comparisons: &mut Vec<(String, ComparisonRules)>,
    public: &str,
    index: usize,
    rules: ComparisonRules,
) -> String {
    let name = format!("{public}/shadow[{index}]");
    comparisons.push((name.clone(), rules));
    name
}
