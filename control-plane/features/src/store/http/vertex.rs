//! Google's Vertex AI feature store (v1): `POST .../featureViews/VIEW:fetchFeatureValues`, one request for each key.
//!
//! By its documentation ("Method: featureViews.fetchFeatureValues", "FeatureViewDataKey" and "FeatureValue" of the Vertex AI
//! REST reference), checked against a fixture of that contract, never against Google. Several join keys are the parts of a
//! composite key, in the order of the view's `entities`: its id columns must stand in that order. The event time is
//! `metadata.generateTime` of a value. Written down from knowledge of the product: an entity that does not exist is status
//! 404, and a feature `feature_timestamp` has the microseconds of the row where values have no time of their own.

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
            // Beside the metadata one member, named by the type; lists are a level deeper.
            let value = feature.get("value")?.as_object()?;
            let told = value.get("metadata").and_then(|metadata| instant_from_text(metadata.get("generateTime")?));
            let (_, value) = value.iter().find(|(member, _)| *member != "metadata")?;
            Some((value.get("values").unwrap_or(value), told))
        };
        let of_row = value("feature_timestamp").and_then(|(micros, _)| instant(micros));
        for (column, feature) in read.features().enumerate() {
            if let Some((value, told)) = value(&feature.name) {
                set_native(columns, (column, call.rows.start), value, told.or(of_row), instant)?;
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
