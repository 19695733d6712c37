//! Rows of a feature view from a file: CSV with a header line, or one JSON object a line.
//!
//! Columns are found by the names of join keys and features, or by those that the view's `source` gives them. A row's
//! event time stands in the source's column, or in `event_time`; without one it is the time that the caller gives.
//!
//! In both forms an instant is RFC 3339 or seconds since the epoch, and bytes are base16: keys as well as features.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value as Json};

use crate::data_type::{ElementType, FeatureType};
use crate::declared::FeatureView;
use crate::entity_key::{KeyType, KeyValue};
use crate::error::FeatureError;
use crate::json_object::read_object;
use crate::store::WriteRow;
use crate::text_value::{read_instant, read_text};
use crate::value::{Value, base16, instant_from_json};

/// Longest line of JSON, in bytes.
const LINE_BYTES: u64 = 4 << 20;
/// Column of the event time where the view's source does not name one.
const EVENT_TIME: &str = "event_time";
const NO_INSTANT: &str = "expected RFC 3339 or seconds since the epoch, up to the year 9999";

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

/// Value of a join key, as it was read.
enum Key {
    Bytes(Vec<u8>),
    Int(i64),
}

impl Key {
    fn value(&self) -> KeyValue<'_> {
        match self {
            Self::Bytes(bytes) => KeyValue::Bytes(bytes),
            Self::Int(number) => KeyValue::Int(*number),
        }
    }
}

/// What a join key of a type looks like in a file.
const fn key_form(key_type: KeyType) -> &'static str {
    if matches!(key_type, KeyType::Bytes) { "bytes as base16" } else { key_type.as_str() }
}

const fn whole_seconds(micros: i64) -> i64 {
    micros.div_euclid(1_000_000)
}

/// A cell: text, in which bytes are base16 as in JSON.
fn csv_value(cell: &[u8], wanted: FeatureType) -> Result<Option<Value>, String> {
    if wanted != FeatureType::scalar(ElementType::Bytes) {
        return read_text(cell, wanted);
    }
    let text = String::from_utf8_lossy(cell);
    Value::from_json(&Json::from(text.trim()), wanted).map(Some)
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
    let named = |name: &&str| header.iter().filter(|one| *one == name.as_bytes()).count();
    if let Some(name) = names.all().find(|name| named(name) > 1) {
        return Err(fault(1, name, "expected this column once in the header line, got it again"));
    }
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
            values.push(csv_value(field(*place), feature.data_type).map_err(|reason| fault(line, name, reason))?);
        }
        let mut entity = Vec::with_capacity(keys.len());
        for ((place, (_, key_type)), name) in keys.iter().zip(view.keys.names()).zip(&names.keys) {
            let wrong = || fault(line, name, format!("expected `{}`, got another text", key_form(*key_type)));
            entity.push(match key_type {
                KeyType::String => Key::Bytes(field(*place).to_vec()),
                KeyType::Bytes => Key::Bytes(text(*place).and_then(|text| base16(text.trim())).ok_or_else(wrong)?),
                KeyType::Int32 | KeyType::Int64 => {
                    Key::Int(text(*place).and_then(|text| text.trim().parse().ok()).ok_or_else(wrong)?)
                }
                KeyType::Timestamp => Key::Int(whole_seconds(text(*place).and_then(read_instant).ok_or_else(wrong)?)),
            });
        }
        let event_micros = match time {
            Some(place) => {
                text(place).and_then(read_instant).ok_or_else(|| fault(line, names.event_time, NO_INSTANT))?
            }
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
            read_object(&bytes).map_err(|error| whole(format!("expected a JSON object: {error}")))?;
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
        let wrong = || fault(line, name, format!("expected `{}`, got another value or none", key_form(*key_type)));
        let json = member(name).ok_or_else(wrong)?;
        let key = match key_type {
            KeyType::String => json.as_str().map(|text| Key::Bytes(text.as_bytes().to_vec())),
            KeyType::Bytes => json.as_str().and_then(base16).map(Key::Bytes),
            KeyType::Int32 | KeyType::Int64 => json.as_i64().map(Key::Int),
            KeyType::Timestamp => instant_from_json(json).map(whole_seconds).map(Key::Int),
        };
        entity.push(key.ok_or_else(wrong)?);
    }
    let event_micros = match member(names.event_time) {
        None => now,
        Some(json) => instant_from_json(json).ok_or_else(|| fault(line, names.event_time, NO_INSTANT))?,
    };
    row(view, line, &entity, event_micros, values)
}

