//! Numbers of the text and JSON forms as values of a protobuf field, range-checked.
//!
//! The one place that knows the width of an integer field; both readers use it.

use prost_reflect::{Kind, Value};

/// `number` as a value of an integer field; `None` when it is out of range or the field holds no integer.
pub(crate) fn integer_value(kind: &Kind, number: i128) -> Option<Value> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number.try_into().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number.try_into().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number.try_into().ok()?),
        _ => return None,
    })
}

/// `number` as a value of a floating-point field; too large a number becomes infinity, as in protobuf.
pub(crate) fn float_value(kind: &Kind, number: f64) -> Option<Value> {
    match kind {
        #[allow(clippy::cast_possible_truncation, reason = "rounding to the field's precision is what protobuf does")]
        Kind::Float => Some(Value::F32(number as f32)),
        Kind::Double => Some(Value::F64(number)),
        _ => None,
    }
}

/// What a field of this kind holds, for error messages.
pub(crate) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a 32-bit integer".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a 64-bit integer".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "an unsigned 64-bit integer".to_owned(),
        Kind::Float | Kind::Double => "a number".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::String => "a string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Message(message) => format!("a message `{}`", message.name()),
        Kind::Enum(enumeration) => format!("a name of enum `{}`", enumeration.name()),
    }
}
