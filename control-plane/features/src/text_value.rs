//! Values that are written as text: the fields of plain Redis hashes, cells of CSV files.
//!
//! Numbers as people write them, `true` and `false` (or `1` and `0`), instants as RFC 3339 or seconds since the epoch,
//! lists as JSON arrays; bytes are taken as they are, for Redis holds bytes. An empty text is null, except for texts and bytes.

use crate::data_type::{ElementType, FeatureType};
use crate::value::Value;

/// Reads a text as a value of a type; none is null.
///
/// # Errors
/// What was expected and what was found, as one phrase.
pub(crate) fn read_text(bytes: &[u8], wanted: FeatureType) -> Result<Option<Value>, String> {
    if wanted == FeatureType::scalar(ElementType::Bytes) {
        return Ok(Some(Value::Bytes(bytes.to_vec())));
    }
    let wrong = || {
        let shown: String = String::from_utf8_lossy(bytes).chars().filter(|one| !one.is_control()).take(64).collect();
        format!("expected a value of type `{wanted}`, got `{shown}`")
    };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
    if wanted == FeatureType::scalar(ElementType::String) {
        return Ok(Some(Value::String(text.to_owned())));
    }
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if wanted.list {
        let json = serde_json::from_str(text).map_err(|_| wrong())?;
        return Value::from_json(&json, wanted).map(Some);
    }
    let value = match wanted.element {
        ElementType::Bool => match text {
            "true" | "True" | "TRUE" | "1" => Some(Value::Bool(true)),
            "false" | "False" | "FALSE" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        ElementType::Int32 => text.parse().ok().map(Value::Int32),
        ElementType::Int64 => text.parse().ok().map(Value::Int64),
        ElementType::Float32 => {
            text.parse().ok().filter(|value: &f32| value.is_finite() || is_word(text)).map(Value::Float32)
        }
        ElementType::Float64 => {
            text.parse().ok().filter(|value: &f64| value.is_finite() || is_word(text)).map(Value::Float64)
        }
        ElementType::Timestamp => read_instant(text).map(Value::Timestamp),
        ElementType::String | ElementType::Bytes => None,
    };
    value.map(Some).ok_or_else(wrong)
}

/// A value as a text that [`read_text`] reads back as the same.
pub(crate) fn write_text(value: &Value) -> Vec<u8> {
    match value {
        Value::Bool(value) => value.to_string().into_bytes(),
        Value::Int32(value) => value.to_string().into_bytes(),
        Value::Int64(value) => value.to_string().into_bytes(),
        Value::Float32(value) => format!("{value:?}").into_bytes(),
        Value::Float64(value) => format!("{value:?}").into_bytes(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
        Value::Timestamp(micros) => jiff::Timestamp::from_microsecond(*micros)
            .map_or_else(|_| micros.div_euclid(1_000_000).to_string(), |instant| instant.to_string())
            .into_bytes(),
        Value::List(..) => value.to_json().to_string().into_bytes(),
    }
}

/// Whether infinity is meant, or no number: a number that is too large for its type is neither.
fn is_word(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Reads RFC 3339, or seconds since the Unix epoch with a fraction if need be, as microseconds. Blanks around it count for
/// nothing. What lies behind the year 9999 is none: it is milliseconds, taken for seconds.
pub(crate) fn read_instant(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let micros: i64 = digits.parse().ok()?;
    let micros = if whole.starts_with('-') { -micros } else { micros };
    within_dates(seconds.checked_mul(1_000_000)?.checked_add(micros)?)
}

/// An instant that a date can tell, in microseconds; none for one behind the year 9999 or before the year -9999.
pub(crate) fn within_dates(micros: i64) -> Option<i64> {
    jiff::Timestamp::from_microsecond(micros).is_ok().then_some(micros)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::{read_instant, read_text, write_text};
    use crate::data_type::ElementType;
    use crate::value::Value;

    #[test]
    fn texts_are_read_by_type() {
        let read = |text: &str, wanted: &str| read_text(text.as_bytes(), wanted.parse().unwrap());
        assert_eq!(read("1.5", "float32").unwrap(), Some(Value::Float32(1.5)));
        assert!(matches!(read("NaN", "float64").unwrap(), Some(Value::Float64(value)) if value.is_nan()));
        assert_eq!(read("inf", "float32").unwrap(), Some(Value::Float32(f32::INFINITY)));
        assert_eq!(read("-Infinity", "float64").unwrap(), Some(Value::Float64(f64::NEG_INFINITY)));
        assert_eq!(read("", "int64").unwrap(), None);
        assert_eq!(read("", "string").unwrap(), Some(Value::String(String::new())));
        assert_eq!(read("True", "bool").unwrap(), Some(Value::Bool(true)));
        assert_eq!(read(" 7 ", "int32").unwrap(), Some(Value::Int32(7)));
        assert_eq!(read("2013-01-01T05:00:00Z", "timestamp").unwrap(), Some(Value::Timestamp(1_357_016_400_000_000)));
        assert!(matches!(read("[1, 2]", "list<int64>").unwrap(), Some(Value::List(_, values)) if values.len() == 2));
        for (text, wanted) in [
            ("2147483648", "int32"),
            ("1e40", "float32"),
            ("1e400", "float32"),
            ("1e400", "float64"),
            ("-1e309", "float64"),
            ("[1e400]", "list<float64>"),
            ("yes", "bool"),
            ("[1, \"x\"]", "list<int64>"),
            ("soon", "timestamp"),
        ] {
            assert!(read(text, wanted).unwrap_err().starts_with("expected a value of type"), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let list = Value::List(ElementType::Float32, vec![Value::Float32(0.1), Value::Float32(f32::INFINITY)]);
        for value in [
            Value::Bool(true),
            Value::Int32(i32::MIN),
            Value::Int64(i64::MAX),
            Value::Float32(1e-45),
            Value::Float32(f32::MAX),
            Value::Float64(0.1 + 0.2),
            Value::Float64(f64::NEG_INFINITY),
            Value::Float64(-0.0),
            Value::String(" a\n".to_owned()),
            Value::Bytes(vec![0, 255]),
            Value::Timestamp(1_357_016_400_000_001),
            Value::Timestamp(-1),
            list,
        ] {
            assert_eq!(read_text(&write_text(&value), value.feature_type()).unwrap(), Some(value));
        }
    }

    #[test]
    fn instants_have_two_forms() {
        assert_eq!(read_instant("1357016400"), Some(1_357_016_400_000_000));
        assert_eq!(read_instant("1357016400.25"), Some(1_357_016_400_250_000));
        assert_eq!(read_instant("-1.5"), Some(-1_500_000));
        assert_eq!(read_instant("1e9"), None);
        assert_eq!(read_instant("99999999999999999"), None);
        assert_eq!(read_instant(" 1357016400\n"), Some(1_357_016_400_000_000));
        for milliseconds in ["1357016400000", "1357016400000.5", "-1357016400000000"] {
            assert_eq!(read_instant(milliseconds), None, "{milliseconds}");
        }
    }
}
