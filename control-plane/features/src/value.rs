//! One value: owned for declarations, overrides and writes; borrowed from columns when read.
//!
//! Not how columns hold many (`columns`). NaN is a value; null is none.

use serde_json::{Number, Value as Json};

use crate::data_type::{ElementType, FeatureType};
use crate::text_value::read_instant;

/// An owned value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// 32-bit signed.
    Int32(i32),
    /// 64-bit signed.
    Int64(i64),
    /// IEEE 754 binary32; may be NaN.
    Float32(f32),
    /// IEEE 754 binary64; may be NaN.
    Float64(f64),
    /// UTF-8 text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    /// Elements of one type; the type counts for an empty list too.
    List(ElementType, Vec<Value>),
}

impl Value {
    /// Its type.
    #[must_use]
    pub const fn feature_type(&self) -> FeatureType {
        FeatureType::scalar(match self {
            Self::Bool(_) => ElementType::Bool,
            Self::Int32(_) => ElementType::Int32,
            Self::Int64(_) => ElementType::Int64,
            Self::Float32(_) => ElementType::Float32,
            Self::Float64(_) => ElementType::Float64,
            Self::String(_) => ElementType::String,
            Self::Bytes(_) => ElementType::Bytes,
            Self::Timestamp(_) => ElementType::Timestamp,
            Self::List(element, _) => return FeatureType::list(*element),
        })
    }

    /// Reads JSON (or YAML as JSON) as a value of `wanted`. Bytes are base16 text, timestamps RFC 3339 text or seconds since
    /// the epoch, with a fraction if need be; floats may be the texts `nan`, `inf`, `-inf`.
    ///
    /// # Errors
    /// What was expected and what was found, as one phrase.
    pub fn from_json(json: &Json, wanted: FeatureType) -> Result<Self, String> {
        if !wanted.list {
            return scalar_from_json(json, wanted.element);
        }
        let elements = json.as_array().ok_or_else(|| mismatch(&wanted.to_string(), json))?;
        let elements = elements.iter().map(|one| scalar_from_json(one, wanted.element)).collect::<Result<_, _>>()?;
        Ok(Self::List(wanted.element, elements))
    }

    /// As JSON, readable back by [`Value::from_json`]; of timestamps those that a date can tell.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool(value) => Json::Bool(*value),
            Self::Int32(value) => Json::from(*value),
            Self::Int64(value) => Json::from(*value),
            Self::Timestamp(micros) => instant_json(*micros),
            Self::Float32(value) => float_json(f64::from(*value)),
            Self::Float64(value) => float_json(*value),
            Self::String(text) => Json::String(text.clone()),
            Self::Bytes(bytes) => Json::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            Self::List(_, values) => Json::Array(values.iter().map(Self::to_json).collect()),
        }
    }

    /// Appends what a column's arena holds for a value without a fixed width: of text and bytes themselves; of a list
    /// its elements little-endian, texts with their length as four bytes before them (as tensors of bytes have it).
    pub(crate) fn write_variable(&self, arena: &mut Vec<u8>) {
        match self {
            Self::String(text) => arena.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => arena.extend_from_slice(bytes),
            Self::List(_, values) => values.iter().for_each(|value| value.write_element(arena)),
            _ => {}
        }
    }

    fn write_element(&self, arena: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => arena.push(u8::from(*value)),
            Self::Int32(value) => arena.extend_from_slice(&value.to_le_bytes()),
            Self::Int64(value) | Self::Timestamp(value) => arena.extend_from_slice(&value.to_le_bytes()),
            Self::Float32(value) => arena.extend_from_slice(&value.to_le_bytes()),
            Self::Float64(value) => arena.extend_from_slice(&value.to_le_bytes()),
            Self::String(text) => push_sized(arena, text.as_bytes()),
            Self::Bytes(bytes) => push_sized(arena, bytes),
            Self::List(..) => {}
        }
    }

    /// The bits of a value with a fixed width.
    pub(crate) fn fixed_bits(&self) -> u64 {
        match self {
            Self::Bool(value) => u64::from(*value),
            Self::Int32(value) => u64::from(value.cast_unsigned()),
            Self::Int64(value) | Self::Timestamp(value) => value.cast_unsigned(),
            Self::Float32(value) => u64::from(value.to_bits()),
            Self::Float64(value) => value.to_bits(),
            Self::String(_) | Self::Bytes(_) | Self::List(..) => 0,
        }
    }
}

