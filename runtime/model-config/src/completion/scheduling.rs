//! Defaults of version policy and schedulers, made visible as Triton makes them.

use super::FilledField;
use crate::wire;
use crate::wire::model_config::SchedulingChoice;
use crate::wire::model_version_policy::{Latest, PolicyChoice};

/// Triton's default for a sequence without requests: one second.
const SEQUENCE_IDLE_MICROSECONDS: u64 = 1_000_000;

pub(super) fn complete(config: &mut wire::ModelConfig, filled: &mut Vec<FilledField>) {
    let policy = config.version_policy.get_or_insert_default();
    match &mut policy.policy_choice {
        None => {
            policy.policy_choice = Some(PolicyChoice::Latest(Latest { num_versions: 1 }));
            filled.push(FilledField::new("version_policy.latest.num_versions", "1", "no policy is given"));
        }
        Some(PolicyChoice::Latest(latest)) if latest.num_versions == 0 => {
            latest.num_versions = 1;
            filled.push(FilledField::new("version_policy.latest.num_versions", "1", "no number is given"));
        }
        Some(_) => {}
    }
    match &mut config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching))
            if batching.preferred_batch_size.is_empty() && config.max_batch_size > 0 =>
        {
            batching.preferred_batch_size.push(config.max_batch_size);
            let (path, value) = ("dynamic_batching.preferred_batch_size", format!("[{}]", config.max_batch_size));
            filled.push(FilledField::new(path, value, "no sizes are given: the maximum is preferred"));
        }
        Some(SchedulingChoice::SequenceBatching(batching)) if batching.max_sequence_idle_microseconds == 0 => {
            batching.max_sequence_idle_microseconds = SEQUENCE_IDLE_MICROSECONDS;
            let (path, value) =
                ("sequence_batching.max_sequence_idle_microseconds", SEQUENCE_IDLE_MICROSECONDS.to_string());
            filled.push(FilledField::new(path, value, "no time is given"));
        }
        _ => {}
    }
}
