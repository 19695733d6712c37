//! Google's Vertex AI feature store (v1): `POST .../featureViews/VIEW:fetchFeatureValues`, one request for each key.
//!
//! From its documentation, checked against a fixture of the contract, never against Google. Several join keys make a
//! composite key, in the order of their names. An entity that does not exist is status 404. Event times are not told,
//! unless a feature `feature_timestamp` is in the answer.

use serde_json::{Value as Json, json};

use super::native::{instant_from_text, set_native};
use super::{Call, Dialect, Reply, chunks, key_values, misunderstood};
use crate::columns::Columns;
use crate::error::FeatureError;
use crate::store::ViewRead;

#[derive(Debug)]
pub(super) struct Vertex {
    /// `projects/PROJECT/locations/LOCATION/featureOnlineStores/STORE`.
    pub(super) store: String,
}

impl Dialect for Vertex {
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError> {
        let path = format!("/v1/{}/featureViews/{}:fetchFeatureValues", self.store, read.view.name);
        let call = |rows: std::ops::Range<usize>| {
            let text = |(_, value): (String, Json)| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let parts: Vec<String> = key_values(read, rows.clone())?.into_iter().flatten().map(text).collect();
            let key = match parts.as_slice() {
                [key] => json!({ "key": key }),
                parts => json!({ "compositeKey": { "parts": parts } }),
            };
            Ok(Call::post(path.clone(), &json!({ "dataKey": key, "dataFormat": "KEY_VALUE" }), rows))
        };
        chunks(read.keys.len(), 1).map(call).collect()
    }

    fn take(&self, read: &ViewRead, call: &Call, reply: Reply<'_>, columns: &mut Columns) -> Result<(), FeatureError> {
        let features = reply.pointer("/keyValues/features").and_then(Json::as_array);
        let features = features.ok_or_else(|| misunderstood("no `keyValues` with `features`"))?;
        let value = |name: &str| {
            let feature = features.iter().find(|one| one.get("name").and_then(Json::as_str) == Some(name))?;
            // One member, named by the type; lists are a level deeper.
            let (_, value) = feature.get("value")?.as_object()?.iter().next()?;
            Some(value.get("values").unwrap_or(value))
        };
        let event = value("feature_timestamp").and_then(instant);
        for (column, feature) in read.features().enumerate() {
            if let Some(value) = value(&feature.name) {
                set_native(columns, (column, call.rows.start), value, event, instant)?;
            }
        }
        Ok(())
    }

    fn is_no_row(&self, status: u16) -> bool {
        status == 404
    }
}

/// Microseconds as a number or a text of one, or an instant as text.
fn instant(json: &Json) -> Option<i64> {
    let whole = json.as_i64().or_else(|| json.as_str()?.parse().ok());
    whole.or_else(|| instant_from_text(json))
}
