//! A set of declared resources by kind and name: what a revision of the collection holds.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hanok_shadow::ComparisonRules;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{API_VERSION, BanditSpec, ExperimentSpec, RolloutSpec, TrafficSpec};

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    /// Moves weights by what the arms earn.
    Bandit,
    /// How outputs are compared.
    Comparison,
    /// Compares arms, moves nothing.
    Experiment,
    /// Moves weights from one arm to another, step by step.
    Rollout,
    /// The traffic of one public model name.
    Traffic,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Bandit, Self::Comparison, Self::Experiment, Self::Rollout, Self::Traffic];

    /// As it stands in `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bandit => "Bandit",
            Self::Comparison => "Comparison",
            Self::Experiment => "Experiment",
            Self::Rollout => "Rollout",
            Self::Traffic => "Traffic",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for ResourceKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// The content of a resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// The traffic of one public model name.
    Traffic(TrafficSpec),
    /// How outputs are compared.
    Comparison(ComparisonRules),
    /// A rollout.
    Rollout(RolloutSpec),
    /// An experiment.
    Experiment(ExperimentSpec),
    /// A bandit.
    Bandit(BanditSpec),
}

impl Spec {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Traffic(_) => ResourceKind::Traffic,
            Self::Comparison(_) => ResourceKind::Comparison,
            Self::Rollout(_) => ResourceKind::Rollout,
            Self::Experiment(_) => ResourceKind::Experiment,
            Self::Bandit(_) => ResourceKind::Bandit,
        }
    }

    /// As JSON, with every default written out. Plain data always has a JSON form.
    pub(crate) fn to_value(&self) -> Value {
        let value = match self {
            Self::Traffic(spec) => serde_json::to_value(spec),
            Self::Comparison(spec) => serde_json::to_value(spec),
            Self::Rollout(spec) => serde_json::to_value(spec),
            Self::Experiment(spec) => serde_json::to_value(spec),
            Self::Bandit(spec) => serde_json::to_value(spec),
        };
        value.unwrap_or(Value::Null)
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Name, unique in its kind: 1 to 63 of letters, digits, `.`, `_`, `-`, beginning with a letter or digit.
    pub name: String,
    /// Content.
    pub spec: Spec,
}

impl Declared {
    /// Its whole document, with every default written out.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": self.spec.kind().as_str(),
            "metadata": { "name": self.name },
            "spec": self.spec.to_value(),
        })
    }
}

/// Key of a resource.
pub(crate) type ResourceKey = (ResourceKind, String);

/// Resources by kind and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredSet {
    pub(crate) resources: BTreeMap<ResourceKey, Spec>,
}

impl DeclaredSet {
    /// A set of these; of two with the same kind and name the last counts.
    #[must_use]
    pub fn new(resources: impl IntoIterator<Item = Declared>) -> Self {
        let keyed = resources.into_iter().map(|declared| ((declared.spec.kind(), declared.name), declared.spec));
        Self { resources: keyed.collect() }
    }

    /// Kind, name and content, in the order of kinds and names.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceKind, &str, &Spec)> {
        self.resources.iter().map(|((kind, name), spec)| (*kind, name.as_str(), spec))
    }

    /// The resource of this kind and name.
    #[must_use]
    pub fn get(&self, kind: ResourceKind, name: &str) -> Option<&Spec> {
        self.resources.get(&(kind, name.to_owned()))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    pub(crate) fn traffic(&self, name: &str) -> Option<&TrafficSpec> {
        match self.get(ResourceKind::Traffic, name) {
            Some(Spec::Traffic(spec)) => Some(spec),
            _ => None,
        }
    }

    pub(crate) fn traffics(&self) -> impl Iterator<Item = (&str, &TrafficSpec)> {
        self.iter().filter_map(|(_, name, spec)| match spec {
            Spec::Traffic(spec) => Some((name, spec)),
            _ => None,
        })
    }

    /// Whether a rollout, experiment or bandit is about the traffic of this name.
    pub(crate) fn is_watched(&self, traffic: &str) -> bool {
        self.iter().any(|(_, _, spec)| match spec {
            Spec::Rollout(spec) => spec.traffic == traffic,
            Spec::Experiment(spec) => spec.traffic == traffic,
            Spec::Bandit(spec) => spec.traffic == traffic,
            Spec::Traffic(_) | Spec::Comparison(_) => false,
        })
    }

    pub(crate) fn comparisons(&self) -> impl Iterator<Item = (&str, &ComparisonRules)> {
        self.iter().filter_map(|(_, name, spec)| match spec {
            Spec::Comparison(rules) => Some((name, rules)),
            _ => None,
        })
    }

    /// This set with `given` on top; with `prune`, `given` alone.
    #[must_use]
    pub fn merged(&self, given: &Self, prune: bool) -> Self {
        if prune {
            return given.clone();
        }
        let mut merged = self.clone();
        merged.resources.extend(given.resources.clone());
        merged
    }
}
