//! One sample that sets every field of the protocol, and the styles of Triton's documentation.

use std::collections::BTreeSet;

use hanok_model_config::{
    CompletionFacts, ConfigError, Scheduling, VersionPolicy, load_config, parse_json, parse_pbtxt, to_json,
};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use serde_json::Value;

/// Several texts, since the members of a oneof exclude each other.
const SAMPLES: [&str; 4] = [
    include_str!("../samples/every_field_dynamic.pbtxt"),
    include_str!("../samples/every_field_sequence.pbtxt"),
    include_str!("../samples/every_field_direct.pbtxt"),
    include_str!("../samples/every_field_ensemble.pbtxt"),
];

/// Names of all fields below `descriptor`, as paths of names.
fn paths(descriptor: &MessageDescriptor, prefix: &str, found: &mut BTreeSet<String>) {
    for field in descriptor.fields() {
        let path = format!("{prefix}.{}", field.name());
        let kind = field.kind();
        let inner = kind.as_message().map(|message| {
            if field.is_map() {
                message.map_entry_value_field().kind().as_message().cloned()
            } else {
                Some(message.clone())
            }
        });
        found.insert(path.clone());
        if let Some(Some(message)) = inner {
            paths(&message, &path, found);
        }
    }
}

/// Paths of all members that hold something other than a default.
fn given(json: &Value, descriptor: &MessageDescriptor, prefix: &str, found: &mut BTreeSet<String>) {
    for field in descriptor.fields() {
        let Some(value) = json.get(field.name()) else { continue };
        let path = format!("{prefix}.{}", field.name());
        let is_default = match value {
            Value::Array(values) => values.is_empty(),
            Value::Object(members) => field.is_map() && members.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::Null => true,
        };
        // A default that a message with presence or an enum may hold counts as given.
        if is_default && !field.supports_presence() {
            continue;
        }
        found.insert(path.clone());
        let kind = field.kind();
        let Some(message) = kind.as_message() else { continue };
        let elements: Vec<&Value> = match value {
            Value::Array(values) => values.iter().collect(),
            Value::Object(members) if field.is_map() => members.values().collect(),
            value => vec![value],
        };
        let inner = if field.is_map() {
            message.map_entry_value_field().kind().as_message().cloned()
        } else {
            Some(message.clone())
        };
        if let Some(inner) = inner {
            elements.into_iter().for_each(|element| given(element, &inner, &path, found));
        }
    }
}

#[test]
fn every_field_of_the_protocol_is_parsed() {
    let pool = DescriptorPool::decode(hanok_model_config::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("inference.ModelConfig").unwrap();
    let mut all = BTreeSet::new();
    paths(&descriptor, "", &mut all);
    let mut found = BTreeSet::new();
    for sample in SAMPLES {
        let config = parse_pbtxt(sample).unwrap();
        let json = to_json(&config);
        assert_eq!(parse_json(&json.to_string()).unwrap(), config);
        given(&json, &descriptor, "", &mut found);
    }
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every field that is set must be acted upon, refused or warned about. Those acted upon are listed here, so that a
/// new field of the protocol fails this test until somebody decides.
#[test]
fn no_field_is_ignored_in_silence() {
    const ACTED_UPON: [&str; 15] = [
        "name",
        "platform",
        "backend",
        "version_policy",
        "max_batch_size",
        "input",
        "output",
        "dynamic_batching",
        "sequence_batching",
        "instance_group",
        "default_model_filename",
        "parameters",
        "model_warmup",
        "model_transaction_policy",
        "optimization",
    ];
    let pool = DescriptorPool::decode(hanok_model_config::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("inference.ModelConfig").unwrap();
    for field in descriptor.fields().filter(|field| !ACTED_UPON.contains(&field.name())) {
        let value = match field.name() {
            "runtime" => "'libother.so'",
            "cc_model_filenames" | "metric_tags" => "{ key: 'a' value: 'b' }",
            "response_cache" => "{ enable: true }",
            "model_operations" => "{ op_library_filename: 'op.so' }",
            "model_repository_agents" => "{ agents { name: 'checksum' } }",
            _ => "{ }",
        };
        let text = format!(
            "backend: 'identity' {}: {value} input {{ name: 'x' data_type: TYPE_FP32 dims: 1 }} output {{ name: 'y' data_type: TYPE_FP32 dims: 1 }}",
            field.name()
        );
        let named = match load_config(&text, &CompletionFacts::new("m"), None) {
            Ok(loaded) => loaded.notices.iter().any(|notice| notice.path.starts_with(field.name())),
            Err(ConfigError::Invalid(problems)) => {
                problems.iter().any(|problem| problem.path.starts_with(field.name()))
            }
            Err(other) => panic!("{other}"),
        };
        assert!(named, "{}", field.name());
    }
}

#[test]
fn the_styles_of_documents_and_examples_are_read() {
    let loaded =
        load_config(include_str!("../samples/documented_styles.pbtxt"), &CompletionFacts::new("styles"), None).unwrap();
    let config = loaded.config;
    assert_eq!((config.max_batch_size, config.inputs.len(), config.outputs.len()), (8, 3, 2));
    assert_eq!(&*config.inputs[0].dims, [3, 224, 224]);
    assert_eq!(&*config.inputs[1].dims, [-1]);
    assert_eq!(config.inputs[2].reshape.as_deref(), Some(&[][..]));
    assert_eq!(config.outputs[0].label_filename.as_deref(), Some("labels.txt"));
    assert_eq!(config.version_policy, VersionPolicy::Specific(vec![1, 3]));
    assert_eq!(config.parameters["intra_op_thread_count"], "1");
    assert_eq!(config.warmup.len(), 1);
    let Scheduling::Dynamic(batching) = config.scheduling else { panic!("not dynamic") };
    assert_eq!(batching.preferred_batch_sizes, [4, 8]);
    assert_eq!(batching.max_queue_delay.as_micros(), 100);
    assert!(loaded.notices.is_empty(), "{:?}", loaded.notices);
}
