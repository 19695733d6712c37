//! What the arms of a table need of memory, by what runtimes tell. Pure.

use std::collections::BTreeSet;

use hanok_routing::{ModelTraffic, ShadowTargetDeclaration, TrafficTable, VersionName};
use serde::Serialize;

use super::StoredTable;
use crate::port::{ModelFacts, VersionFacts};

/// What the arms of a table need.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryEstimate {
    /// One entry per runtime, public model and arm or shadow.
    pub arms: Vec<ArmMemory>,
    /// Bytes of all model versions that arms need, each counted once per runtime; unknown ones are left out.
    pub needed_bytes: u64,
    /// Of these, bytes of versions that do not serve yet.
    pub not_loaded_bytes: u64,
}

/// What one arm needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmMemory {
    /// Runtime that was asked.
    pub runtime: String,
    /// Public model name.
    pub public_model: String,
    /// Name of the arm; `shadow[N]` for a shadow that is none.
    pub arm: String,
    /// Model that serves it.
    pub model: String,
    /// Version that serves it; none where it is not known.
    pub version: Option<u64>,
    /// Whether it serves.
    pub ready: bool,
    /// Bytes that it takes; none where it is not known.
    pub memory_bytes: Option<u64>,
}

/// The estimate for `after` over the runtimes that answered, and warnings about what they do not have.
pub(crate) fn estimate(after: &StoredTable, facts: &[(String, Vec<ModelFacts>)]) -> (MemoryEstimate, Vec<String>) {
    let mut estimate = MemoryEstimate::default();
    let mut warnings = Vec::new();
    for (runtime, models) in facts {
        let mut counted = BTreeSet::new();
        for (public, entry) in &after.table.models {
            for (arm, model, version) in servers(public, entry) {
                let known = models.iter().find(|known| known.name == model);
                let found = known.and_then(|known| resolve(known, &after.table, &model, &version));
                if let Some(warning) = warning(runtime, public, &arm, &model, &version, known, found) {
                    warnings.push(warning);
                }
                if let Some(found) = found
                    && counted.insert((model.clone(), found.version))
                {
                    let bytes = found.memory_bytes.unwrap_or_default();
                    estimate.needed_bytes = estimate.needed_bytes.saturating_add(bytes);
                    if !found.ready {
                        estimate.not_loaded_bytes = estimate.not_loaded_bytes.saturating_add(bytes);
                    }
                }
                estimate.arms.push(ArmMemory {
                    runtime: runtime.clone(),
                    public_model: public.clone(),
                    arm,
                    model,
                    version: found.map(|found| found.version),
                    ready: found.is_some_and(|found| found.ready),
                    memory_bytes: found.and_then(|found| found.memory_bytes),
                });
            }
        }
    }
    (estimate, warnings)
}

/// Who serves or gets copies: name, model, version.
fn servers(public: &str, entry: &ModelTraffic) -> Vec<(String, String, VersionName)> {
    let model = |name: &Option<String>| name.clone().unwrap_or_else(|| public.to_owned());
    let arms = entry.arms.iter().map(|arm| (arm.name.clone(), model(&arm.model), arm.version.clone()));
    let shadows = entry.shadow.iter().enumerate().filter_map(|(index, shadow)| match &shadow.target {
        ShadowTargetDeclaration::Arm(_) => None,
        ShadowTargetDeclaration::Version { model: name, version } => {
            Some((format!("shadow[{index}]"), model(name), version.clone()))
        }
    });
    arms.chain(shadows).collect()
}

fn resolve(known: &ModelFacts, table: &TrafficTable, model: &str, version: &VersionName) -> Option<VersionFacts> {
    let number = match version {
        VersionName::Latest => known.versions.iter().filter(|found| found.ready).map(|found| found.version).max()?,
        VersionName::Number(number) => *number,
        VersionName::Label(label) => *table.models.get(model)?.labels.get(label)?,
    };
    known.versions.iter().find(|found| found.version == number).copied()
}

fn warning(
    runtime: &str,
    public: &str,
    arm: &str,
    model: &str,
    version: &VersionName,
    known: Option<&ModelFacts>,
    found: Option<VersionFacts>,
) -> Option<String> {
    let place = format!("arm `{arm}` of model `{public}`");
    match (known, found) {
        (None, _) => Some(format!("{place}: runtime `{runtime}` has no model `{model}`")),
        (_, None) => Some(format!("{place}: runtime `{runtime}` has no version `{version}` of model `{model}`")),
        (_, Some(found)) if !found.ready => {
            let version = found.version;
            Some(format!("{place}: version `{version}` of model `{model}` does not serve on runtime `{runtime}` yet"))
        }
        _ => None,
    }
}
