//! How a session is set up: threads, memory, optimisation. Pure.
//!
//! Parameters of the configuration win, then settings of the backend, then the rules below. Names and values are those
//! of Triton's backend.

use std::collections::BTreeMap;

use hanok_backend::ServingError;
use hanok_model_config::{ModelConfig, OnnxOperator};

/// What the rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Size of the model with its weights, in bytes.
    pub(super) model_bytes: u64,
    /// Instances that share the session.
    pub(super) instances: usize,
    /// Processor cores of the machine.
    pub(super) cores: usize,
    /// Whether an operator of the graph is worth sharing among threads.
    pub(super) heavy_operators: bool,
    /// Whether inputs vary in other dimensions than the batch dimension.
    pub(super) varying_shapes: bool,
}

/// How much of the graph is rewritten before it is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Optimization {
    None,
    Basic,
    Extended,
    All,
}

/// How a session is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Threads within an operator; 0 leaves it to the library (all cores).
    pub(super) intra_op_threads: usize,
    /// Threads across operators; `None` executes them one after another.
    pub(super) inter_op_threads: Option<usize>,
    pub(super) optimization: Optimization,
    /// Whether freed memory is kept for the next execution.
    pub(super) arena: bool,
    /// Whether memory is laid out once per combination of input shapes.
    pub(super) memory_pattern: bool,
    /// Entries of the session's options.
    pub(super) session_entries: Vec<(&'static str, String)>,
    /// Entries of the options of every execution.
    pub(super) run_entries: Vec<(&'static str, String)>,
    /// Parameters of the configuration that mean nothing to this backend.
    pub(super) unknown_parameters: Vec<String>,
}

/// Models below this size execute on one thread: an execution then takes little more than waking threads up does.
/// Measured with one and two threads, lowest of many: 0.23 and 0.25 ms (silero-vad, 2 MB), 1.4 and 1.6 ms (text angle,
/// 1 MB, short rows) against 440 and 217 ms (resnet50, 102 MB, batch 8), 259 and 131 ms (text recognition, 10 MB).
const ONE_THREAD_BELOW_BYTES: u64 = 4 << 20;

/// Models below this size give their working memory back after every execution: it is little, and an arena starts
/// with more than that and never shrinks.
const NO_ARENA_BELOW_BYTES: u64 = 1 << 20;

const SESSION_ENTRIES: [&str; 4] = [
    "session.intra_op.allow_spinning",
    "session.inter_op.allow_spinning",
    "session.use_device_allocator_for_initializers",
    "session.set_denormal_as_zero",
];
const RUN_ENTRIES: [&str; 1] = ["memory.enable_memory_arena_shrinkage"];

pub(super) fn plan(
    config: &ModelConfig,
    settings: &BTreeMap<String, String>,
    facts: Facts,
) -> Result<Plan, ServingError> {
    let level = config
        .wire
        .optimization
        .as_ref()
        .and_then(|optimization| optimization.graph.as_ref())
        .map_or(0, |graph| graph.level);
    plan_from(&config.parameters, settings, level, facts)
}

fn plan_from(
    parameters: &BTreeMap<String, String>,
    settings: &BTreeMap<String, String>,
    level: i32,
    facts: Facts,
) -> Result<Plan, ServingError> {
    if settings.get("enable-global-threadpool").is_some_and(|value| value != "0") {
        return Err(ServingError::unsupported(
            "`enable-global-threadpool` is not offered by backend `onnxruntime`: threads are chosen per model",
        ));
    }
    let optimization = match level {
        0 => Optimization::All,
        1 => Optimization::Extended,
        -1 => Optimization::Basic,
        2 => Optimization::None,
        _ => {
            return Err(ServingError::invalid(format!("`optimization.graph.level` must be -1, 1 or 2, got `{level}`")));
        }
    };
    let text = |name: &str| parameters.get(name).or_else(|| settings.get(name)).map(String::as_str);
    let threads = |name: &str| match text(name) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().ok().filter(|&count| count <= 1024).map(Some).ok_or_else(|| {
            ServingError::invalid(format!("parameter `{name}` must be a whole number from 0 to 1024, got `{text}`"))
        }),
    };
    let switch = |name: &str, otherwise: bool| match text(name) {
        None => Ok(otherwise),
        Some("1") => Ok(true),
        Some("0") => Ok(false),
        Some(text) => Err(ServingError::invalid(format!("parameter `{name}` must be 0 or 1, got `{text}`"))),
    };
    let entries = |names: &[&'static str]| -> Vec<(&'static str, String)> {
        names.iter().filter_map(|&name| Some((name, text(name)?.to_owned()))).collect()
    };

    let parallel = switch("execution_mode", false)?;
    let inter_op_threads = threads("inter_op_thread_count")?;
    let mut session_entries = vec![("session.intra_op.allow_spinning", "0".to_owned())];
    session_entries.push(("session.inter_op.allow_spinning", "0".to_owned()));
    for (name, value) in entries(&SESSION_ENTRIES) {
        session_entries.retain(|(known, _)| *known != name);
        session_entries.push((name, value));
    }
    let known = |name: &str| {
        name == hanok_model_config::FEATURE_SERVICE
            || crate::provider::is_parameter(name)
            || SESSION_ENTRIES.contains(&name)
            || RUN_ENTRIES.contains(&name)
            || [
                "intra_op_thread_count",
                "inter_op_thread_count",
                "execution_mode",
                "enable_mem_arena",
                "enable_mem_pattern",
            ]
            .contains(&name)
    };
    Ok(Plan {
        intra_op_threads: threads("intra_op_thread_count")?.unwrap_or_else(|| threads_within_operators(facts)),
        inter_op_threads: parallel.then_some(inter_op_threads.unwrap_or(0)),
        optimization,
        arena: switch("enable_mem_arena", facts.model_bytes >= NO_ARENA_BELOW_BYTES)?,
        // Every combination of shapes keeps its layout for ever, so that free dimensions would pile them up.
        memory_pattern: switch("enable_mem_pattern", !facts.varying_shapes)?,
        session_entries,
        run_entries: entries(&RUN_ENTRIES),
        unknown_parameters: parameters.keys().filter(|name| !known(name)).cloned().collect(),
    })
}

