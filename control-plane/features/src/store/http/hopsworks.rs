//! Hopsworks' online feature store by its REST server (RonDB REST API server 0.1.0): `POST /0.1.0/batch_feature_store`.
//!
//! By its documentation ("Feature Store REST API Server", docs.hopsworks.ai, and `README_feature_store.md` of
//! logicalclocks/rondb), checked against a fixture of that contract, never against a running Hopsworks. Rows come in the
//! order of `entries`, columns in that of `metadata`. A row is `MISSING` when one of its feature groups has none: what the
//! others have is there. Event times are not told.

use serde_json::{Map, Value as Json, json};

use super::native::{instant_from_text, set_native};
use super::{Call, Dialect, Reply, chunks, key_values, misunderstood};
use crate::columns::Columns;
use crate::error::FeatureError;
use crate::store::ViewRead;

/// Entries of one request.
const ENTRIES: usize = 100;

#[derive(Debug)]
pub(super) struct Hopsworks {
    pub(super) feature_store: String,
    pub(super) version: u32,
}

impl Dialect for Hopsworks {
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError> {
        let call = |rows: std::ops::Range<usize>| {
            let entries: Vec<Map<String, Json>> =
                key_values(read, rows.clone())?.into_iter().map(|row| row.into_iter().collect()).collect();
            let body = json!({
                "featureStoreName": self.feature_store,
                "featureViewName": read.view.name,
                "featureViewVersion": self.version,
                "passedFeatures": [],
                "entries": entries,
                "metadataOptions": { "featureName": true, "featureType": false },
            });
            Ok(Call::post("/0.1.0/batch_feature_store".to_owned(), &body, rows))
        };
        chunks(read.keys.len(), ENTRIES).map(call).collect()
    }

    fn take(&self, read: &ViewRead, call: &Call, reply: Reply<'_>, columns: &mut Columns) -> Result<(), FeatureError> {
        let list = |name: &str| reply.get(name).and_then(Json::as_array);
        let (Some(rows), Some(metadata), Some(statuses)) = (list("features"), list("metadata"), list("status")) else {
            return Err(misunderstood("no `features` with `metadata` and `status`"));
        };
        if rows.len() != call.rows.len() || statuses.len() != rows.len() {
            return Err(misunderstood(format!("`{}` rows to `{}` entries", rows.len(), call.rows.len())));
        }
        for (column, feature) in read.features().enumerate() {
            let named = |one: &Json| one.get("featureName").and_then(Json::as_str) == Some(&feature.name);
            let place = metadata.iter().position(named);
            let place = place.ok_or_else(|| misunderstood(format!("no feature `{}`", feature.name)))?;
            for (row, (values, status)) in rows.iter().zip(statuses).enumerate() {
                let cell = (column, call.rows.start + row);
                let value = values.get(place).unwrap_or(&Json::Null);
                match status.as_str() {
                    Some("MISSING") if value.is_null() => {}
                    Some("ERROR") => columns.set_unusable(cell.0, cell.1, || "the store could not read the row".into()),
                    _ => set_native(columns, cell, value, None, instant_from_text)?,
                }
            }
        }
        Ok(())
    }
}
