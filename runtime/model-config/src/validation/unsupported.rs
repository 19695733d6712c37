//! Fields that have no place in the validated form: refused where silence would change results, else named.

use super::report::Report;
use crate::CompletionFacts;
use crate::wire;
use crate::wire::model_config::SchedulingChoice;

pub(super) fn check(wire: &wire::ModelConfig, facts: &CompletionFacts, report: &mut Report) {
    refused(wire, report);
    if let Some(optimization) = &wire.optimization {
        optimization_notices(optimization, facts.gpu_available, report);
    }
    if wire.response_cache.is_some_and(|cache| cache.enable) {
        response_cache(wire, report);
    }
    let absent = |path: &str, present: bool, reason: &str, report: &mut Report| {
        if present {
            report.no_effect(path, reason);
        }
    };
    absent(
        "runtime",
        !wire.runtime.is_empty(),
        "backends are part of this program or opened by it, not chosen by file name",
        report,
    );
    absent(
        "cc_model_filenames",
        !wire.cc_model_filenames.is_empty(),
        "the model file does not depend on the GPU's compute capability",
        report,
    );
    absent("metric_tags", !wire.metric_tags.is_empty(), "metrics carry the model and its version only", report);
    absent("model_metrics", wire.model_metrics.is_some(), "histogram buckets are those of the server", report);
    let operations =
        wire.model_operations.as_ref().is_some_and(|operations| !operations.op_library_filename.is_empty());
    absent("model_operations.op_library_filename", operations, "libraries of custom operators are not loaded", report);
}

/// Fields whose absence would change what a model answers.
fn refused(wire: &wire::ModelConfig, report: &mut Report) {
    if matches!(wire.scheduling_choice, Some(SchedulingChoice::EnsembleScheduling(_))) {
        report.not_offered("ensemble_scheduling", "a model is one model file or one built-in");
    } else if wire.platform == "ensemble" {
        report.not_offered("platform", "a model is one model file or one built-in, not an `ensemble`");
    }
    if !wire.batch_input.is_empty() {
        report.not_offered("batch_input", "a model sees the tensors of its requests only");
    }
    if !wire.batch_output.is_empty() {
        report.not_offered("batch_output", "outputs are split by rows");
    }
    if wire.model_repository_agents.as_ref().is_some_and(|agents| !agents.agents.is_empty()) {
        report
            .not_offered("model_repository_agents", "a model is loaded as it lies in its folder, unchecked by agents");
    }
}

fn response_cache(wire: &wire::ModelConfig, report: &mut Report) {
    if matches!(wire.scheduling_choice, Some(SchedulingChoice::SequenceBatching(_))) {
        report.problem("response_cache.enable", "response cache does not support models with sequence batching");
    } else if wire.model_transaction_policy.is_some_and(|policy| policy.decoupled) {
        report.problem(
            "response_cache.enable",
            "response cache does not support models with 'decoupled' transaction policy",
        );
    } else {
        report.no_effect("response_cache.enable", "responses are not cached yet; every request is executed");
    }
}

fn optimization_notices(optimization: &wire::ModelOptimizationPolicy, gpu_available: bool, report: &mut Report) {
    let priority = optimization.priority() != wire::model_optimization_policy::ModelPriority::PriorityDefault;
    let accelerators = optimization.execution_accelerators.as_ref();
    let given = [
        (
            "graph",
            optimization.graph.is_some(),
            "the engine's own level is used; backends take theirs from `parameters`",
        ),
        ("priority", priority && !gpu_available, "models share the processors alike"),
        ("cuda", optimization.cuda.is_some() && !gpu_available, "no GPU executes this model"),
        (
            "execution_accelerators.gpu_execution_accelerator",
            !gpu_available && accelerators.is_some_and(|found| !found.gpu_execution_accelerator.is_empty()),
            "no GPU executes this model",
        ),
        (
            "execution_accelerators.cpu_execution_accelerator",
            accelerators.is_some_and(|found| !found.cpu_execution_accelerator.is_empty()),
            "the engine runs with its default execution provider",
        ),
        ("input_pinned_memory", optimization.input_pinned_memory.is_some(), "memory is pinned for GPUs only"),
        ("output_pinned_memory", optimization.output_pinned_memory.is_some(), "memory is pinned for GPUs only"),
        (
            "gather_kernel_buffer_threshold",
            optimization.gather_kernel_buffer_threshold != 0,
            "inputs are gathered by the processors",
        ),
        ("eager_batching", optimization.eager_batching, "a batch is gathered when it is dispatched"),
    ];
    for (field, present, reason) in given {
        if present {
            report.no_effect(format!("optimization.{field}"), reason);
        }
    }
}
