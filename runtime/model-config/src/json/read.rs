//! From JSON to messages.

use std::collections::{HashMap, HashSet};

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde_json::{Map, Value as Json};

use crate::pbtxt::MAXIMUM_TEXT_BYTES;
use crate::scalar::{float_value, integer_value, kind_name};
use crate::suggestion::did_you_mean;
use crate::{ConfigError, ConfigProblem, wire};

/// Parses the JSON form of a configuration: proto field names or their camelCase forms, 64-bit integers as numbers or
/// strings, enums by name (in any case) or number; `null` stands for an absent field.
///
/// # Errors
/// [`ConfigError::TooLarge`] above 1 MiB; [`ConfigError::Syntax`] where the text is not JSON; [`ConfigError::Invalid`]
/// with the path of every unknown or wrong member.
pub fn parse_json(text: &str) -> Result<wire::ModelConfig, ConfigError> {
    if text.len() > MAXIMUM_TEXT_BYTES {
        return Err(ConfigError::TooLarge { maximum: MAXIMUM_TEXT_BYTES, actual: text.len() });
    }
    let json: Json = serde_json::from_str(text).map_err(|error| syntax_error(&error))?;
    let mut reader = Reader { problems: Vec::new() };
    let message = reader.message(&wire::model_config_descriptor(), &json, "");
    if !reader.problems.is_empty() {
        return Err(ConfigError::Invalid(reader.problems));
    }
    let message = message.unwrap_or_else(|| DynamicMessage::new(wire::model_config_descriptor()));
    message.transcode_to().map_err(|error| ConfigError::Invalid(vec![ConfigProblem::new("", error.to_string())]))
}

fn syntax_error(error: &serde_json::Error) -> ConfigError {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    ConfigError::Syntax { line: error.line(), column: error.column(), message: format!("not JSON: {message}") }
}

/// Collects every problem while it builds the message.
struct Reader {
    problems: Vec<ConfigProblem>,
}

impl Reader {
    fn problem<T>(&mut self, path: &str, message: impl Into<String>) -> Option<T> {
        self.problems.push(ConfigProblem::new(path, message));
        None
    }

    fn wrong<T>(&mut self, path: &str, expected: &str, json: &Json) -> Option<T> {
        let actual = match json {
            Json::Null => "null".to_owned(),
            Json::Bool(_) | Json::Number(_) => format!("`{json}`"),
            Json::String(text) => format!("string `{}`", text.chars().take(40).collect::<String>()),
            Json::Array(_) => "an array".to_owned(),
            Json::Object(_) => "an object".to_owned(),
        };
        self.problem(path, format!("expected {expected}, got {actual}"))
    }

    fn message(&mut self, descriptor: &MessageDescriptor, json: &Json, path: &str) -> Option<DynamicMessage> {
        let Json::Object(members) = json else { return self.wrong(path, "an object", json) };
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut given = HashSet::new();
        for (name, json) in members {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Some(field) = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name))
            else {
                let names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
                let hint = did_you_mean(name, names.iter().map(String::as_str));
                self.problem::<()>(&path, format!("unknown field in `{}`{hint}", descriptor.name()));
                continue;
            };
            if json.is_null() {
                continue;
            }
            let group =
                field.containing_oneof().map_or_else(|| field.name().to_owned(), |oneof| oneof.full_name().to_owned());
            if !given.insert(group) {
                self.problem::<()>(&path, "excludes another field, which is given already");
                continue;
            }
            if let Some(value) = self.field(&field, json, &path) {
                message.set_field(&field, value);
            }
        }
        Some(message)
    }

    fn field(&mut self, field: &FieldDescriptor, json: &Json, path: &str) -> Option<Value> {
        let kind = field.kind();
        if field.is_map() {
            let Json::Object(members) = json else { return self.wrong(path, "an object", json) };
            return self.map(kind.as_message()?, members, path);
        }
        if !field.is_list() {
            return self.value(&kind, json, path);
        }
        let Json::Array(elements) = json else { return self.wrong(path, "an array", json) };
        let values: Vec<_> = elements
            .iter()
            .enumerate()
            .filter_map(|(index, json)| self.value(&kind, json, &format!("{path}[{index}]")))
            .collect();
        Some(Value::List(values))
    }

    fn map(&mut self, entry: &MessageDescriptor, members: &Map<String, Json>, path: &str) -> Option<Value> {
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut entries = HashMap::new();
        for (name, json) in members {
            let path = format!("{path}[\"{name}\"]");
            let key = match &key_kind {
                Kind::String => Some(MapKey::String(name.clone())),
                kind => name.parse().ok().and_then(|number| integer_value(kind, number)).and_then(Value::into_map_key),
            };
            let Some(key) = key else {
                self.problem::<()>(&path, format!("expected {} as key", kind_name(&key_kind)));
                continue;
            };
            if let Some(value) = self.value(&value_kind, json, &path) {
                entries.insert(key, value);
            }
        }
        Some(Value::Map(entries))
    }

    fn value(&mut self, kind: &Kind, json: &Json, path: &str) -> Option<Value> {
        let value = match kind {
            Kind::Message(descriptor) => return self.message(descriptor, json, path).map(Value::Message),
            Kind::Enum(enumeration) => return self.enumeration(enumeration, json, path),
            Kind::Bool => json.as_bool().map(Value::Bool),
            Kind::String => json.as_str().map(|text| Value::String(text.to_owned())),
            Kind::Bytes => None,
            Kind::Float | Kind::Double => float_of(json).and_then(|number| float_value(kind, number)),
            _ => integer_of(json).and_then(|number| integer_value(kind, number)),
        };
        value.or_else(|| self.wrong(path, &kind_name(kind), json))
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor, json: &Json, path: &str) -> Option<Value> {
        let found = match json {
            Json::String(name) => enumeration.values().find(|value| value.name().eq_ignore_ascii_case(name)),
            _ => integer_of(json).and_then(|number| enumeration.get_value(number.try_into().ok()?)),
        };
        if let Some(value) = found {
            return Some(Value::EnumNumber(value.number()));
        }
        let Json::String(name) = json else {
            return self.wrong(path, &kind_name(&Kind::Enum(enumeration.clone())), json);
        };
        let names: Vec<_> = enumeration.values().map(|value| value.name().to_owned()).collect();
        let hint = did_you_mean(name, names.iter().map(String::as_str));
        self.problem(path, format!("unknown name `{name}` of enum `{}`{hint}", enumeration.name()))
    }
}

/// An integer, also as a string or as a float without a fraction, as protobuf's JSON mapping has it.
fn integer_of(json: &Json) -> Option<i128> {
    match json {
        Json::String(text) => text.parse().ok(),
        Json::Number(number) => {
            number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)).or_else(|| {
                let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e19)?;
                #[allow(clippy::cast_possible_truncation, reason = "bounded above, and without a fraction")]
                Some(float as i128)
            })
        }
        _ => None,
    }
}

fn float_of(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    }
}
