//! Tecton's feature services: `POST /api/v1/feature-service/get-features`, one request for each key.
//!
//! By its documentation ("Tecton HTTP API (1.0)", docs.tecton.ai/http-api; the statuses are those of Tecton's own Java
//! client), checked against a fixture of that contract, never against a running Tecton. Features are found by their names,
//! `VIEW.FEATURE`; whole numbers come as texts; the effective time is the event time.

use serde_json::{Map, Value as Json, json};

use super::native::{instant_from_text, set_native};
use super::{Call, Dialect, Reply, chunks, key_values, misunderstood};
use crate::columns::Columns;
use crate::error::FeatureError;
use crate::store::ViewRead;

#[derive(Debug)]
pub(super) struct Tecton {
    pub(super) workspace: String,
    pub(super) feature_service: String,
}

impl Dialect for Tecton {
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError> {
        let call = |rows: std::ops::Range<usize>| {
            // Whole numbers are texts in both directions.
            let text = |value: Json| if value.is_number() { Json::from(value.to_string()) } else { value };
            let keys: Map<String, Json> = key_values(read, rows.clone())?
                .into_iter()
                .flatten()
                .map(|(name, value)| (name, text(value)))
                .collect();
            let body = json!({ "params": {
                "workspaceName": self.workspace,
                "featureServiceName": self.feature_service,
                "joinKeyMap": keys,
                "metadataOptions": { "includeNames": true, "includeEffectiveTimes": true, "includeServingStatus": true },
            } });
            Ok(Call::post("/api/v1/feature-service/get-features".to_owned(), &body, rows))
        };
        chunks(read.keys.len(), 1).map(call).collect()
    }

    fn take(&self, read: &ViewRead, call: &Call, reply: Reply<'_>, columns: &mut Columns) -> Result<(), FeatureError> {
        let values = reply.pointer("/result/features").and_then(Json::as_array);
        let metadata = reply.pointer("/metadata/features").and_then(Json::as_array);
        let (values, metadata) = values.zip(metadata).ok_or_else(|| misunderstood("no `features` with `metadata`"))?;
        for (column, feature) in read.features().enumerate() {
            let name = format!("{}.{}", read.view.name, feature.name);
            let place = metadata.iter().position(|one| one.get("name").and_then(Json::as_str) == Some(&name));
            let place = place.ok_or_else(|| misunderstood(format!("no feature `{name}`")))?;
            let event = metadata.get(place).and_then(|one| instant_from_text(one.get("effectiveTime")?));
            let value = values.get(place).unwrap_or(&Json::Null);
            let status = metadata.get(place).and_then(|one| one.get("status")?.as_str());
            // A null of no time was never written, whatever the status.
            if !value.is_null() || (event.is_some() && status != Some("MISSING_DATA")) {
                set_native(columns, (column, call.rows.start), value, event, instant_from_text)?;
            }
        }
        Ok(())
    }
}