fn row(
    view: &FeatureView,
    line: u64,
    entity: &[Key],
    event_micros: i64,
    values: Vec<Option<Value>>,
) -> Result<WriteRow, FeatureError> {
    let mut key = Vec::new();
    view.keys.write(|place| entity[place].value(), &mut key).map_err(|error| match error {
        FeatureError::Invalid { field, reason } => FeatureError::invalid(format!("line `{line}`, {field}"), reason),
        other => other,
    })?;
    Ok(WriteRow { key, event_micros, values })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::{RowsFormat, read_rows};
    use crate::data_type::ElementType;
    use crate::declared::read_features;
    use crate::entity_key::{KeyParts, KeyValue};
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
    fn instants_and_bytes_have_one_form() {
        let text = "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {name: token}\nspec: {type: bytes}\n---\n\
                    apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {name: hour}\nspec: {type: timestamp}\n---\n\
                    apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {name: main}\nspec: {embedded: {path: x}}\n---\n\
                    apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {name: v}\n\
                    spec: {entities: [token, hour], store: main, owner: me, \
                    features: [{name: at, type: timestamp}, {name: raw, type: bytes}, {name: all, type: list<timestamp>}]}\n";
        let set = read_features(text).unwrap();
        let read = |format, text: &str| read_rows(set.view("v").unwrap(), format, text.as_bytes(), 7).unwrap();
        let csv = read(RowsFormat::Csv, "token,hour,at,raw,all,event_time\nff00,3600.5,10,00fe,\"[11]\",12\n");
        let json = read(
            RowsFormat::JsonLines,
            r#"{"token": "ff00", "hour": 3600.5, "at": 10, "raw": "00fe", "all": ["1970-01-01T00:00:11Z"], "event_time": 12}"#,
        );
        assert_eq!(csv, json);
        let timestamp = |seconds: i64| Value::Timestamp(seconds * 1_000_000);
        let list = Value::List(ElementType::Timestamp, vec![timestamp(11)]);
        assert_eq!(csv[0].values, [Some(timestamp(10)), Some(Value::Bytes(vec![0, 0xfe])), Some(list)]);
        assert_eq!(csv[0].event_micros, 12_000_000);
        let key = KeyParts::read(&csv[0].key).unwrap();
        let values: Vec<_> = key.values.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [KeyValue::Int(3600), KeyValue::Bytes(b"\xff\0")]);
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
        let milliseconds = csv("origin,sky,temperature,event_time\nJFK,x,1,1357016400000\n");
        assert!(
            milliseconds.starts_with("line `2`, column `event_time`: expected RFC 3339 or seconds"),
            "{milliseconds}"
        );
        let json = |text| fault(RowsFormat::JsonLines, text);
        let wrong = json("{\"origin\": \"JFK\", \"temprature\": 1}");
        assert_eq!(wrong, "line `1`: column `temprature` does not exist; did you mean `temperature`?");
        assert!(json("{\"origin\": \"JFK\", \"event_time\": 1357016400000}").contains("up to the year 9999"));
        assert!(json("{\"sky\": \"x\"}").starts_with("line `1`, column `origin`: expected `string`"));
        let twice = json("{\"origin\": \"JFK\", \"sky\": null, \"origin\": \"EWR\"}");
        assert!(twice.starts_with("line `1`: expected a JSON object: `origin` comes twice"), "{twice}");
        let twice = csv("origin,sky,temperature,origin\nJFK,x,1,EWR\n");
        assert!(twice.starts_with("line `1`, column `origin`: expected this column once"), "{twice}");
        assert!(json("{}\n[1]").contains("column `origin`"));
        assert!(json("[1]").starts_with("line `1`: expected a JSON object"));
        let huge = format!("{{\"origin\": \"{}\"}}", "x".repeat(1 << 20));
        assert_eq!(
            json(&huge),
            "line `1`, key `origin`: expected at most `4096` bytes with the names and 8 bytes for each name and value, got more"
        );
    }
}
