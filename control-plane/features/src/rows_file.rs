//! Rows of a feature view from a file: CSV with a header line, or one JSON object a line.
//!
//! Columns are found by the names of join keys and features, or by those that the view's `source` gives them. A row's
//! event time stands in the source's column, or in `event_time`; without one it is the time that the caller gives.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value as Json};

use crate::declared::FeatureView;
use crate::entity_key::{KeyType, KeyValue};
use crate::error::FeatureError;
use crate::store::WriteRow;
use crate::text_value::{read_instant, read_text};
use crate::value::Value;

/// Longest line of JSON, in bytes.
const LINE_BYTES: u64 = 4 << 20;
/// Column of the event time where the view's source does not name one.
const EVENT_TIME: &str = "event_time";

/// Form of a file of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsFormat {
    /// Comma-separated values (RFC 4180) with a header line; values as plain text. Columns that the view does not have
    /// are left out; all that it has must be there.
    Csv,
    /// One JSON object a line. A member that is not there is null; one that the view does not have is a fault.
    JsonLines,
}

/// Reads every row of a file; `now_micros` is the event time of rows without one.
///
/// # Errors
/// `InvalidArgument` with the line and what was expected there; `Unavailable` when the file cannot be read.
pub fn read_rows(
    view: &FeatureView,
    format: RowsFormat,
    file: impl Read,
    now_micros: i64,
) -> Result<Vec<WriteRow>, FeatureError> {
    let names = Names::of(view);
    match format {
        RowsFormat::Csv => read_csv(view, &names, file, now_micros),
        RowsFormat::JsonLines => read_json(view, &names, file, now_micros),
    }
}

/// How the columns of a view are called in a file.
struct Names<'v> {
    keys: Vec<&'v str>,
    features: Vec<&'v str>,
    event_time: &'v str,
}

impl<'v> Names<'v> {
    fn of(view: &'v FeatureView) -> Self {
        let column = |name: &'v String| view.source.as_ref().map_or(name.as_str(), |source| source.column(name));
        Self {
            keys: view.keys.names().iter().map(|(name, _)| column(name)).collect(),
            features: view.features.iter().map(|feature| column(&feature.name)).collect(),
            event_time: view.source.as_ref().map_or(EVENT_TIME, |source| &source.event_time),
        }
    }

    fn all(&self) -> impl Iterator<Item = &'v str> {
        self.keys.iter().chain(&self.features).copied().chain([self.event_time])
    }
}

fn fault(line: u64, column: &str, reason: impl Into<String>) -> FeatureError {
    FeatureError::invalid(format!("line `{line}`, column `{column}`"), reason)
}

fn unreadable(error: &dyn std::fmt::Display) -> FeatureError {
    FeatureError::unavailable("the file of rows cannot be read", error)
}

fn read_csv(view: &FeatureView, names: &Names<'_>, file: impl Read, now: i64) -> Result<Vec<WriteRow>, FeatureError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(file);
    let csv_fault = |error: csv::Error| match error.position().map(csv::Position::line) {
        Some(line) if !error.is_io_error() => FeatureError::invalid(format!("line `{line}`"), error.to_string()),
        _ => unreadable(&error),
    };
    let header = reader.byte_headers().map_err(csv_fault)?.clone();
    let place = |name: &str| header.iter().position(|one| one == name.as_bytes());
    let needed =
        |name: &&str| place(name).ok_or_else(|| fault(1, name, "expected this column in the header line, got none"));
    let keys: Vec<usize> = names.keys.iter().map(needed).collect::<Result<_, _>>()?;
    let features: Vec<usize> = names.features.iter().map(needed).collect::<Result<_, _>>()?;
    let time = place(names.event_time);
    let mut rows = Vec::new();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(csv_fault)? {
        let line = record.position().map_or(0, csv::Position::line);
        let field = |place: usize| record.get(place).unwrap_or_default();
        let text = |place: usize| std::str::from_utf8(field(place)).ok();
        let mut values = Vec::with_capacity(features.len());
        for ((place, feature), name) in features.iter().zip(&view.features).zip(&names.features) {
            values.push(read_text(field(*place), feature.data_type).map_err(|reason| fault(line, name, reason))?);
        }
        let mut entity = Vec::with_capacity(keys.len());
        for ((place, (_, key_type)), name) in keys.iter().zip(view.keys.names()).zip(&names.keys) {
            let wrong = || fault(line, name, format!("expected `{}`, got another text", key_type.as_str()));
            entity.push(match key_type {
                KeyType::String | KeyType::Bytes => KeyValue::Bytes(field(*place)),
                KeyType::Int32 | KeyType::Int64 => {
                    KeyValue::Int(text(*place).and_then(|text| text.trim().parse().ok()).ok_or_else(wrong)?)
                }
                KeyType::Timestamp => KeyValue::Int(
                    text(*place).and_then(|text| read_instant(text.trim())).ok_or_else(wrong)?.div_euclid(1_000_000),
                ),
            });
        }
        let event_micros = match time {
            Some(place) => text(place)
                .and_then(|text| read_instant(text.trim()))
                .ok_or_else(|| fault(line, names.event_time, "expected RFC 3339 or seconds since the epoch"))?,
            None => now,
        };
        rows.push(row(view, line, &entity, event_micros, values)?);
    }
    Ok(rows)
}