/// Appends length and bytes. Longer than four bytes can tell is cut by the stores' limits long before.
pub(crate) fn push_sized(arena: &mut Vec<u8>, bytes: &[u8]) {
    arena.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    arena.extend_from_slice(bytes);
}

/// A value that a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// True or false.
    Bool(bool),
    /// 32-bit signed.
    Int32(i32),
    /// 64-bit signed.
    Int64(i64),
    /// IEEE 754 binary32.
    Float32(f32),
    /// IEEE 754 binary64.
    Float64(f64),
    /// UTF-8 text.
    String(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    /// Elements, packed as a tensor of their type holds them.
    List(ListRef<'a>),
}

impl ValueRef<'_> {
    /// An owned copy.
    #[must_use]
    pub fn to_owned(&self) -> Value {
        match *self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int32(value) => Value::Int32(value),
            Self::Int64(value) => Value::Int64(value),
            Self::Float32(value) => Value::Float32(value),
            Self::Float64(value) => Value::Float64(value),
            Self::String(text) => Value::String(text.to_owned()),
            Self::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Self::Timestamp(value) => Value::Timestamp(value),
            Self::List(list) => Value::List(list.element, list.values()),
        }
    }
}

/// A list in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ListRef<'a> {
    /// Type of the elements.
    pub element: ElementType,
    /// The elements, little-endian; texts and bytes each behind their length as four bytes.
    pub packed: &'a [u8],
}

impl ListRef<'_> {
    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        let sized = || self.items().count();
        self.element.width().map_or_else(sized, |width| self.packed.len() / width)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Owned copies of the elements. Bytes that are no whole element are left out.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        let Some(width) = self.element.width() else {
            return self.items().map(|item| self.sized_value(item)).collect();
        };
        self.packed.chunks_exact(width).map(|chunk| fixed_value(self.element, bits_of(chunk))).collect()
    }

    /// Texts or bytes, up to the first that is cut off.
    fn items(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.packed;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (item, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(item)
        })
    }

    fn sized_value(&self, item: &[u8]) -> Value {
        match self.element {
            ElementType::String => Value::String(String::from_utf8_lossy(item).into_owned()),
            _ => Value::Bytes(item.to_vec()),
        }
    }
}

fn bits_of(chunk: &[u8]) -> u64 {
    let mut bytes = [0_u8; 8];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(bytes)
}

#[allow(clippy::cast_possible_truncation, reason = "the slot holds exactly the type's bits")]
fn fixed_value(element: ElementType, bits: u64) -> Value {
    match element {
        ElementType::Bool => Value::Bool(bits != 0),
        ElementType::Int32 => Value::Int32((bits as u32).cast_signed()),
        ElementType::Int64 => Value::Int64(bits.cast_signed()),
        ElementType::Timestamp => Value::Timestamp(bits.cast_signed()),
        ElementType::Float32 => Value::Float32(f32::from_bits(bits as u32)),
        ElementType::Float64 | ElementType::String | ElementType::Bytes => Value::Float64(f64::from_bits(bits)),
    }
}

