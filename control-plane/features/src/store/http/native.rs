//! Values as JSON APIs write them: bytes as base64, whole numbers also as texts (JSON numbers lose those above 2^53).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::columns::Columns;
use crate::data_type::{ElementType, FeatureType};
use crate::error::FeatureError;
use crate::value::Value;

/// Puts a value into a cell: null for JSON's null, unusable for one that does not fit the column. `instant` reads a
/// timestamp as microseconds.
pub(super) fn set_native(
    columns: &mut Columns,
    cell: (usize, usize),
    json: &Json,
    event_micros: Option<i64>,
    instant: fn(&Json) -> Option<i64>,
) -> Result<(), FeatureError> {
    let Some(wanted) = columns.types().get(cell.0).copied() else { return Ok(()) };
    if json.is_null() {
        columns.set_null(cell.0, cell.1, event_micros);
        return Ok(());
    }
    match read(json, wanted, instant) {
        Ok(value) => columns.set_value(cell.0, cell.1, &value, event_micros),
        Err(fault) => {
            columns.set_unusable(cell.0, cell.1, || fault);
            Ok(())
        }
    }
}

fn read(json: &Json, wanted: FeatureType, instant: fn(&Json) -> Option<i64>) -> Result<Value, String> {
    let wrong = || {
        let shown: String = json.to_string().chars().take(64).collect();
        format!("expected stored type `{wanted}`, got `{shown}`")
    };
    let scalar = |json: &Json| match wanted.element {
        ElementType::Bytes => STANDARD.decode(json.as_str()?).ok().map(Value::Bytes),
        ElementType::Timestamp => instant(json).map(Value::Timestamp),
        ElementType::Int32 => whole(json).and_then(|number| i32::try_from(number).ok()).map(Value::Int32),
        ElementType::Int64 => whole(json).map(Value::Int64),
        element => Value::from_json(json, FeatureType::scalar(element)).ok(),
    };
    if !wanted.list {
        return scalar(json).ok_or_else(wrong);
    }
    let elements = json.as_array().and_then(|list| list.iter().map(scalar).collect()).ok_or_else(wrong)?;
    Ok(Value::List(wanted.element, elements))
}

fn whole(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.parse().ok())
}

/// An instant as text: RFC 3339, or a date and time without a zone, which is UTC.
pub(super) fn instant_from_text(json: &Json) -> Option<i64> {
    let text = json.as_str()?;
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    Some(local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}
