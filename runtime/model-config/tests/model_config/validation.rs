//! What is refused, and what is accepted with a notice.

use hanok_model_config::{
    CompletionFacts, ConfigError, LoadedConfig, QueuePolicy, Scheduling, SequenceControlKind, TimeoutAction,
    WarmupData, load_config,
};
use hanok_tensor::DataType;

const TENSORS: &str =
    "input { name: 'x' data_type: TYPE_FP32 dims: [ 4 ] } output { name: 'y' data_type: TYPE_FP32 dims: [ -1 ] }";

fn load(text: &str) -> Result<LoadedConfig, ConfigError> {
    load_config(&format!("backend: 'identity' {text}"), &CompletionFacts::new("m"), None)
}

fn problems(text: &str) -> Vec<String> {
    match load(text) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

/// Each text is refused with exactly this one problem.
fn refused(prefix: &str, cases: &[(&str, &str)]) {
    for (text, problem) in cases {
        assert_eq!(problems(&format!("{prefix} {text}")), [*problem], "{text}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "name: 'other' max_batch_size: 8 input { name: 'x' dims: [ 0 ] }
        output { name: 'y' data_type: TYPE_FP32 dims: 1 label_filename: '../labels' }
        dynamic_batching { preferred_batch_size: [ 4, 16 ] } instance_group { count: -1 } version_policy { specific { } }";
    assert_eq!(
        problems(text),
        [
            "name: unexpected directory name 'm' for model 'other', directory name must equal model name",
            "version_policy.specific.versions: must name at least one version",
            "input[0].data_type: 'x' must specify 'data_type'",
            "input[0].dims[0]: dimension must be integer >= 1, or -1 to indicate a variable-size dimension, got `0`",
            "output[0].label_filename: expected the name of a file within the folder, got `../labels`",
            "dynamic_batching.preferred_batch_size[1]: `16` exceeds max_batch_size `8`",
            "instance_group[0].count: expected a count of at least `1`, got `-1`",
        ]
    );
}

#[test]
fn tensors_are_bounded_and_distinct() {
    let output = "output { name: 'y' data_type: TYPE_FP32 dims: 1 }";
    let input = |fields: &str| format!("{output} input {{ {fields} }}");
    for (fields, problem) in [
        ("data_type: TYPE_FP32 dims: 1", "input[0].name: must specify 'name'"),
        ("name: 'x' data_type: TYPE_FP32", "input[0].dims: 'x' must specify 'dims'"),
        (
            "name: 'x' data_type: TYPE_FP32 dims: [ 1, -2 ]",
            "input[0].dims[1]: dimension must be integer >= 1, or -1 to indicate a variable-size dimension, got `-2`",
        ),
        (
            "name: 'x' data_type: TYPE_FP32 dims: [ 4294967296, 4294967296 ]",
            "input[0].dims: one batch exceeds the maximum of `9223372036854775807` bytes: `0` rows of [4294967296,4294967296]",
        ),
        (
            "name: 'x' data_type: TYPE_FP32 dims: 6 reshape { shape: [ 2, 2 ] }",
            "input[0].reshape: 'x' has different size for dims and reshape: dims are [6], reshape is [2,2]",
        ),
        (
            "name: 'x' data_type: TYPE_FP32 dims: -1 reshape { shape: [ 2, 2 ] }",
            "input[0].reshape: 'x' has different size for dims and reshape: dims are [-1], reshape is [2,2]",
        ),
        (
            "name: 'x' data_type: TYPE_FP32 dims: 4 format: FORMAT_NHWC",
            "input[0].format: model input NHWC/NCHW require 3 dims",
        ),
        (
            "name: 'x' data_type: TYPE_FP32 dims: 4 allow_ragged_batch: true",
            "input[0].allow_ragged_batch: not offered yet: members of one batch must agree in shape",
        ),
        (
            "name: 'x' data_type: TYPE_FP32 dims: 4 is_shape_tensor: true",
            "input[0].is_shape_tensor: shape tensors are only supported for TensorRT platform",
        ),
    ] {
        assert_eq!(problems(&input(fields)), [problem], "{fields}");
    }
    assert_eq!(
        problems(&format!(
            "max_batch_size: 2147483647 {output} input {{ name: 'x' data_type: TYPE_FP64 dims: 1073741824 }}"
        )),
        [
            "input[0].dims: one batch exceeds the maximum of `9223372036854775807` bytes: `2147483647` rows of [1073741824]"
        ]
    );
    assert_eq!(
        problems(&format!("{TENSORS} input {{ name: 'x' data_type: TYPE_FP32 dims: 1 }}")),
        ["input[1].name: name `x` is declared twice"]
    );
    assert_eq!(
        problems(&format!("{TENSORS} {}", "input{}".repeat(5000))),
        ["input: expected at most `4096` of them, got `5001`"]
    );
    assert_eq!(problems(&format!("{TENSORS} {}", "input{}".repeat(100_000))).len(), 1);
    assert_eq!(
        problems(&format!("{output} input {{ name: 'x' data_type: TYPE_FP32 {} }}", "dims: 1 ".repeat(65))),
        ["input[0].dims: expected at most `64` dimensions, got `65`"]
    );
    assert_eq!(problems("").len(), 2);
    assert_eq!(
        problems(&format!("{TENSORS} max_batch_size: -1")),
        ["max_batch_size: must be non-negative value, got `-1`"]
    );
}

#[test]
fn names_of_files_stay_in_their_folder() {
    for name in ["../model.onnx", "/etc/passwd", "a/b", "..", ".", "a\\\\b", "a\\000b"] {
        assert_eq!(problems(&format!("{TENSORS} default_model_filename: '{name}'")).len(), 1, "{name}");
        assert_eq!(
            problems(&format!("{TENSORS} cc_model_filenames {{ key: '7' value: '{name}' }}")).len(),
            1,
            "{name}"
        );
    }
    assert_eq!(problems(&format!("{TENSORS} default_model_filename: 'model..v2.onnx'")).len(), 0);
}

#[test]
fn dynamic_batching_is_consistent() {
    refused(
        &format!("{TENSORS} max_batch_size: 8"),
        &[
            (
                "dynamic_batching { preferred_batch_size: 0 }",
                "dynamic_batching.preferred_batch_size[0]: dynamic batching preferred size must be positive, got `0`",
            ),
            (
                "dynamic_batching { priority_levels: 2 }",
                "dynamic_batching.default_priority_level: default priority level must be in range [1, 2], got `0`",
            ),
            (
                "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
                "dynamic_batching.default_priority_level: default priority level must be in range [1, 2], got `3`",
            ),
            (
                "dynamic_batching { default_priority_level: 3 }",
                "dynamic_batching.default_priority_level: got `3` where `priority_levels` is `0`",
            ),
            (
                "dynamic_batching { priority_levels: 4294967297 default_priority_level: 1 }",
                "dynamic_batching.priority_levels: expected at most `1024` levels, got `4294967297`",
            ),
            (
                "dynamic_batching { priority_queue_policy { key: 1 } }",
                "dynamic_batching.priority_queue_policy[1]: priority queue policy must have priority level in range [1, 0], got `1`",
            ),
            (
                "dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }",
                "dynamic_batching.priority_levels: only one priority level is allowed when 'preserve_ordering' is true",
            ),
            (
                "dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1 } }",
                "dynamic_batching.default_queue_policy.timeout_action: queue policy can not have DELAY as timeout action when 'preserve_ordering' is true",
            ),
            (
                "dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }",
                "dynamic_batching.max_queue_delay_microseconds: expected at most `31536000000000` microseconds, got `18446744073709551615`",
            ),
        ],
    );
    let text = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 8, 2, 8 ] max_queue_delay_microseconds: 7 priority_levels: 2
        default_priority_level: 2 default_queue_policy { max_queue_size: 9 } priority_queue_policy { key: 1 value {
        timeout_action: DELAY default_timeout_microseconds: 3 allow_timeout_override: true max_queue_size: 5 } } }";
    let Scheduling::Dynamic(batching) = load(&format!("{TENSORS} {text}")).unwrap().config.scheduling else {
        panic!("not dynamic")
    };
    assert_eq!(batching.preferred_batch_sizes, [2, 8]);
    assert_eq!(
        (batching.max_queue_delay.as_micros(), batching.priority_levels, batching.default_priority_level),
        (7, 2, 2)
    );
    let first = batching.queue_policy(1);
    assert_eq!(
        (first.timeout_action, first.default_timeout.as_micros(), first.allow_timeout_override, first.max_queue_size),
        (TimeoutAction::Delay, 3, true, 5)
    );
    assert_eq!(batching.queue_policy(2).max_queue_size, 9);
    let Scheduling::Dynamic(bare) = load(&format!("{TENSORS} dynamic_batching {{ }}")).unwrap().config.scheduling
    else {
        panic!("not dynamic")
    };
    assert_eq!((bare.preferred_batch_sizes.len(), bare.queue_policy(0)), (0, &QueuePolicy::default()));
}

#[test]
fn sequence_batching_takes_direct_only() {
    let control = |name: &str, control: &str| {
        format!("sequence_batching {{ control_input {{ name: '{name}' control {{ {control} }} }} }}")
    };
    let field = "sequence_batching.control_input[0].control[0]";
    for (text, problem) in [
        ("sequence_batching { oldest { } }".to_owned(), "sequence_batching.oldest: not offered yet: sequences are bound to a slot of an instance (`direct`)".to_owned()),
        ("sequence_batching { iterative_sequence: true }".to_owned(), "sequence_batching.iterative_sequence: not offered yet: a request is executed once".to_owned()),
        ("sequence_batching { state { } }".to_owned(), "sequence_batching.state: not offered yet: a model must keep the state of its sequences itself".to_owned()),
        ("sequence_batching { direct { minimum_slot_utilization: 1.5 } }".to_owned(), "sequence_batching.direct.minimum_slot_utilization: sequence batching minimum slot utilization must be in range (0.0, 1.0], got `1.5`".to_owned()),
        (control("", "int32_false_true: [ 0, 1 ]"), "sequence_batching.control_input[0].name: sequence batching control tensor must have a name".to_owned()),
        (control("x", "int32_false_true: [ 0, 1 ]"), "sequence_batching.control_input[0].name: `x` is declared as an input, which clients would have to send".to_owned()),
        (control("S", ""), format!("{field}: sequence batching must specify either 'int32_false_true', 'fp32_false_true' or 'bool_false_true' for CONTROL_SEQUENCE_START")),
        (control("S", "int32_false_true: [ 0 ]"), format!("{field}.int32_false_true: sequence batching control 'int32_false_true' must have exactly 2 entries for CONTROL_SEQUENCE_START, got `1`")),
        (control("S", "int32_false_true: [ 0, 1 ] bool_false_true: [ false, true ]"), format!("{field}: sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and 'bool_false_true' for CONTROL_SEQUENCE_START")),
        (control("C", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32"), format!("{field}.data_type: unexpected data type for control CONTROL_SEQUENCE_CORRID. Allowed data types are TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING, got `TYPE_FP32`")),
    ] {
        assert_eq!(problems(&format!("{TENSORS} {text}")), [problem], "{text}");
    }
    let text = "sequence_batching { max_sequence_idle_microseconds: 5 direct { max_queue_delay_microseconds: 1 minimum_slot_utilization: 0.5 }
        control_input [ { name: 'S' control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } },
        { name: 'E' control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } },
        { name: 'R' control { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ -0.5, 2 ] } },
        { name: 'C' control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } } ] }";
    let loaded = load(&format!("{TENSORS} {text}")).unwrap();
    assert_eq!(loaded.notices.len(), 2);
    let Scheduling::Sequence(sequence) = loaded.config.scheduling else { panic!("not a sequence") };
    let controls: Vec<_> = sequence
        .controls
        .iter()
        .map(|control| {
            (control.name.as_str(), control.kind, control.data_type, control.false_value, control.true_value)
        })
        .collect();
    assert_eq!(
        controls,
        [
            ("S", SequenceControlKind::Start, DataType::Int32, 0.0, 1.0),
            ("E", SequenceControlKind::End, DataType::Bool, 0.0, 1.0),
            ("R", SequenceControlKind::Ready, DataType::Fp32, -0.5, 2.0),
            ("C", SequenceControlKind::CorrelationId, DataType::Bytes, 0.0, 0.0),
        ]
    );
    let doubled = "sequence_batching { control_input { name: 'S' control { int32_false_true: [ 0, 1 ] } } control_input { name: 'S' control { int32_false_true: [ 0, 1 ] } } }";
    assert_eq!(problems(&format!("{TENSORS} {doubled}")).len(), 2);
}

