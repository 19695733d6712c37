//! Auto-completion by Triton's rules.

use hanok_model_config::{
    CompletionFacts, ConfigError, LoadedConfig, ModelSignature, Scheduling, SignatureTensor, VersionPolicy,
    load_config, read_onnx_signature, to_json,
};
use hanok_tensor::DataType;
use serde_json::json;

fn facts() -> CompletionFacts {
    CompletionFacts { model_files: vec!["model.onnx".to_owned()], ..CompletionFacts::new("m") }
}

fn signature(inputs: &[(&str, &[i64])], outputs: &[(&str, &[i64])]) -> ModelSignature {
    let tensors = |list: &[(&str, &[i64])]| {
        list.iter().map(|(name, dims)| SignatureTensor::new(*name, DataType::Fp32, dims)).collect()
    };
    ModelSignature { inputs: tensors(inputs), overridable_inputs: Vec::new(), outputs: tensors(outputs) }
}

fn load(text: &str, signature: &ModelSignature) -> LoadedConfig {
    load_config(text, &facts(), Some(signature)).unwrap()
}

fn problems(text: &str, signature: &ModelSignature) -> Vec<String> {
    match load_config(text, &facts(), Some(signature)) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn an_empty_configuration_is_filled_from_folder_and_graph() {
    let loaded = load("", &signature(&[("x", &[-1, 3, -1])], &[("y", &[-1])]));
    let config = &loaded.config;
    assert_eq!(
        (config.name.as_str(), config.backend.as_str(), config.platform.as_str()),
        ("m", "onnxruntime", "onnxruntime_onnx")
    );
    assert_eq!(config.default_model_filename, "model.onnx");
    assert_eq!(config.max_batch_size, 4);
    assert_eq!(&*config.inputs[0].dims, [3, -1]);
    assert_eq!((&*config.outputs[0].dims, config.outputs[0].reshape.as_deref()), (&[1][..], Some(&[][..])));
    assert_eq!(config.version_policy, VersionPolicy::Latest { count: 1 });
    let Scheduling::Dynamic(batching) = &config.scheduling else { panic!("no dynamic batcher") };
    assert_eq!(batching.preferred_batch_sizes, [4]);
    let json = to_json(&config.wire);
    assert_eq!(json["instance_group"][0]["kind"], json!("KIND_CPU"));
    assert_eq!((&json["instance_group"][0]["name"], &json["instance_group"][0]["count"]), (&json!("m"), &json!(1)));
    let filled: Vec<_> = loaded.filled.iter().map(|field| format!("{} = {}", field.path, field.value)).collect();
    assert_eq!(
        filled,
        [
            "name = m",
            "backend = onnxruntime",
            "platform = onnxruntime_onnx",
            "default_model_filename = model.onnx",
            "max_batch_size = 4",
            "dynamic_batching = {}",
            "input[0] = x TYPE_FP32 [3,-1]",
            "output[0] = y TYPE_FP32 [1]",
            "version_policy.latest.num_versions = 1",
            "dynamic_batching.preferred_batch_size = [4]",
            "instance_group[0] = m",
            "instance_group[0].kind = KIND_CPU",
            "instance_group[0].count = 1",
        ]
    );
    assert!(loaded.filled.iter().all(|field| !field.reason.is_empty()));
}

#[test]
fn a_completed_configuration_is_complete() {
    let signature = signature(&[("x", &[-1, 3])], &[("y", &[-1, 2])]);
    let first = load("", &signature);
    let json = to_json(&first.config.wire).to_string();
    let mut wire = hanok_model_config::parse_json(&json).unwrap();
    let filled = hanok_model_config::complete(&mut wire, Some(&signature), &facts()).unwrap();
    assert_eq!(filled, []);
    assert_eq!(wire, first.config.wire);
}

#[test]
fn a_graph_with_a_fixed_first_dimension_does_not_batch() {
    let fixed = signature(&[("x", &[1, 3])], &[("y", &[-1, 2])]);
    let config = load("", &fixed).config;
    assert_eq!(config.max_batch_size, 0);
    assert_eq!(config.scheduling, Scheduling::Default);
    assert_eq!((&*config.inputs[0].dims, &*config.outputs[0].dims), (&[1, 3][..], &[-1, 2][..]));
    let found = problems("max_batch_size: 8", &fixed);
    assert!(found[0].starts_with("max_batch_size: autofill failed for model 'm': model does not support batching while non-zero max_batch_size is specified"), "{found:?}");
}

#[test]
fn a_given_batch_size_or_scheduler_is_kept() {
    let batching = signature(&[("x", &[-1, 3])], &[("y", &[-1, 2])]);
    let config = load("max_batch_size: 32", &batching).config;
    assert_eq!(config.max_batch_size, 32);
    assert!(matches!(config.scheduling, Scheduling::Dynamic(_)));
    assert_eq!(load("max_batch_size: 1", &batching).config.scheduling, Scheduling::Default);
    assert!(matches!(load("sequence_batching { }", &batching).config.scheduling, Scheduling::Sequence(_)));
    let none = CompletionFacts { default_max_batch_size: 0, ..facts() };
    assert_eq!(load_config("", &none, Some(&batching)).unwrap().config.max_batch_size, 0);
}

#[test]
fn declared_inputs_and_outputs_mean_that_no_batch_size_means_none() {
    let batching = signature(&[("x", &[-1, 3])], &[("y", &[-1, 2])]);
    let whole = "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3 ] } output { name: 'y' data_type: TYPE_FP32 dims: [ -1, 2 ] }";
    let config = load(whole, &batching).config;
    assert_eq!((config.max_batch_size, config.scheduling), (0, Scheduling::Default));
    // Only one side declared: its rank tells whether the first dimension is in it.
    let config = load("input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 3 ] }", &batching).config;
    assert_eq!((config.max_batch_size, &*config.outputs[0].dims), (0, &[-1, 2][..]));
    let config = load("input { name: 'x' data_type: TYPE_FP32 dims: 3 }", &batching).config;
    assert_eq!((config.max_batch_size, &*config.outputs[0].dims), (4, &[2][..]));
}

#[test]
fn declared_tensors_are_checked_against_the_graph() {
    let graph = signature(&[("x", &[-1, 3]), ("z", &[-1, 2])], &[("y", &[-1, 2])]);
    let text = "max_batch_size: 8 input { name: 'x' data_type: TYPE_INT32 dims: 4 } input { name: 'w' data_type: TYPE_FP32 dims: 3 }
        output { name: 'y' data_type: TYPE_FP32 dims: [ 2, 2 ] }";
    assert_eq!(
        problems(text, &graph),
        [
            "input: unable to load model 'm', configuration expects 2 inputs, model provides 2; missing are `z`",
            "input[0].data_type: unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'x', model provides TYPE_FP32",
            "input[0].dims: model 'm', tensor 'x': the model expects shape [-1,3] but the model configuration specifies shape [-1,4]",
            "input[1].name: unexpected inference input 'w', allowed inputs are: x, z",
            "output[0].dims: model 'm', tensor 'y': the model expects 2 dimensions (shape [-1,2]) but the model configuration \
             specifies 3 dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor \
             shape, making complete shape [-1,2,2])",
        ]
    );
}

#[test]
fn a_declared_dimension_may_be_narrower_but_not_wider() {
    let graph = signature(&[("x", &[-1, -1])], &[("y", &[-1, 2])]);
    let text = |input: &str, output: &str| {
        format!(
            "max_batch_size: 8 input {{ name: 'x' data_type: TYPE_FP32 dims: {input} }} output {{ name: 'y' data_type: TYPE_FP32 dims: {output} }}"
        )
    };
    assert_eq!(&*load(&text("7", "2"), &graph).config.inputs[0].dims, [7]);
    assert_eq!(problems(&text("7", "-1"), &graph).len(), 1);
    let reshaped = "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: [ 2, 3 ] reshape { shape: 6 } } output { name: 'y' data_type: TYPE_FP32 dims: 2 }";
    assert_eq!(load(reshaped, &graph).config.inputs[0].model_dims().to_vec(), [6]);
}

#[test]
fn batching_needs_a_varying_first_dimension_in_declared_tensors() {
    let graph = signature(&[("x", &[1, 3])], &[("y", &[1, 2])]);
    let text = "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: 3 } output { name: 'y' data_type: TYPE_FP32 dims: 2 }";
    assert_eq!(
        problems(text, &graph)[0],
        "input[0].dims: model 'm', tensor 'x': for the model to support batching the shape should have at least 1 dimension \
         and the first dimension must be -1; but shape expected by the model is [1,3]"
    );
}

#[test]
fn scalars_are_one_element_to_clients() {
    let graph = signature(&[("x", &[])], &[("y", &[])]);
    for text in
        ["", "input { name: 'x' data_type: TYPE_FP32 dims: 1 } output { name: 'y' data_type: TYPE_FP32 dims: 1 }"]
    {
        let config = load(text, &graph).config;
        assert_eq!(config.max_batch_size, 0);
        assert_eq!((&*config.inputs[0].dims, config.inputs[0].model_dims().rank()), (&[1][..], 0));
        assert_eq!((&*config.outputs[0].dims, config.outputs[0].model_dims().rank()), (&[1][..], 0));
    }
}

#[test]
fn what_the_graph_does_not_tell_must_be_declared() {
    let mut graph = signature(&[("x", &[-1, 3])], &[("y", &[-1, 2])]);
    graph.outputs.push(SignatureTensor { name: "list".to_owned(), data_type: None, dims: None });
    graph.outputs.push(SignatureTensor { name: "any".to_owned(), data_type: Some(DataType::Fp32), dims: None });
    let found = problems("", &graph);
    assert!(
        found[0].starts_with("output[1]: the graph gives `list` no tensor type that can be served; declare"),
        "{found:?}"
    );
    assert!(found[1].starts_with("output[1]: the graph gives `any` no shape; declare"), "{found:?}");
    let declared = "max_batch_size: 2 input { name: 'x' data_type: TYPE_FP32 dims: 3 } output { name: 'any' data_type: TYPE_FP32 dims: [ 5, -1 ] }";
    assert_eq!(&*load(declared, &graph).config.outputs[0].dims, [5, -1]);
    assert_eq!(
        problems(&format!("{declared} output {{ name: 'list' data_type: TYPE_FP32 dims: 1 }}"), &graph),
        ["output[1]: output `list` of the graph is not a tensor that can be served"]
    );
}

#[test]
fn controls_of_a_sequence_are_not_inputs() {
    let graph = signature(&[("x", &[-1, 3]), ("START", &[-1, 1])], &[("y", &[-1, 2])]);
    let control = |name: &str| {
        format!(
            "max_batch_size: 2 sequence_batching {{ control_input {{ name: '{name}' control {{ fp32_false_true: [ 0, 1 ] }} }} }}"
        )
    };
    let config = load(&control("START"), &graph).config;
    assert_eq!(config.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["x"]);
    let Scheduling::Sequence(sequence) = config.scheduling else { panic!("no sequence batcher") };
    assert_eq!(sequence.max_sequence_idle.as_secs(), 1);
    assert_eq!(
        problems(&control("BEGIN"), &graph)[0],
        "sequence_batching.control_input[0].name: unable to load model 'm', configuration specified sequence control 'BEGIN', \
         but model does not provide that input"
    );
}

#[test]
fn overridable_inputs_may_be_declared_and_need_not() {
    let bytes = include_bytes!("../golden/batching.onnx");
    let graph = read_onnx_signature(bytes).unwrap().signature;
    assert_eq!(load("", &graph).config.inputs.len(), 1);
    let text =
        "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 2 ] } input { name: 'weight' data_type: TYPE_FP32 dims: 2 }
        output { name: 'y' data_type: TYPE_FP32 dims: [ -1, 2 ] }";
    assert_eq!(load(text, &graph).config.inputs.len(), 2);
}

#[test]
fn backend_and_platform_follow_from_each_other() {
    let tensors = "input { name: 'x' data_type: TYPE_FP32 dims: 1 } output { name: 'y' data_type: TYPE_FP32 dims: 1 }";
    let bare = CompletionFacts::new("m");
    let load = |text: &str, facts: &CompletionFacts| {
        load_config(&format!("{text} {tensors}"), facts, None).map(|loaded| loaded.config)
    };
    for (text, facts, backend, platform, file) in [
        ("platform: 'onnxruntime_onnx'", &bare, "onnxruntime", "onnxruntime_onnx", "model.onnx"),
        ("backend: 'onnxruntime'", &bare, "onnxruntime", "onnxruntime_onnx", "model.onnx"),
        ("default_model_filename: 'net.onnx'", &bare, "onnxruntime", "onnxruntime_onnx", "net.onnx"),
        ("backend: 'tract'", &facts(), "tract", "", "model.onnx"),
        ("backend: 'identity'", &facts(), "identity", "", ""),
    ] {
        let config = load(text, facts).unwrap();
        assert_eq!(
            (config.backend.as_str(), config.platform.as_str(), config.default_model_filename.as_str()),
            (backend, platform, file),
            "{text}"
        );
    }
    for (text, message) in [
        ("", "backend: must specify 'platform' or 'backend' for 'm'"),
        ("platform: 'pytorch_libtorch'", "platform: unexpected platform type 'pytorch_libtorch' for m"),
        (
            "platform: 'tensorrt_plan' backend: 'onnxruntime'",
            "platform: unexpected 'platform' and 'backend' pair, got:tensorrt_plan, onnxruntime",
        ),
        (
            "backend: 'b' name: 'other'",
            "name: unexpected directory name 'm' for model 'other', directory name must equal model name",
        ),
    ] {
        assert_eq!(load(text, &bare).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn instance_groups_are_named_and_placed() {
    let text = "backend: 'b' instance_group [ { }, { count: 3 kind: KIND_AUTO gpus: [ 0 ] }, { name: 'mine' kind: KIND_MODEL } ]
        input { name: 'x' data_type: TYPE_FP32 dims: 1 } output { name: 'y' data_type: TYPE_FP32 dims: 1 }";
    let groups = |gpu_available: bool| {
        let facts = CompletionFacts { gpu_available, ..CompletionFacts::new("m") };
        let config = load_config(text, &facts, None).unwrap().config;
        config
            .instance_groups
            .iter()
            .map(|group| format!("{} {:?} {} {:?}", group.name, group.kind, group.count, group.gpus))
            .collect::<Vec<_>>()
    };
    assert_eq!(groups(false), ["m_0 Cpu 1 []", "m_1 Cpu 3 []", "mine Model 1 []"]);
    assert_eq!(groups(true), ["m_0 Auto 1 []", "m_1 Auto 3 [0]", "mine Model 1 []"]);
}