fn scalar_from_json(json: &Json, wanted: ElementType) -> Result<Value, String> {
    let wrong = || mismatch(wanted.as_str(), json);
    Ok(match wanted {
        ElementType::Bool => Value::Bool(json.as_bool().ok_or_else(wrong)?),
        ElementType::Int32 => {
            Value::Int32(json.as_i64().and_then(|value| i32::try_from(value).ok()).ok_or_else(wrong)?)
        }
        ElementType::Int64 => Value::Int64(json.as_i64().ok_or_else(wrong)?),
        ElementType::Float32 => {
            let wide = float_from_json(json).ok_or_else(wrong)?;
            #[allow(clippy::cast_possible_truncation, reason = "rounding to the declared type is what is asked for")]
            let narrow = wide as f32;
            if wide.is_finite() && !narrow.is_finite() {
                return Err(wrong());
            }
            Value::Float32(narrow)
        }
        ElementType::Float64 => Value::Float64(float_from_json(json).ok_or_else(wrong)?),
        ElementType::String => Value::String(json.as_str().ok_or_else(wrong)?.to_owned()),
        ElementType::Bytes => Value::Bytes(json.as_str().and_then(base16).ok_or_else(wrong)?),
        ElementType::Timestamp => Value::Timestamp(instant_from_json(json).ok_or_else(wrong)?),
    })
}

/// Reads RFC 3339 or seconds since the Unix epoch, as a number or a text of one, as microseconds.
pub(crate) fn instant_from_json(json: &Json) -> Option<i64> {
    match json {
        Json::String(text) => read_instant(text),
        Json::Number(seconds) => read_instant(&seconds.to_string()),
        _ => None,
    }
}

/// RFC 3339; seconds where no date tells the instant.
fn instant_json(micros: i64) -> Json {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| Json::from(micros.div_euclid(1_000_000)), |instant| Json::from(instant.to_string()))
}

fn float_from_json(json: &Json) -> Option<f64> {
    match json {
        Json::String(text) => match text.to_ascii_lowercase().trim_start_matches('.') {
            "nan" => Some(f64::NAN),
            "inf" | "infinity" => Some(f64::INFINITY),
            "-inf" | "-.inf" | "-infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        other => other.as_f64(),
    }
}

fn float_json(value: f64) -> Json {
    Number::from_f64(value).map_or_else(
        || {
            Json::from(if value.is_nan() {
                "nan"
            } else if value > 0.0 {
                "inf"
            } else {
                "-inf"
            })
        },
        Json::Number,
    )
}

/// Bytes from two digits each.
pub(crate) fn base16(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn mismatch(wanted: &str, json: &Json) -> String {
    let shown: String = json.to_string().chars().take(64).collect();
    format!("expected a value of type `{wanted}`, got `{shown}`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::Value;
    use crate::data_type::{ElementType, FeatureType};
    use crate::text_value::read_text;

    #[test]
    fn one_number_is_one_instant_in_text_and_in_json() {
        let timestamp = FeatureType::scalar(ElementType::Timestamp);
        let expected = Value::Timestamp(1_357_034_400_000_000);
        for json in [json!(1_357_034_400), json!("1357034400"), json!("2013-01-01T10:00:00Z"), json!(1_357_034_400.0)] {
            assert_eq!(Value::from_json(&json, timestamp).as_ref(), Ok(&expected), "{json}");
        }
        assert_eq!(read_text(b"1357034400", timestamp), Ok(Some(expected.clone())));
        let list = FeatureType::list(ElementType::Timestamp);
        assert_eq!(read_text(b"[1357034400]", list), Ok(Some(Value::List(ElementType::Timestamp, vec![expected]))));
        assert!(Value::from_json(&json!(1_357_034_400_000_i64), timestamp).is_err(), "milliseconds");
    }

    proptest! {
        #[test]
        fn instants_and_bytes_are_read_back_from_json(
            micros in -377_705_023_000_000_000_i64..253_402_207_000_000_000, bytes in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            for value in [Value::Timestamp(micros), Value::Bytes(bytes)] {
                prop_assert_eq!(Value::from_json(&value.to_json(), value.feature_type()), Ok(value));
            }
        }
    }
}