/// One thread for a small model and for one without matrix products, such as a forest; otherwise the instances share
/// out the cores.
fn threads_within_operators(facts: Facts) -> usize {
    if facts.model_bytes < ONE_THREAD_BELOW_BYTES || !facts.heavy_operators {
        return 1;
    }
    (facts.cores / facts.instances.max(1)).max(1)
}

/// Whether `operators` are worth sharing among threads: products of matrices, convolutions, recurrences.
pub(super) fn has_heavy(operators: &[OnnxOperator]) -> bool {
    const HEAVY: [&str; 8] = ["Conv", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Einsum", "Attention"];
    operators.iter().any(|operator| HEAVY.iter().any(|heavy| operator.op_type.contains(heavy)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    const FACTS: Facts =
        Facts { model_bytes: 100 << 20, instances: 1, cores: 8, heavy_operators: true, varying_shapes: false };

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn parameters_win_over_settings_and_settings_over_rules() {
        let settings = texts(&[("intra_op_thread_count", "3"), ("enable_mem_arena", "0")]);
        let parameters =
            texts(&[("intra_op_thread_count", "2"), ("session.intra_op.allow_spinning", "1"), ("color", "red")]);
        let plan = plan_from(&parameters, &settings, -1, FACTS).unwrap();
        assert_eq!((plan.intra_op_threads, plan.arena, plan.optimization), (2, false, Optimization::Basic));
        assert!(plan.session_entries.contains(&("session.intra_op.allow_spinning", "1".to_owned())));
        assert!(plan.session_entries.contains(&("session.inter_op.allow_spinning", "0".to_owned())));
        assert_eq!(plan.unknown_parameters, ["color"]);
        assert_eq!(plan_from(&BTreeMap::new(), &settings, 0, FACTS).unwrap().intra_op_threads, 3);
    }

    #[test]
    fn wrong_values_are_named() {
        let message = |pairs: &[(&str, &str)], level| {
            plan_from(&texts(pairs), &BTreeMap::new(), level, FACTS).unwrap_err().message().to_owned()
        };
        assert_eq!(
            message(&[("intra_op_thread_count", "many")], 0),
            "parameter `intra_op_thread_count` must be a whole number from 0 to 1024, got `many`"
        );
        assert_eq!(
            message(&[("execution_mode", "parallel")], 0),
            "parameter `execution_mode` must be 0 or 1, got `parallel`"
        );
        assert_eq!(message(&[], 3), "`optimization.graph.level` must be -1, 1 or 2, got `3`");
    }

    #[test]
    fn forests_and_small_models_have_one_thread() {
        let intra_op_threads =
            |facts| plan_from(&BTreeMap::new(), &BTreeMap::new(), 0, facts).unwrap().intra_op_threads;
        assert_eq!(intra_op_threads(FACTS), 8);
        assert_eq!(intra_op_threads(Facts { instances: 3, ..FACTS }), 2);
        assert_eq!(intra_op_threads(Facts { heavy_operators: false, ..FACTS }), 1);
        assert_eq!(intra_op_threads(Facts { model_bytes: 90_000, ..FACTS }), 1);
        let operator = |op_type: &str| OnnxOperator { domain: String::new(), op_type: op_type.to_owned() };
        assert!(has_heavy(&[operator("Relu"), operator("QLinearConv")]));
        assert!(!has_heavy(&[operator("TreeEnsembleClassifier"), operator("Cast")]));
    }

    proptest! {
        #[test]
        fn cores_are_never_promised_twice(bytes in 0_u64..1 << 32, instances in 1_usize..64, cores in 1_usize..256) {
            let facts = Facts { model_bytes: bytes, instances, cores, heavy_operators: true, varying_shapes: true };
            let plan = plan_from(&BTreeMap::new(), &BTreeMap::new(), 0, facts).unwrap();
            prop_assert!(plan.intra_op_threads >= 1);
            prop_assert!(plan.intra_op_threads == 1 || plan.intra_op_threads * instances <= cores);
            prop_assert!(!plan.memory_pattern);
        }
    }
}
