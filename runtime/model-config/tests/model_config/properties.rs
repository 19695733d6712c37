//! Properties of the readers on random configurations and random text.

use std::fmt::Write;

use hanok_model_config::{CompletionFacts, ConfigError, load_config, parse_json, parse_pbtxt, to_json, wire};
use proptest::prelude::*;
use proptest::test_runner::TestRng;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

fn descriptor() -> MessageDescriptor {
    DescriptorPool::decode(hanok_model_config::FILE_DESCRIPTOR_SET)
        .unwrap()
        .get_message_by_name("inference.ModelConfig")
        .unwrap()
}

fn random_value(kind: &Kind, random: &mut TestRng) -> Value {
    let bits = random.next_u64() >> (random.next_u32() % 64);
    match kind {
        Kind::Bool => Value::Bool(bits % 2 == 1),
        Kind::Int32 => Value::I32(bits as i32),
        Kind::Int64 => Value::I64(bits as i64),
        Kind::Uint32 => Value::U32(bits as u32),
        Kind::Uint64 => Value::U64(bits),
        Kind::Float => Value::F32((bits as i32) as f32 / 1024.0),
        Kind::Double => Value::F64((bits as i64) as f64 / 1024.0),
        Kind::String => {
            let alphabet = ['a', '_', '"', '\'', '\\', '\n', '\t', '\0', '#', 'é', '😀', '}'];
            Value::String((0..bits % 6).map(|_| alphabet[random.next_u32() as usize % alphabet.len()]).collect())
        }
        Kind::Enum(enumeration) => {
            let values: Vec<_> = enumeration.values().collect();
            Value::EnumNumber(values[bits as usize % values.len()].number())
        }
        Kind::Message(message) => Value::Message(random_message(message, random)),
        other => panic!("no such field: {other:?}"),
    }
}

fn random_message(descriptor: &MessageDescriptor, random: &mut TestRng) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if !random.next_u32().is_multiple_of(3) {
            continue;
        }
        let count = 1 + random.next_u32() % 3;
        let kind = field.kind();
        let value = if field.is_map() {
            let entry = kind.as_message().unwrap();
            let (key, value) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            Value::Map(
                (0..count)
                    .map(|_| (random_value(&key, random).into_map_key().unwrap(), random_value(&value, random)))
                    .collect(),
            )
        } else if field.is_list() {
            Value::List((0..count).map(|_| random_value(&kind, random)).collect())
        } else {
            random_value(&kind, random)
        };
        message.set_field(&field, value);
    }
    message
}

/// Writes a message as text; a second, independent notion of the format.
fn write_message(message: &DynamicMessage, out: &mut String) {
    for (field, value) in message.fields() {
        match value {
            Value::List(values) => values.iter().for_each(|value| write_field(&field, value, out)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    write!(out, "{} {{ key: ", field.name()).unwrap();
                    match key {
                        MapKey::String(key) => write_string(key, out),
                        MapKey::U64(key) => write!(out, "{key}").unwrap(),
                        other => panic!("no such key: {other:?}"),
                    }
                    out.push(' ');
                    let entry = field.kind();
                    write_field(&entry.as_message().unwrap().map_entry_value_field(), value, out);
                    out.push_str("}\n");
                }
            }
            value => write_field(&field, value, out),
        }
    }
}

fn write_field(field: &FieldDescriptor, value: &Value, out: &mut String) {
    write!(out, "{}: ", field.name()).unwrap();
    match value {
        Value::Bool(value) => write!(out, "{value}").unwrap(),
        Value::I32(value) => write!(out, "{value}").unwrap(),
        Value::I64(value) => write!(out, "{value}").unwrap(),
        Value::U32(value) => write!(out, "{value}").unwrap(),
        Value::U64(value) => write!(out, "{value}").unwrap(),
        Value::F32(value) => write!(out, "{value:?}").unwrap(),
        Value::F64(value) => write!(out, "{value:?}").unwrap(),
        Value::String(value) => write_string(value, out),
        Value::EnumNumber(number) => out.push_str(field.kind().as_enum().unwrap().get_value(*number).unwrap().name()),
        Value::Message(message) => {
            out.push_str("{\n");
            write_message(message, out);
            out.push('}');
        }
        other => panic!("no such value: {other:?}"),
    }
    out.push('\n');
}

fn write_string(value: &str, out: &mut String) {
    out.push('"');
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'_' | b'#' | b'}' => out.push(char::from(byte)),
            byte => write!(out, "\\{byte:03o}").unwrap(),
        }
    }
    out.push('"');
}

fn random_config() -> impl Strategy<Value = DynamicMessage> {
    Just(()).prop_perturb(|(), mut random| random_message(&descriptor(), &mut random))
}

proptest! {
    #[test]
    fn any_configuration_survives_text_and_json(message in random_config()) {
        let config: wire::ModelConfig = message.transcode_to().unwrap();
        let mut text = String::new();
        write_message(&message, &mut text);
        prop_assert_eq!(&parse_pbtxt(&text).unwrap(), &config);
        let json = to_json(&config).to_string();
        prop_assert_eq!(&parse_json(&json).unwrap(), &config);
    }

    #[test]
    fn any_configuration_is_validated_or_refused_without_panic(message in random_config()) {
        let mut text = String::new();
        write_message(&message, &mut text);
        match load_config(&text, &CompletionFacts::new("m"), None) {
            Ok(loaded) => prop_assert_eq!(loaded.config.name, "m"),
            Err(ConfigError::Invalid(problems)) => prop_assert!(!problems.is_empty()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        drop(parse_pbtxt(&text));
        drop(parse_json(&text));
    }

    #[test]
    fn random_tokens_never_panic(tokens in proptest::collection::vec(0_usize..24, 0..60)) {
        const TOKENS: [&str; 24] = [
            "name", "input", "dims", "dynamic_batching", "parameters", "key", "value", ":", "{", "}", "[", "]", "<", ">", ",",
            ";", "-", "1", "0x1f", "1.5e9", "'a\\", "\"b\"", "#", "\n",
        ];
        let text: String = tokens.iter().map(|&index| TOKENS[index]).collect::<Vec<_>>().join(" ");
        drop(parse_pbtxt(&text));
    }

    #[test]
    fn a_mistake_is_reported_on_its_own_line(before in 0_usize..20, indent in 0_usize..10) {
        let text = format!("{}{}inptu {{ }}", "# filler\n".repeat(before), " ".repeat(indent));
        prop_assert_eq!(
            parse_pbtxt(&text).unwrap_err(),
            ConfigError::Syntax {
                line: before + 1,
                column: indent + 1,
                message: "unknown field `inptu` in `ModelConfig`; did you mean `input`".to_owned(),
            }
        );
    }
}