#[test]
fn instance_groups_are_bounded() {
    refused(
        TENSORS,
        &[
            (
                "instance_group { count: 1000000000 }",
                "instance_group: expected at most `1024` instances in all, got `1000000000`",
            ),
            (
                "instance_group { kind: KIND_CPU gpus: 0 }",
                "instance_group[0].gpus: instance group m_0 has kind KIND_CPU but specifies one or more GPUs",
            ),
            (
                "instance_group { kind: KIND_GPU }",
                "instance_group[0].kind: instance group m_0 has kind KIND_GPU but no GPU is available to this model; KIND_CPU and KIND_AUTO are",
            ),
            (
                "instance_group { name: 'a' } instance_group { name: 'a' }",
                "instance_group[1].name: name `a` is given twice",
            ),
            (
                "instance_group { passive: true }",
                "instance_group[0].passive: not offered yet: every instance executes requests",
            ),
            (
                "instance_group { profile: '0' }",
                "instance_group[0].profile: profile field is only supported for TensorRT models",
            ),
            (
                "instance_group { secondary_devices { } }",
                "instance_group[0].secondary_devices: not offered yet: instances run on one kind of device",
            ),
        ],
    );
    let many = "instance_group { count: 2147483647 }".repeat(20_000);
    assert_eq!(
        problems(&format!("{TENSORS} {many}")),
        [format!("instance_group: expected at most `1024` instances in all, got `{}`", 20_000_u64 * 2_147_483_647)]
    );
}

