//! From the completed wire form to the validated form.
//!
//! Collects every problem rather than the first. Every field of the wire form is either acted upon, refused by name, or
//! reported as having no effect; [`unsupported`] holds those that have no place in the validated form.

mod batching;
mod instance_groups;
mod report;
mod sequence;
mod tensors;
mod unsupported;
mod warmup;

use std::collections::HashSet;

use report::Report;

use crate::wire::model_config::SchedulingChoice;
use crate::wire::model_version_policy::PolicyChoice;
use crate::{CompletionFacts, ConfigProblem, ModelConfig, Notice, Scheduling, VersionPolicy, wire};

/// Triton's platform string of ONNX models.
const ONNX_PLATFORM: &str = "onnxruntime_onnx";

impl ModelConfig {
    /// Validates a completed configuration; the notices name fields that are accepted and have no effect.
    ///
    /// # Errors
    /// Every problem found, each with the path of its field.
    pub fn from_wire(
        wire: wire::ModelConfig,
        facts: &CompletionFacts,
    ) -> Result<(Self, Vec<Notice>), Vec<ConfigProblem>> {
        let mut report = Report::default();
        identity(&wire, facts, &mut report);
        let max_batch_size = u32::try_from(wire.max_batch_size).unwrap_or_else(|_| {
            report.problem("max_batch_size", format!("must be non-negative value, got `{}`", wire.max_batch_size));
            0
        });
        let version_policy = version_policy(&wire, &mut report);
        let (inputs, outputs) = tensors::tensors(&wire, max_batch_size, &mut report);
        let scheduling = match &wire.scheduling_choice {
            None | Some(SchedulingChoice::EnsembleScheduling(_)) => Scheduling::Default,
            Some(SchedulingChoice::DynamicBatching(batching)) => {
                Scheduling::Dynamic(batching::dynamic(batching, max_batch_size, &mut report))
            }
            Some(SchedulingChoice::SequenceBatching(batching)) => {
                Scheduling::Sequence(sequence::sequence(batching, &inputs, &mut report))
            }
        };
        let instance_groups = instance_groups::instance_groups(&wire, facts, &mut report);
        let warmup = warmup::warmups(&wire, &inputs, max_batch_size, &mut report);
        unsupported::check(&wire, facts, &mut report);
        if !report.problems.is_empty() {
            return Err(report.problems);
        }
        let config = Self {
            name: wire.name.clone(),
            platform: wire.platform.clone(),
            backend: wire.backend.clone(),
            max_batch_size,
            inputs,
            outputs,
            version_policy,
            scheduling,
            instance_groups,
            default_model_filename: wire.default_model_filename.clone(),
            parameters: wire
                .parameters
                .iter()
                .map(|(name, value)| (name.clone(), value.string_value.clone()))
                .collect(),
            warmup,
            decoupled: wire.model_transaction_policy.is_some_and(|policy| policy.decoupled),
            wire,
        };
        Ok((config, report.notices))
    }
}

/// Name, backend, platform and file names.
fn identity(wire: &wire::ModelConfig, facts: &CompletionFacts, report: &mut Report) {
    if wire.name.is_empty() {
        report.problem("name", "model configuration must specify 'name'");
    } else if wire.name != facts.model_name {
        report.problem(
            "name",
            format!(
                "unexpected directory name '{}' for model '{}', directory name must equal model name",
                facts.model_name, wire.name
            ),
        );
    }
    if wire.backend.is_empty() {
        // An ensemble has no backend; that it is one is refused elsewhere.
        match wire.platform.as_str() {
            "ensemble" => {}
            "" => report.problem("backend", format!("must specify 'platform' or 'backend' for '{}'", wire.name)),
            platform => report.problem("platform", format!("unexpected platform type '{platform}' for {}", wire.name)),
        }
    } else if (wire.backend == "onnxruntime" && !matches!(wire.platform.as_str(), "" | ONNX_PLATFORM))
        || (wire.platform == ONNX_PLATFORM && !matches!(wire.backend.as_str(), "onnxruntime" | "tract"))
    {
        report.problem(
            "platform",
            format!("unexpected 'platform' and 'backend' pair, got:{}, {}", wire.platform, wire.backend),
        );
    }
    if wire.backend.contains(['/', '\\', '\0']) || wire.backend == ".." {
        report.problem("backend", format!("`{}` is not a name", wire.backend));
    }
    file_name("default_model_filename", &wire.default_model_filename, report);
    for (capability, name) in &wire.cc_model_filenames {
        file_name(&format!("cc_model_filenames[\"{capability}\"]"), name, report);
    }
}

/// A name within one folder; empty means none.
fn file_name(path: &str, name: &str, report: &mut Report) {
    if name.contains(['/', '\\', '\0']) || matches!(name, "." | "..") {
        report.problem(path, format!("expected the name of a file within the folder, got `{}`", name.escape_debug()));
    }
}

fn version_policy(wire: &wire::ModelConfig, report: &mut Report) -> VersionPolicy {
    let choice = wire.version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref());
    if let Some(PolicyChoice::Specific(specific)) = choice {
        let path = "version_policy.specific.versions";
        if specific.versions.is_empty() {
            report.problem(path, "must name at least one version");
        }
        let mut seen = HashSet::new();
        for (index, &version) in specific.versions.iter().enumerate() {
            if version < 1 {
                report.problem(
                    format!("{path}[{index}]"),
                    format!("expected a version of at least `1`, got `{version}`"),
                );
            } else if !seen.insert(version) {
                report.problem(format!("{path}[{index}]"), format!("version `{version}` is named twice"));
            }
        }
    }
    VersionPolicy::declared(wire)
}
