//! Models and versions as they are told: facts that never change, and what is on record about them.

use std::collections::BTreeMap;

use hanok_state::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::names::{VersionName, check_name};
use crate::policy::{Approval, ModelPolicy};
use crate::stage::Stage;
use crate::text::{check_address, check_person, check_text, check_value};
use crate::unique_keys::unique_keys;

/// Most metrics, tags or tensors of a version.
const MOST_ENTRIES: usize = 1_024;
/// Most parents of a version.
const MOST_PARENTS: usize = 64;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 16;
/// Data types of tensors, in Triton's words.
const DATA_TYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16",
    "BYTES",
];

/// Writes an instant as RFC 3339.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
pub(crate) fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// One input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSignature {
    /// Its name.
    pub name: String,
    /// Its data type in Triton's words, such as `FP32`.
    pub data_type: String,
    /// Its shape, the batch dimension included; -1 for any size.
    pub shape: Vec<i64>,
}

/// What a version takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// What it takes.
    pub inputs: Vec<TensorSignature>,
    /// What it gives.
    pub outputs: Vec<TensorSignature>,
}

/// What a version was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingData {
    /// Where it is.
    pub reference: String,
    /// Its digest, as its owner computes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The commit of the code that made a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitCommit {
    /// The commit's full name in hexadecimal.
    pub commit: String,
    /// The repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// Where a version was pulled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The reference that was asked for, such as `mlflow://flights@champion`.
    pub asked: String,
    /// What it stood for at that time: a reference that does not move.
    pub pinned: String,
}

/// What is told about a version when it is registered. None of it changes afterwards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VersionFacts {
    /// What it takes and gives, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// How good it was; finite numbers.
    #[serde(deserialize_with = "unique_keys")]
    pub metrics: BTreeMap<String, f64>,
    /// What it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_data: Option<TrainingData>,
    /// The code that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitCommit>,
    /// Free tags.
    #[serde(deserialize_with = "unique_keys")]
    pub tags: BTreeMap<String, String>,
    /// Versions that it was made from; they must exist.
    pub parents: Vec<VersionName>,
    /// Where it was pulled from; `None` when it was added from this machine. What was pulled may be evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl VersionFacts {
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        for (field, count) in [("metrics", self.metrics.len()), ("tags", self.tags.len())] {
            check_count(field, count, MOST_ENTRIES)?;
        }
        check_count("parents", self.parents.len(), MOST_PARENTS)?;
        for (name, value) in &self.metrics {
            check_text("metric", name)?;
            if !value.is_finite() {
                return Err(RegistryError::invalid(
                    "metric",
                    format!("`{name}`: expected a finite number, got `{value}`"),
                ));
            }
        }
        for (name, value) in &self.tags {
            check_text("tag", name)?;
            check_value("tag", value)?;
        }
        if let Some(signature) = &self.signature {
            signature.check()?;
        }
        if let Some(data) = &self.training_data {
            check_address("training data", &data.reference)?;
            data.digest.as_deref().map_or(Ok(()), |digest| check_text("training data", digest))?;
        }
        if let Some(git) = &self.git {
            let length = git.commit.len();
            if !(length == 40 || length == 64) || !git.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let reason = format!("expected 40 or 64 hexadecimal digits, got `{}`", git.commit.escape_debug());
                return Err(RegistryError::invalid("git commit", reason));
            }
            git.remote.as_deref().map_or(Ok(()), |remote| check_address("git remote", remote))?;
        }
        if let Some(origin) = &self.origin {
            check_address("origin", &origin.asked)?;
            check_address("origin", &origin.pinned)?;
        }
        self.parents.iter().try_for_each(|parent| check_name("parent", &parent.model))
    }
}

impl Signature {
    fn check(&self) -> Result<(), RegistryError> {
        check_count("signature", self.inputs.len() + self.outputs.len(), MOST_ENTRIES)?;
        for tensor in self.inputs.iter().chain(&self.outputs) {
            check_text("tensor", &tensor.name)?;
            if !DATA_TYPES.contains(&tensor.data_type.as_str()) {
                let reason = format!("expected one of {}, got `{}`", DATA_TYPES.join(", "), tensor.data_type);
                return Err(RegistryError::invalid("data type", reason));
            }
            check_count("dimensions", tensor.shape.len(), MOST_DIMENSIONS)?;
            if let Some(size) = tensor.shape.iter().find(|size| **size < -1) {
                return Err(RegistryError::invalid("shape", format!("expected -1 or more, got `{size}`")));
            }
        }
        Ok(())
    }
}