#[test]
fn what_would_change_results_is_refused_by_name() {
    refused(
        TENSORS,
        &[
            (
                "ensemble_scheduling { }",
                "ensemble_scheduling: not offered yet: a model is one model file or one built-in",
            ),
            ("batch_input { }", "batch_input: not offered yet: a model sees the tensors of its requests only"),
            ("batch_output { }", "batch_output: not offered yet: outputs are split by rows"),
            (
                "model_repository_agents { agents { name: 'checksum' } }",
                "model_repository_agents: not offered yet: a model is loaded as it lies in its folder, unchecked by agents",
            ),
            (
                "response_cache { enable: true } model_transaction_policy { decoupled: true }",
                "response_cache.enable: response cache does not support models with 'decoupled' transaction policy",
            ),
        ],
    );
}

#[test]
fn what_has_no_effect_is_named() {
    let text = "runtime: 'r' cc_model_filenames { key: '7' value: 'f' } metric_tags { key: 'a' value: 'b' } model_metrics { }
        model_operations { op_library_filename: 'f' } response_cache { enable: true }
        instance_group { host_policy: 'h' rate_limiter { } }
        optimization { graph { level: 1 } priority: PRIORITY_MIN cuda { graphs: true } execution_accelerators {
        gpu_execution_accelerator { name: 'tensorrt' } cpu_execution_accelerator { name: 'openvino' } }
        input_pinned_memory { enable: true } output_pinned_memory { enable: false } gather_kernel_buffer_threshold: 1 eager_batching: true }";
    let loaded = load(&format!("{TENSORS} {text}")).unwrap();
    let mut paths: Vec<_> = loaded.notices.iter().map(|notice| notice.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "cc_model_filenames",
            "instance_group[0].host_policy",
            "instance_group[0].rate_limiter",
            "metric_tags",
            "model_metrics",
            "model_operations.op_library_filename",
            "optimization.cuda",
            "optimization.eager_batching",
            "optimization.execution_accelerators.cpu_execution_accelerator",
            "optimization.execution_accelerators.gpu_execution_accelerator",
            "optimization.gather_kernel_buffer_threshold",
            "optimization.graph",
            "optimization.input_pinned_memory",
            "optimization.output_pinned_memory",
            "optimization.priority",
            "response_cache.enable",
            "runtime",
        ]
    );
    let silent = "response_cache { } model_repository_agents { } model_operations { } optimization { priority: PRIORITY_DEFAULT }";
    assert_eq!(load(&format!("{TENSORS} {silent}")).unwrap().notices, []);
}

