//! Feast's feature server (feast 0.67): `POST /get-online-features`, one request for each view.
//!
//! The answer's columns are found by their names, `VIEW__FEATURE`: their order is not the request's. Values are native
//! JSON; bytes are base64, floats without a number texts, timestamps seconds. A null with the time 1970 is no row.

use serde_json::{Map, Value as Json, json};

use super::native::set_native;
use super::{Call, Dialect, Reply, key_values, misunderstood};
use crate::columns::Columns;
use crate::data_type::{ElementType, FeatureType};
use crate::error::FeatureError;
use crate::store::ViewRead;

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
        Ok(vec![Call::post("/get-online-features".to_owned(), &body, rows)])
    }

    fn take(&self, read: &ViewRead, call: &Call, reply: Reply<'_>, columns: &mut Columns) -> Result<(), FeatureError> {
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
                // Feast writes Python's "not a time" where a timestamp is null.
                let not_a_time = feature.data_type == FeatureType::scalar(ElementType::Timestamp)
                    && value.as_i64() == Some(i64::MIN);
                let value = if not_a_time { &Json::Null } else { value };
                let no_row = value.is_null() && (event.is_none() || status.as_str() == Some("NOT_FOUND"));
                if !no_row {
                    set_native(columns, cell, value, event, seconds)?;
                }
            }
        }
        Ok(())
    }
}

/// Seconds since the Unix epoch.
fn seconds(json: &Json) -> Option<i64> {
    json.as_i64()?.checked_mul(1_000_000)
}
