//! The log of served features, as a server writes it: JSON lines, one a row of a request.
//!
//! `{"time": RFC 3339, "id": TEXT, "service": NAME, "keys": {NAME: VALUE}, "features": {INPUT: VALUE or null},
//! "from": {INPUT: ORIGIN}}`; `from` names only what came neither from the store nor from its cache. What the client sent
//! itself is not in it.

use std::io::{BufRead as _, Read as _};

use hanok_features::{ElementType, FeatureType, FeatureView, KeyType, Value};
use serde_json::{Map, Value as Json};

use crate::error::OfflineError;
use crate::join::JoinPlan;
use crate::past::key_type;
use crate::period::{Period, nanos_of_instant};
use crate::storage::{FileStream, Storage};
use crate::table::Column;

/// Longest line, in bytes.
const LINE_BYTES: u64 = 4 << 20;

/// Served rows of a service, column by column.
pub(super) struct Served {
    pub(super) times: Vec<i64>,
    /// For each view of the plan its keys.
    pub(super) keys: Vec<Vec<Column>>,
    /// For each feature of the plan what was served; null where nothing was, or a default.
    pub(super) features: Vec<Column>,
    /// For each feature and row, whether it was looked up at all: the client may have sent it.
    pub(super) looked_up: Vec<Vec<bool>>,
    /// Rows of other services, or outside of the period.
    pub(super) others: u64,
    /// Lines without an end, which a server that was killed leaves.
    pub(super) cut_off: u64,
}

/// Reads the rows of a service within a period.
pub(super) fn read_served(
    storage: &dyn Storage,
    files: &[String],
    service: &str,
    plan: &JoinPlan,
    period: Period,
) -> Result<Served, OfflineError> {
    let keys = |view: &FeatureView| (0..view.keys.names().len()).map(|at| Column::new(key_type(view, at))).collect();
    let mut types = vec![FeatureType::scalar(ElementType::Bool); plan.asked.len()];
    for view in &plan.views {
        for (feature, column) in view.features.iter().zip(&view.columns) {
            types[*column] = view.view.features[*feature].data_type;
        }
    }
    let mut served = Served {
        times: Vec::new(),
        keys: plan.views.iter().map(|view| keys(&view.view)).collect(),
        features: types.iter().map(|data_type| Column::new(*data_type)).collect(),
        looked_up: types.iter().map(|_| Vec::new()).collect(),
        others: 0,
        cut_off: 0,
    };
    for file in files {
        let mut reader = FileStream::buffered(storage.open(file)?, 0);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES + 1).read_until(b'\n', &mut line);
            if read.map_err(|error| OfflineError::from_storage(file, &error))? == 0 {
                break;
            }
            let fault = |reason: String| OfflineError::invalid(format!("`{file}`, line `{number}`"), reason);
            if line.len() as u64 > LINE_BYTES {
                return Err(fault(format!("expected at most `{LINE_BYTES}` bytes")));
            }
            if line.last() != Some(&b'\n') {
                served.cut_off += 1;
                break;
            }
            let row: Map<String, Json> = serde_json::from_slice(&line)
                .map_err(|error| fault(format!("expected a JSON object of a log of served features: {error}")))?;
            served.take(&row, service, plan, period).map_err(fault)?;
        }
    }
    Ok(served)
}

impl Served {
    fn take(&mut self, row: &Map<String, Json>, service: &str, plan: &JoinPlan, period: Period) -> Result<(), String> {
        let time = row.get("time").and_then(Json::as_str).and_then(nanos_of_instant);
        let time = time.ok_or("expected `time` with an instant")?;
        if row.get("service").and_then(Json::as_str) != Some(service) || !(period.from()..period.to()).contains(&time) {
            self.others += 1;
            return Ok(());
        }
        let member =
            |name: &str, of: &str| row.get(name).and_then(|object| object.get(of)).filter(|json| !json.is_null());
        for (columns, view) in self.keys.iter_mut().zip(&plan.views) {
            for (column, (name, key_type)) in columns.iter_mut().zip(view.view.keys.names()) {
                let value = member("keys", name).map(|json| key(json, *key_type)).transpose();
                column.push(value.map_err(|reason| format!("key `{name}`: {reason}"))?.as_ref());
            }
        }
        let features = row.get("features").and_then(Json::as_object).ok_or("expected `features` with an object")?;
        for ((column, looked_up), asked) in self.features.iter_mut().zip(&mut self.looked_up).zip(&plan.asked) {
            let given = features.get(&asked.column);
            let made_up = matches!(member("from", &asked.column).and_then(Json::as_str), Some("default" | "missing"));
            let value = given.filter(|json| !json.is_null() && !made_up);
            let value = value.map(|json| Value::from_json(json, column.data_type)).transpose();
            column.push(value.map_err(|reason| format!("feature `{}`: {reason}", asked.column))?.as_ref());
            looked_up.push(given.is_some());
        }
        self.times.push(time);
        Ok(())
    }
}

/// A key as it stands in tables.
fn key(json: &Json, key_type: KeyType) -> Result<Value, String> {
    match key_type {
        // Seconds there, microseconds in columns.
        KeyType::Timestamp => {
            let seconds = json.as_i64().and_then(|seconds| seconds.checked_mul(1_000_000));
            seconds.map(Value::Timestamp).ok_or_else(|| format!("expected seconds since the epoch, got `{json}`"))
        }
        other => Value::from_json(json, FeatureType::scalar(other.element())),
    }
}