#[test]
fn warm_up_fits_the_inputs() {
    let warmup = |fields: &str| format!("{TENSORS} max_batch_size: 2 model_warmup {{ name: 'w' {fields} }}");
    let input = |fields: &str| warmup(&format!("inputs {{ key: 'x' value {{ {fields} }} }}"));
    let path = "model_warmup[0].inputs[\"x\"]";
    for (text, problem) in [
        (warmup(""), "model_warmup[0].inputs: lacks input `x`".to_owned()),
        (warmup("batch_size: 3"), "model_warmup[0].batch_size: `3` exceeds max_batch_size `2`".to_owned()),
        (
            input("data_type: TYPE_FP32 dims: 4"),
            format!("{path}: must set one of 'zero_data', 'random_data' and 'input_data_file'"),
        ),
        (
            input("data_type: TYPE_INT8 dims: 4 zero_data: true"),
            format!("{path}.data_type: expected `TYPE_FP32`, got `TYPE_INT8`"),
        ),
        (
            input("data_type: TYPE_FP32 dims: 5 zero_data: true"),
            format!("{path}.dims: expected dimensions that fit [4], got [5]"),
        ),
        (
            input("data_type: TYPE_FP32 dims: 4 input_data_file: '../x'"),
            format!(
                "{path}.input_data_file: expected the name of a file within the model's `warmup` folder, got `../x`"
            ),
        ),
        (
            format!(
                "{} model_warmup {{ count: 100001 inputs {{ key: 'x' value {{ data_type: TYPE_FP32 dims: 4 zero_data: true }} }} }}",
                TENSORS
            ),
            "model_warmup[0].count: expected at most `100000` executions, got `100001`".to_owned(),
        ),
    ] {
        assert_eq!(problems(&text), [problem], "{text}");
    }
    let large = "input { name: 'x' data_type: TYPE_FP32 dims: -1 } output { name: 'y' data_type: TYPE_FP32 dims: 1 }
        model_warmup { inputs { key: 'x' value { data_type: TYPE_FP32 dims: 9000000000 zero_data: true } } }";
    assert_eq!(
        problems(large),
        [format!("{path}.dims: `1` rows of [9000000000] exceed the maximum of `1073741824` bytes")]
    );
    let config = load(&input("data_type: TYPE_FP32 dims: 4 input_data_file: 'set/x.raw'")).unwrap().config;
    assert_eq!(config.warmup[0].inputs[0].data, WarmupData::File("set/x.raw".to_owned()));
}

