//! The dynamic batcher and its queue policies.

use std::collections::BTreeMap;
use std::time::Duration;

use super::report::Report;
use crate::wire::model_queue_policy::TimeoutAction as WireAction;
use crate::{DynamicBatching, QueuePolicy, TimeoutAction, wire};

/// Longest time that a setting may name: a year. Longer ones are mistakes, and could overflow an instant.
const MAXIMUM_MICROSECONDS: u64 = 365 * 24 * 3600 * 1_000_000;

/// Most priority levels; each costs a queue.
const MAXIMUM_LEVELS: u64 = 1024;

pub(super) fn dynamic(wire: &wire::ModelDynamicBatching, max_batch_size: u32, report: &mut Report) -> DynamicBatching {
    let mut preferred_batch_sizes = Vec::with_capacity(wire.preferred_batch_size.len());
    for (index, &size) in wire.preferred_batch_size.iter().enumerate() {
        let path = format!("dynamic_batching.preferred_batch_size[{index}]");
        match u32::try_from(size) {
            Err(_) | Ok(0) => {
                report.problem(path, format!("dynamic batching preferred size must be positive, got `{size}`"))
            }
            Ok(size) if size > max_batch_size => {
                report.problem(path, format!("`{size}` exceeds max_batch_size `{max_batch_size}`"));
            }
            Ok(size) => preferred_batch_sizes.push(size),
        }
    }
    preferred_batch_sizes.sort_unstable();
    preferred_batch_sizes.dedup();
    let (priority_levels, default_priority_level) = levels(wire, report);
    let default_path = "dynamic_batching.default_queue_policy";
    let default_queue_policy = wire
        .default_queue_policy
        .as_ref()
        .map_or_else(QueuePolicy::default, |policy| queue_policy(policy, default_path, wire.preserve_ordering, report));
    let mut priority_queue_policies = BTreeMap::new();
    for (&level, policy) in &wire.priority_queue_policy {
        let path = format!("dynamic_batching.priority_queue_policy[{level}]");
        let policy = queue_policy(policy, &path, wire.preserve_ordering, report);
        match u32::try_from(level) {
            Ok(found @ 1..) if found <= priority_levels => {
                priority_queue_policies.insert(found, policy);
            }
            _ => report.problem(
                path,
                format!(
                    "priority queue policy must have priority level in range [1, {priority_levels}], got `{level}`"
                ),
            ),
        }
    }
    DynamicBatching {
        preferred_batch_sizes,
        max_queue_delay: duration(
            wire.max_queue_delay_microseconds,
            "dynamic_batching.max_queue_delay_microseconds",
            report,
        ),
        preserve_ordering: wire.preserve_ordering,
        priority_levels,
        default_priority_level,
        default_queue_policy,
        priority_queue_policies,
    }
}

/// Number of levels and the default one; both 0 where there are none.
fn levels(wire: &wire::ModelDynamicBatching, report: &mut Report) -> (u32, u32) {
    let (levels, default) = (wire.priority_levels, wire.default_priority_level);
    if levels > MAXIMUM_LEVELS {
        report.problem(
            "dynamic_batching.priority_levels",
            format!("expected at most `{MAXIMUM_LEVELS}` levels, got `{levels}`"),
        );
        return (0, 0);
    }
    if levels == 0 {
        if default != 0 {
            report.problem(
                "dynamic_batching.default_priority_level",
                format!("got `{default}` where `priority_levels` is `0`"),
            );
        }
        return (0, 0);
    }
    if default == 0 || default > levels {
        let message = format!("default priority level must be in range [1, {levels}], got `{default}`");
        report.problem("dynamic_batching.default_priority_level", message);
    }
    if wire.preserve_ordering && levels > 1 {
        let message = "only one priority level is allowed when 'preserve_ordering' is true";
        report.problem("dynamic_batching.priority_levels", message);
    }
    (u32::try_from(levels).unwrap_or_default(), u32::try_from(default.min(levels)).unwrap_or_default())
}

fn queue_policy(
    wire: &wire::ModelQueuePolicy,
    path: &str,
    preserve_ordering: bool,
    report: &mut Report,
) -> QueuePolicy {
    let timeout_action = match wire.timeout_action() {
        WireAction::Reject => TimeoutAction::Reject,
        WireAction::Delay => TimeoutAction::Delay,
    };
    if preserve_ordering && timeout_action == TimeoutAction::Delay && wire.default_timeout_microseconds != 0 {
        let message = "queue policy can not have DELAY as timeout action when 'preserve_ordering' is true";
        report.problem(format!("{path}.timeout_action"), message);
    }
    QueuePolicy {
        timeout_action,
        default_timeout: duration(
            wire.default_timeout_microseconds,
            &format!("{path}.default_timeout_microseconds"),
            report,
        ),
        allow_timeout_override: wire.allow_timeout_override,
        max_queue_size: wire.max_queue_size,
    }
}

pub(super) fn duration(microseconds: u64, path: &str, report: &mut Report) -> Duration {
    if microseconds > MAXIMUM_MICROSECONDS {
        report.problem(path, format!("expected at most `{MAXIMUM_MICROSECONDS}` microseconds, got `{microseconds}`"));
        return Duration::ZERO;
    }
    Duration::from_micros(microseconds)
}
