//! Feast's feature server (feast 0.67): `POST /get-online-features`, one request for each view.
//!
//! The answer's columns are found by their names, `VIEW__FEATURE`: their order is not the request's. Values are native
//! JSON; bytes are base64, floats without a number texts, timestamps seconds. A null with the time 1970 is no row.

use http::Method;
use serde_json::{Map, Value as Json, json};

use super::{Call, Dialect, key_values, misunderstood};
use crate::columns::Columns;
use crate::data_type::{ElementType, FeatureType};
use crate::error::FeatureError;
use crate::store::ViewRead;
use crate::value::Value;

#[derive(Debug)]
pub(super) struct Feast;

impl Dialect for Feast {
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError> {
        let rows = 0..read.keys.len();
        let features: Vec<String> =
            read.features().map(|feature| format!("{}:{}", read.view.name, feature.name)).collect();
        let mut entities: Map<String, Json> = Map::new();
        for row in key_values(read, rows.clone())? {
            for (name, value) in row {
                if let Json::Array(values) = entities.entry(name).or_insert_with(|| json!([])) {
                    values.push(value);
                }
            }
        }
        let body = json!({ "features": features, "entities": entities, "full_feature_names": true });
        Ok(vec![Call {
            method: Method::POST,
            path: "/get-online-features".to_owned(),
            body: body.to_string().into(),
            rows,
        }])
    }

    fn take(&self, read: &ViewRead, call: &Call, reply: &Json, columns: &mut Columns) -> Result<(), FeatureError> {
        let names = reply.pointer("/metadata/feature_names").and_then(Json::as_array);
        let results = reply.get("results").and_then(Json::as_array);
        let (names, results) = names.zip(results).ok_or_else(|| misunderstood("no `results` with `feature_names`"))?;
        for (column, feature) in read.features().enumerate() {
            let name = format!("{}__{}", read.view.name, feature.name);
            let place = names.iter().position(|one| one.as_str() == Some(&name));
            let result = place.and_then(|place| results.get(place));
            let result = result.ok_or_else(|| misunderstood(format!("no feature `{name}`")))?;
            let list = |name: &str| {
                let list = result.get(name).and_then(Json::as_array).map(Vec::as_slice);
                list.filter(|list| list.len() == call.rows.len())
            };
            let (values, statuses) = list("values")
                .zip(list("statuses"))
                .ok_or_else(|| misunderstood(format!("not `{}` values of `{name}`", call.rows.len())))?;
            let times = list("event_timestamps").unwrap_or_default();
            for (row, (value, status)) in values.iter().zip(statuses).enumerate() {
                let event = times.get(row).and_then(Json::as_str).and_then(|text| text.parse::<jiff::Timestamp>().ok());
                let event = event.map(jiff::Timestamp::as_microsecond).filter(|micros| *micros != 0);
                let cell = (column, call.rows.start + row);
                set(columns, cell, feature.data_type, value, status.as_str().unwrap_or_default(), event)?;
            }
        }
        Ok(())
    }
}

fn set(
    columns: &mut Columns,
    cell: (usize, usize),
    wanted: FeatureType,
    value: &Json,
    status: &str,
    event: Option<i64>,
) -> Result<(), FeatureError> {
    // Feast writes Python's "not a time" where a timestamp is null.
    let not_a_time = wanted == FeatureType::scalar(ElementType::Timestamp) && value.as_i64() == Some(i64::MIN);
    if value.is_null() || not_a_time {
        if status != "NOT_FOUND" && event.is_some() {
            columns.set_null(cell.0, cell.1, event);
        }
        return Ok(());
    }
    match from_native(value, wanted) {
        Ok(value) => columns.set_value(cell.0, cell.1, &value, event),
        Err(fault) => {
            columns.set_unusable(cell.0, cell.1, || fault);
            Ok(())
        }
    }
}

fn from_native(json: &Json, wanted: FeatureType) -> Result<Value, String> {
    let of_elements = |read: fn(&Json) -> Option<Value>| {
        let wrong = || {
            let shown: String = json.to_string().chars().take(64).collect();
            format!("expected stored type `{wanted}`, got `{shown}`")
        };
        if wanted.list {
            let elements = json.as_array().and_then(|list| list.iter().map(read).collect()).ok_or_else(wrong)?;
            return Ok(Value::List(wanted.element, elements));
        }
        read(json).ok_or_else(wrong)
    };
    match wanted.element {
        ElementType::Bytes => of_elements(|json| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(json.as_str()?).ok().map(Value::Bytes)
        }),
        ElementType::Timestamp => of_elements(|json| json.as_i64()?.checked_mul(1_000_000).map(Value::Timestamp)),
        _ => Value::from_json(json, wanted),
    }
}