#[test]
fn what_is_about_gpus_is_named_where_no_group_is_on_one() {
    let text = "optimization { priority: PRIORITY_MAX cuda { graphs: true } gather_kernel_buffer_threshold: 1 eager_batching: true
        execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' } }
        input_pinned_memory { enable: true } output_pinned_memory { enable: false } }";
    let paths = |group: &str| -> Vec<String> {
        let facts = CompletionFacts { gpu_available: true, ..CompletionFacts::new("m") };
        let text = format!("backend: 'identity' {TENSORS} {text} instance_group {{ {group} }}");
        load_config(&text, &facts, None).unwrap().notices.into_iter().map(|notice| notice.path).collect()
    };
    let on_the_gpu = ["optimization.output_pinned_memory", "optimization.gather_kernel_buffer_threshold"];
    assert_eq!(paths("kind: KIND_GPU"), on_the_gpu);
    assert_eq!(paths("kind: KIND_AUTO"), on_the_gpu);
    assert_eq!(
        paths("kind: KIND_CPU"),
        [
            "optimization.priority",
            "optimization.cuda",
            "optimization.execution_accelerators.gpu_execution_accelerator",
            "optimization.input_pinned_memory",
            "optimization.output_pinned_memory",
            "optimization.gather_kernel_buffer_threshold",
            "optimization.eager_batching",
        ]
    );
}

#[test]
fn what_of_cuda_means_nothing_is_named() {
    let notices = |cuda: &str| -> Vec<String> {
        let facts = CompletionFacts { gpu_available: true, ..CompletionFacts::new("m") };
        let text = format!(
            "backend: 'identity' {TENSORS} optimization {{ cuda {{ {cuda} }} }} instance_group {{ kind: KIND_GPU }}"
        );
        let notices = load_config(&text, &facts, None).unwrap().notices;
        notices.into_iter().map(|notice| notice.path.replace("optimization.cuda.", "")).collect()
    };
    assert_eq!(notices("busy_wait_events: true graphs: true"), ["busy_wait_events"]);
    assert_eq!(notices("graph_spec { batch_size: 1 }"), ["graph_spec"]);
    assert_eq!(
        notices("graphs: true graph_spec { graph_lower_bound { batch_size: 1 } }"),
        ["graph_spec.graph_lower_bound"]
    );
    assert_eq!(notices("graphs: true output_copy_stream: true graph_spec { batch_size: 1 }"), [""; 0]);
}

#[test]
fn the_level_of_the_graph_is_a_matter_of_one_backend() {
    let text = |backend: &str| format!("backend: '{backend}' {TENSORS} optimization {{ graph {{ level: 1 }} }}");
    let notices = |backend: &str| load_config(&text(backend), &CompletionFacts::new("m"), None).unwrap().notices.len();
    assert_eq!((notices("onnxruntime"), notices("identity")), (0, 1));
}