fn check_count(field: &'static str, count: usize, most: usize) -> Result<(), RegistryError> {
    if count > most {
        return Err(RegistryError::invalid(field, format!("expected at most {most}, got {count}")));
    }
    Ok(())
}

/// One registered version. Content and facts never change; stage, aliases and presence do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Version {
    /// Its model and number.
    #[serde(flatten)]
    pub name: VersionName,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Sum of its files' sizes.
    pub bytes: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Aliases that point at it, in order.
    pub aliases: Vec<String>,
    /// Whether its files are here; `false` after eviction.
    pub present: bool,
    /// When it was registered.
    #[serde(serialize_with = "rfc3339")]
    pub registered_at: Timestamp,
    /// By whom.
    pub registered_by: String,
    /// When its files were last asked for.
    #[serde(serialize_with = "rfc3339")]
    pub used_at: Timestamp,
    /// What was told when it was registered.
    pub facts: VersionFacts,
}

/// A model: a name, its rules, its aliases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What it wants before a stage.
    pub policy: ModelPolicy,
    /// Aliases and the versions that they point at.
    pub aliases: BTreeMap<String, u64>,
    /// How many versions were registered.
    pub versions: u64,
    /// When it was made.
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
}

/// The versions that one was made from, and those made from it, all the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lineage {
    /// Child and parent of every step towards what it was made from.
    pub ancestors: Vec<LineageStep>,
    /// Child and parent of every step towards what was made from it.
    pub descendants: Vec<LineageStep>,
}

/// One version was made from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineageStep {
    /// What was made.
    pub child: VersionName,
    /// What it was made from.
    pub parent: VersionName,
}

/// Everything on record about one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionRecord {
    /// The version.
    pub version: Version,
    /// Its files.
    pub manifest: crate::manifest::Manifest,
    /// Decisions about it, oldest first.
    pub approvals: Vec<Approval>,
    /// What it was made from, and what from it.
    pub lineage: Lineage,
}

/// Who changes the registry, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who, without white space around it.
    pub name: String,
    /// When; nothing in the registry reads a clock.
    pub now: Timestamp,
}

impl Actor {
    /// Somebody, now.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is empty or too long, or that has characters which do not show.
    pub fn new(name: impl Into<String>, now: Timestamp) -> Result<Self, RegistryError> {
        Ok(Self { name: check_person("actor", &name.into())?, now })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use serde_json::json;

    use super::*;

    fn refusal(facts: serde_json::Value) -> String {
        serde_json::from_value::<VersionFacts>(facts).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn facts_that_break_a_rule_are_named() {
        let tensor = |data_type: &str, size: i64| json!({"signature": {"inputs": [{"name": "x", "data_type": data_type, "shape": [size]}], "outputs": []}});
        assert!(refusal(tensor("float", 1)).contains("expected one of BOOL"));
        assert_eq!(refusal(tensor("FP32", -2)), "shape: expected -1 or more, got `-2`");
        assert!(refusal(json!({"git": {"commit": "HEAD"}})).contains("40 or 64 hexadecimal digits"));
        assert!(refusal(json!({"tags": {"a\nb": ""}})).contains("control characters"));
        assert!(refusal(json!({"parents": [{"model": "../x", "number": 1}]})).starts_with("parent"));
        for twice in [r#"{"tags": {"a": "1", "a": "2"}}"#, r#"{"metrics": {"a": 1, "a": 1}}"#] {
            let error = serde_json::from_str::<VersionFacts>(twice).unwrap_err();
            assert!(error.to_string().starts_with("\"a\" comes twice"), "{error}");
        }
        let infinite = VersionFacts { metrics: [("loss".to_owned(), f64::NAN)].into(), ..VersionFacts::default() };
        assert_eq!(infinite.check().unwrap_err().to_string(), "metric: `loss`: expected a finite number, got `NaN`");
        serde_json::from_value::<VersionFacts>(tensor("FP32", -1)).unwrap().check().unwrap();
    }
}
