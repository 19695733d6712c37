//! Fields that have no place in the validated form: refused where silence would change results, else named.

use super::report::Report;
use crate::CompletionFacts;
use crate::wire;
use crate::wire::model_config::SchedulingChoice;
use crate::wire::model_instance_group::Kind;

pub(super) fn check(wire: &wire::ModelConfig, facts: &CompletionFacts, report: &mut Report) {
    refused(wire, report);
    optimization_notices(wire, facts.gpu_available && may_be_on_gpus(wire), report);
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

/// Whether a group may be placed on a GPU where there is one.
fn may_be_on_gpus(wire: &wire::ModelConfig) -> bool {
    wire.instance_group.iter().any(|group| matches!(group.kind(), Kind::Gpu | Kind::Auto))
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

fn optimization_notices(wire: &wire::ModelConfig, on_gpus: bool, report: &mut Report) {
    let Some(optimization) = &wire.optimization else { return };
    let priority = optimization.priority() != wire::model_optimization_policy::ModelPriority::PriorityDefault;
    let accelerators = optimization.execution_accelerators.as_ref();
    // Where a GPU executes, memory is pinned: only the wish for the contrary has no effect.
    let pinned = |wish: Option<wire::model_optimization_policy::PinnedMemoryBuffer>| {
        wish.is_some_and(|wish| !on_gpus || !wish.enable)
    };
    let pinned_reason =
        if on_gpus { "what goes to a GPU, or comes from it, is pinned" } else { "memory is pinned for GPUs only" };
    let given = [
        (
            "graph",
            optimization.graph.is_some() && wire.backend != "onnxruntime",
            "backend `onnxruntime` alone has levels",
        ),
        ("priority", priority && !on_gpus, "models share the processors alike"),
        ("cuda", optimization.cuda.is_some() && !on_gpus, "no GPU executes this model"),
        (
            "execution_accelerators.gpu_execution_accelerator",
            !on_gpus && accelerators.is_some_and(|found| !found.gpu_execution_accelerator.is_empty()),
            "no GPU executes this model",
        ),
        (
            "execution_accelerators.cpu_execution_accelerator",
            accelerators.is_some_and(|found| !found.cpu_execution_accelerator.is_empty()),
            "the engine runs with its default execution provider",
        ),
        ("input_pinned_memory", pinned(optimization.input_pinned_memory), pinned_reason),
        ("output_pinned_memory", pinned(optimization.output_pinned_memory), pinned_reason),
        (
            "gather_kernel_buffer_threshold",
            optimization.gather_kernel_buffer_threshold != 0,
            if on_gpus {
                "a kernel gathers what lies on the GPU, the processors what lies on the host"
            } else {
                "inputs are gathered by the processors"
            },
        ),
        ("eager_batching", optimization.eager_batching && !on_gpus, "a batch is gathered when it is dispatched"),
    ];
    for (field, present, reason) in given {
        if present {
            report.no_effect(format!("optimization.{field}"), reason);
        }
    }
    if let Some(cuda) = optimization.cuda.as_ref().filter(|_| on_gpus) {
        cuda_notices(cuda, report);
    }
}

/// What of `optimization.cuda` means nothing where GPUs execute the model; the backend acts upon the rest or refuses it.
fn cuda_notices(cuda: &wire::model_optimization_policy::Cuda, report: &mut Report) {
    if cuda.busy_wait_events {
        report.no_effect("optimization.cuda.busy_wait_events", "instances sleep until the device is done");
    }
    if !cuda.graphs && !cuda.graph_spec.is_empty() {
        report.no_effect("optimization.cuda.graph_spec", "graphs are kept with `graphs: true` only");
    }
    if cuda.graph_spec.iter().any(|spec| spec.graph_lower_bound.is_some()) {
        report.no_effect(
            "optimization.cuda.graph_spec.graph_lower_bound",
            "a batch is computed by the graph of the next larger size",
        );
    }
}