fn read_json(view: &FeatureView, names: &Names<'_>, file: impl Read, now: i64) -> Result<Vec<WriteRow>, FeatureError> {
    let mut reader = BufReader::new(file);
    let mut rows = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read =
            reader.by_ref().take(LINE_BYTES + 1).read_until(b'\n', &mut bytes).map_err(|error| unreadable(&error))?;
        if read == 0 {
            break;
        }
        let whole = |reason: String| FeatureError::invalid(format!("line `{line}`"), reason);
        if bytes.len() as u64 > LINE_BYTES {
            return Err(whole(format!("expected at most `{LINE_BYTES}` bytes")));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let object: Map<String, Json> =
            serde_json::from_slice(&bytes).map_err(|error| whole(format!("expected a JSON object: {error}")))?;
        if let Some(name) = object.keys().find(|name| !names.all().any(|one| one == **name)) {
            return Err(whole(FeatureError::not_found("column", name, names.all()).to_string()));
        }
        rows.push(json_row(view, names, line, &object, now)?);
    }
    Ok(rows)
}

fn json_row(
    view: &FeatureView,
    names: &Names<'_>,
    line: u64,
    object: &Map<String, Json>,
    now: i64,
) -> Result<WriteRow, FeatureError> {
    let member = |name: &str| object.get(name).filter(|json| !json.is_null());
    let mut values = Vec::with_capacity(view.features.len());
    for (feature, name) in view.features.iter().zip(&names.features) {
        let value = member(name).map(|json| Value::from_json(json, feature.data_type));
        values.push(value.transpose().map_err(|reason| fault(line, name, reason))?);
    }
    let mut entity = Vec::with_capacity(names.keys.len());
    for ((_, key_type), name) in view.keys.names().iter().zip(&names.keys) {
        let wrong = || fault(line, name, format!("expected `{}`, got another value or none", key_type.as_str()));
        let json = member(name).ok_or_else(wrong)?;
        entity.push(match (key_type, json) {
            (KeyType::String | KeyType::Bytes, Json::String(text)) => KeyValue::String(text),
            (KeyType::Timestamp, Json::String(text)) => {
                KeyValue::Int(read_instant(text).ok_or_else(wrong)?.div_euclid(1_000_000))
            }
            (KeyType::Int32 | KeyType::Int64 | KeyType::Timestamp, json) => {
                KeyValue::Int(json.as_i64().ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        });
    }
    let event_micros = match member(names.event_time) {
        None => now,
        Some(json) => {
            let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
            let wrong = || fault(line, names.event_time, "expected RFC 3339 or seconds since the epoch");
            read_instant(&text).ok_or_else(wrong)?
        }
    };
    row(view, line, &entity, event_micros, values)
}

fn row(
    view: &FeatureView,
    line: u64,
    entity: &[KeyValue<'_>],
    event_micros: i64,
    values: Vec<Option<Value>>,
) -> Result<WriteRow, FeatureError> {
    let mut key = Vec::new();
    view.keys.write(|place| entity[place], &mut key).map_err(|error| match error {
        FeatureError::Invalid { field, reason } => FeatureError::invalid(format!("line `{line}`, {field}"), reason),
        other => other,
    })?;
    Ok(WriteRow { key, event_micros, values })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::{RowsFormat, read_rows};
    use crate::store::tests::weather_view;
    use crate::value::Value;

    const FEATURES: &str = "{name: temperature, type: float32}, {name: sky, type: string}";

    type Row = (i64, Vec<Option<Value>>);

    fn read(format: RowsFormat, text: &str) -> Result<Vec<Row>, String> {
        let rows = read_rows(&weather_view(FEATURES), format, text.as_bytes(), 7).map_err(|error| error.to_string())?;
        Ok(rows.into_iter().map(|row| (row.event_micros, row.values)).collect())
    }

    #[test]
    fn both_forms_say_the_same() {
        let csv = "sky,other,temperature,origin,event_time\nclear,1,54.5,JFK,10\n\"a, \"\"b\"\"\",,,EWR,1970-01-01T00:00:11Z\n";
        let json = "{\"origin\": \"JFK\", \"temperature\": 54.5, \"sky\": \"clear\", \"event_time\": 10}\n\n\
                    {\"origin\": \"EWR\", \"sky\": \"a, \\\"b\\\"\", \"event_time\": \"1970-01-01T00:00:11Z\"}";
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let expected = vec![
            (10_000_000, vec![Some(Value::Float32(54.5)), text("clear")]),
            (11_000_000, vec![None, text("a, \"b\"")]),
        ];
        assert_eq!(read(RowsFormat::Csv, csv).unwrap(), expected);
        assert_eq!(read(RowsFormat::JsonLines, json).unwrap(), expected);
        assert_eq!(read(RowsFormat::JsonLines, "{\"origin\": \"JFK\"}").unwrap(), [(7, vec![None, None])]);
    }

    #[test]
    fn faults_are_told_with_their_line() {
        let fault = |format, text| read(format, text).unwrap_err();
        let csv = |text| fault(RowsFormat::Csv, text);
        assert_eq!(
            csv("origin,sky\n"),
            "line `1`, column `temperature`: expected this column in the header line, got none"
        );
        let wrong = csv("origin,sky,temperature\nJFK,x,1\nEWR,x,warm\n");
        assert_eq!(wrong, "line `3`, column `temperature`: expected a value of type `float32`, got `warm`");
        assert!(csv("origin,sky,temperature\nJFK,x\n").starts_with("line `2`: "));
        let json = |text| fault(RowsFormat::JsonLines, text);
        let wrong = json("{\"origin\": \"JFK\", \"temprature\": 1}");
        assert_eq!(wrong, "line `1`: column `temprature` does not exist; did you mean `temperature`?");
        assert!(json("{\"sky\": \"x\"}").starts_with("line `1`, column `origin`: expected `string`"));
        assert!(json("{}\n[1]").contains("column `origin`"));
        assert!(json("[1]").starts_with("line `1`: expected a JSON object"));
        let huge = format!("{{\"origin\": \"{}\"}}", "x".repeat(1 << 20));
        assert_eq!(json(&huge), "line `1`, key: expected a key of at most `4096` bytes, got more");
    }
}
