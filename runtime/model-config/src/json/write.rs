//! From messages to JSON.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, Kind, MapKey, Value};
use serde_json::{Map, Number, Value as Json};

use crate::wire;

/// The JSON form of a configuration request's answer (W-18): proto field names in the protocol's order, all primitive,
/// repeated and map fields present, messages and oneof members only when set, 64-bit integers as numbers, enums by name.
#[must_use]
pub fn to_json(config: &wire::ModelConfig) -> Json {
    let mut message = DynamicMessage::new(wire::model_config_descriptor());
    // Cannot fail: both sides come from one descriptor. An empty object would be the visible sign of a broken build.
    if message.transcode_from(config).is_err() {
        return Json::Object(Map::new());
    }
    message_to_json(&message)
}

fn message_to_json(message: &DynamicMessage) -> Json {
    let descriptor = prost_reflect::ReflectMessage::descriptor(message);
    let mut members = Map::new();
    // Not `descriptor.fields()`, which goes by number: readers expect the order of the .proto file.
    for field in &descriptor.descriptor_proto().field {
        let Some(field) = descriptor.get_field_by_name(field.name()) else { continue };
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let value = message.get_field(&field);
        members.insert(field.name().to_owned(), value_to_json(&field.kind(), &value));
    }
    Json::Object(members)
}

/// `kind` is that of an element where `value` is a list or map.
fn value_to_json(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => Json::from(*value),
        Value::I64(value) => Json::from(*value),
        Value::U32(value) => Json::from(*value),
        Value::U64(value) => Json::from(*value),
        // The shortest text that reads back as the same 32-bit number, not the digits of the widened one.
        Value::F32(value) => value.to_string().parse().map_or(Json::Null, float_to_json),
        Value::F64(value) => float_to_json(*value),
        Value::String(value) => Json::String(value.clone()),
        Value::Bytes(value) => Json::from(value.to_vec()),
        Value::EnumNumber(number) => kind
            .as_enum()
            .and_then(|enumeration| enumeration.get_value(*number))
            .map_or_else(|| Json::from(*number), |value| Json::String(value.name().to_owned())),
        Value::Message(message) => message_to_json(message),
        Value::List(values) => Json::Array(values.iter().map(|value| value_to_json(kind, value)).collect()),
        Value::Map(entries) => map_to_json(kind, entries),
    }
}

fn map_to_json(kind: &Kind, entries: &HashMap<MapKey, Value>) -> Json {
    let value_kind = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|left, right| left.0.cmp(right.0));
    let members = sorted.into_iter().map(|(key, value)| {
        let key = match key {
            MapKey::Bool(key) => key.to_string(),
            MapKey::I32(key) => key.to_string(),
            MapKey::I64(key) => key.to_string(),
            MapKey::U32(key) => key.to_string(),
            MapKey::U64(key) => key.to_string(),
            MapKey::String(key) => key.clone(),
        };
        (key, value_to_json(value_kind.as_ref().unwrap_or(kind), value))
    });
    Json::Object(members.collect())
}

/// JSON has no infinities; protobuf writes them as strings.
fn float_to_json(value: f64) -> Json {
    let name = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        value => return Number::from_f64(value).map_or(Json::Null, Json::Number),
    };
    Json::String(name.to_owned())
}
