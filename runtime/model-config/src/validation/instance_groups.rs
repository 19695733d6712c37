//! Instance groups.

use std::collections::HashSet;

use super::report::Report;
use crate::wire::model_instance_group::Kind;
use crate::{CompletionFacts, InstanceGroup, InstanceKind, wire};

/// Most instances of one model over all groups; each is an operating-system thread with its own copy of the engine.
const MAXIMUM_INSTANCES: u64 = 1024;

pub(super) fn instance_groups(
    wire: &wire::ModelConfig,
    facts: &CompletionFacts,
    report: &mut Report,
) -> Vec<InstanceGroup> {
    if wire.instance_group.is_empty() {
        report.problem("instance_group", format!("must specify one or more 'instance group's for {}", wire.name));
    }
    let mut names = HashSet::new();
    let mut total = 0_u64;
    let mut groups = Vec::new();
    for (index, group) in wire.instance_group.iter().enumerate() {
        let path = format!("instance_group[{index}]");
        if !names.insert(&group.name) {
            report.problem(format!("{path}.name"), format!("name `{}` is given twice", group.name));
        }
        let count = u32::try_from(group.count).ok().filter(|&count| count >= 1);
        if count.is_none() {
            report.problem(format!("{path}.count"), format!("expected a count of at least `1`, got `{}`", group.count));
        }
        let gpus: Vec<u32> = group.gpus.iter().filter_map(|&gpu| u32::try_from(gpu).ok()).collect();
        for (position, &gpu) in group.gpus.iter().enumerate() {
            if gpu < 0 || group.gpus[..position].contains(&gpu) {
                report.problem(
                    format!("{path}.gpus[{position}]"),
                    format!("expected different ordinals of at least `0`, got `{gpu}`"),
                );
            }
        }
        let kind = kind(group, &path, facts, report);
        unsupported(group, &path, report);
        let count = count.unwrap_or(1);
        total = total.saturating_add(u64::from(count).saturating_mul(gpus.len().max(1) as u64));
        groups.push(InstanceGroup { name: group.name.clone(), kind, count, gpus });
    }
    if total > MAXIMUM_INSTANCES {
        report.problem(
            "instance_group",
            format!("expected at most `{MAXIMUM_INSTANCES}` instances in all, got `{total}`"),
        );
    }
    groups
}

fn kind(group: &wire::ModelInstanceGroup, path: &str, facts: &CompletionFacts, report: &mut Report) -> InstanceKind {
    let (kind, takes_gpus) = match group.kind() {
        Kind::Auto => (InstanceKind::Auto, true),
        Kind::Cpu => (InstanceKind::Cpu, false),
        Kind::Gpu => (InstanceKind::Gpu, true),
        Kind::Model => (InstanceKind::Model, false),
    };
    if kind == InstanceKind::Gpu && !facts.gpu_available {
        let absence = match facts.gpu_absence.as_str() {
            "" => String::new(),
            absence => format!(" ({absence})"),
        };
        report.problem(
            format!("{path}.kind"),
            format!(
                "instance group {} has kind KIND_GPU but no GPU is available to this model{absence}; KIND_CPU and \
                 KIND_AUTO are",
                group.name
            ),
        );
    }
    if !takes_gpus && !group.gpus.is_empty() {
        let spelling = group.kind().as_str_name();
        report.problem(
            format!("{path}.gpus"),
            format!("instance group {} has kind {spelling} but specifies one or more GPUs", group.name),
        );
    }
    kind
}

fn unsupported(group: &wire::ModelInstanceGroup, path: &str, report: &mut Report) {
    if group.passive {
        report.not_offered(format!("{path}.passive"), "every instance executes requests");
    }
    if !group.profile.is_empty() {
        report.problem(format!("{path}.profile"), "profile field is only supported for TensorRT models");
    }
    if !group.secondary_devices.is_empty() {
        report.not_offered(format!("{path}.secondary_devices"), "instances run on one kind of device");
    }
    if group.rate_limiter.is_some() {
        report.no_effect(format!("{path}.rate_limiter"), "executions are not rate-limited yet");
    }
    if !group.host_policy.is_empty() {
        report.no_effect(format!("{path}.host_policy"), "instances are not bound to processors or memory nodes yet");
    }
}
