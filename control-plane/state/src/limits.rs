//! The bounds on everything that comes in, and the checks that hold them.
//!
//! A value that passes here is stored as it is by both databases; nothing is trimmed, folded or repaired.

use serde_json::Value;

use crate::error::StateError;
use crate::timestamp::Timestamp;

/// Longest name, id, source, subject or metric, in bytes of UTF-8.
pub const NAME_BYTES: usize = 256;
/// Largest document, machine state or event data, in bytes of compact JSON.
pub const DOCUMENT_BYTES: usize = 1 << 20;
/// Deepest nesting of a document.
pub const DOCUMENT_DEPTH: usize = 64;
/// Most changes, machines, records, cursors and expectations of one transaction, together.
pub const TRANSACTION_ITEMS: usize = 1_000;
/// Most bytes of JSON in one transaction.
pub const TRANSACTION_BYTES: usize = 8 << 20;
/// Most records of one page.
pub const PAGE_RECORDS: usize = 1_000;
/// Most rows of one call that records served requests or outcomes.
pub const BATCH_ROWS: usize = 10_000;
/// How far ahead of the caller's `now` a time may be, in milliseconds: clocks differ, the future is not recorded.
pub const CLOCK_SKEW_MILLIS: u64 = 300_000;

/// A name: not empty, not too long, no control character, no white space at either end.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), StateError> {
    if name.is_empty() {
        return Err(StateError::invalid(field, "must not be empty"));
    }
    if name.len() > NAME_BYTES {
        return Err(StateError::invalid(field, format!("expected at most {NAME_BYTES} bytes, got {}", name.len())));
    }
    if name.chars().any(char::is_control) {
        return Err(StateError::invalid(field, "must not contain control characters"));
    }
    if name.trim() != name {
        return Err(StateError::invalid(field, "must not begin or end with white space"));
    }
    Ok(())
}

/// A name where there is one.
pub(crate) fn check_optional_name(field: &'static str, name: Option<&str>) -> Result<(), StateError> {
    name.map_or(Ok(()), |name| check_name(field, name))
}

/// A time that is not in the future, clocks considered.
pub(crate) fn check_time(field: &'static str, time: Timestamp, now: Timestamp) -> Result<(), StateError> {
    if time > now.plus_millis(CLOCK_SKEW_MILLIS) {
        return Err(StateError::invalid(
            field,
            format!("expected at most {CLOCK_SKEW_MILLIS} ms after `{now}`, got `{time}`"),
        ));
    }
    Ok(())
}

/// A number that can be counted with.
pub(crate) fn check_finite(field: &'static str, number: f64) -> Result<(), StateError> {
    if !number.is_finite() {
        return Err(StateError::invalid(field, format!("expected a finite number, got `{number}`")));
    }
    Ok(())
}

/// How many things a call may carry or ask for.
pub(crate) fn check_count(field: &'static str, count: usize, most: usize) -> Result<(), StateError> {
    if count == 0 || count > most {
        return Err(StateError::invalid(field, format!("expected 1 to {most}, got {count}")));
    }
    Ok(())
}

/// The compact text of a document within the bounds.
pub(crate) fn encode_document(field: &'static str, document: &Value) -> Result<String, StateError> {
    check_depth(field, document)?;
    let text = document.to_string();
    if text.len() > DOCUMENT_BYTES {
        return Err(StateError::invalid(
            field,
            format!("expected at most {DOCUMENT_BYTES} bytes of JSON, got {}", text.len()),
        ));
    }
    Ok(text)
}

/// Without recursion: the depth is what is in doubt.
fn check_depth(field: &'static str, document: &Value) -> Result<(), StateError> {
    let mut open = vec![(document, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > DOCUMENT_DEPTH {
            return Err(StateError::invalid(field, format!("expected at most {DOCUMENT_DEPTH} levels of nesting")));
        }
        match value {
            Value::Array(values) => open.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(members) => open.extend(members.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// The document behind a stored text.
pub(crate) fn decode_document(text: &str) -> Result<Value, StateError> {
    serde_json::from_str(text).map_err(|error| StateError::corrupt(format!("a stored document: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        for name in ["a", "flight delay", "..", "모델", &"x".repeat(NAME_BYTES)] {
            check_name("name", name).unwrap();
        }
        for name in ["", " ", " a", "a\n", "a\0b", "\u{85}", &"x".repeat(NAME_BYTES + 1), &"x".repeat(1 << 20)] {
            assert!(check_name("name", name).is_err(), "{name:.20}");
        }
    }

    #[test]
    fn documents_are_bounded_in_depth_and_bytes() {
        let nested = |depth: usize| (1..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert!(encode_document("document", &nested(DOCUMENT_DEPTH)).is_ok());
        assert!(encode_document("document", &nested(DOCUMENT_DEPTH + 1)).is_err());
        assert!(encode_document("document", &Value::String("x".repeat(DOCUMENT_BYTES - 2))).is_ok());
        assert!(encode_document("document", &Value::String("x".repeat(DOCUMENT_BYTES - 1))).is_err());
    }

    #[test]
    fn the_future_is_refused() {
        let now = Timestamp::from_unix_millis(1_000_000_000).unwrap();
        assert!(check_time("time", now.plus_millis(CLOCK_SKEW_MILLIS), now).is_ok());
        assert!(check_time("time", now.plus_millis(CLOCK_SKEW_MILLIS + 1), now).is_err());
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(check_finite("value", number).is_err());
        }
    }
}
