//! Amazon SageMaker's online feature store: `POST /BatchGetRecord`, a feature group for each view.
//!
//! By its documentation ("BatchGetRecord", "BatchGetRecordIdentifier" and "FeatureValue" of the Amazon SageMaker API
//! Reference), checked against a fixture of that contract, never against Amazon. A group has one record identifier, so a
//! view has one join key. Values are texts, collections lists of texts; a record or feature that is not there is left out
//! of the answer.

use serde_json::{Value as Json, json};

use super::{Call, Dialect, Reply, chunks, key_values, misunderstood};
use crate::columns::Columns;
use crate::data_type::FeatureType;
use crate::error::FeatureError;
use crate::store::ViewRead;
use crate::text_value::{read_instant, read_text};
use crate::value::Value;

/// Identifiers of one request, which the service bounds.
const IDENTIFIERS: usize = 100;

#[derive(Debug)]
pub(super) struct SageMaker {
    /// The feature with the event time.
    pub(super) event_time: String,
}

impl Dialect for SageMaker {
    fn calls(&self, read: &ViewRead) -> Result<Vec<Call>, FeatureError> {
        let mut features: Vec<&str> = read.features().map(|feature| feature.name.as_str()).collect();
        features.push(&self.event_time);
        let call = |rows: std::ops::Range<usize>| {
            let identifiers = identifiers(read, rows.clone())?;
            let body = json!({ "Identifiers": [{
                "FeatureGroupName": read.view.name,
                "RecordIdentifiersValueAsString": identifiers,
                "FeatureNames": features,
            }] });
            Ok(Call::post("/BatchGetRecord".to_owned(), &body, rows))
        };
        chunks(read.keys.len(), IDENTIFIERS).map(call).collect()
    }

    fn take(&self, read: &ViewRead, call: &Call, reply: Reply<'_>, columns: &mut Columns) -> Result<(), FeatureError> {
        let records = reply.get("Records").and_then(Json::as_array).ok_or_else(|| misunderstood("no `Records`"))?;
        for list in ["Errors", "UnprocessedIdentifiers"] {
            if let Some(error) = reply.get(list).and_then(Json::as_array).and_then(|errors| errors.first()) {
                let detail: String = error.to_string().chars().take(256).collect();
                return Err(FeatureError::unavailable("the feature store refuses to answer", detail));
            }
        }
        for (row, identifier) in identifiers(read, call.rows.clone())?.iter().enumerate() {
            let is_it =
                |one: &&Json| one.get("RecordIdentifierValueAsString").and_then(Json::as_str) == Some(identifier);
            let Some(record) = records.iter().find(is_it) else { continue };
            let values = record.get("Record").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
            let value = |name: &str| {
                let is_it = |one: &&Json| one.get("FeatureName").and_then(Json::as_str) == Some(name);
                values.iter().find(is_it)
            };
            let event = value(&self.event_time).and_then(|one| one.get("ValueAsString")?.as_str());
            let event = event.and_then(read_instant);
            for (column, feature) in read.features().enumerate() {
                let cell = (column, call.rows.start + row);
                match value(&feature.name).and_then(|value| read_value(value, feature.data_type)) {
                    None => {}
                    Some(Ok(Some(value))) => columns.set_value(cell.0, cell.1, &value, event)?,
                    Some(Ok(None)) => columns.set_null(cell.0, cell.1, event),
                    Some(Err(fault)) => columns.set_unusable(cell.0, cell.1, || fault),
                }
            }
        }
        Ok(())
    }
}

/// A feature's value: a text, or a list of texts where it is a collection.
fn read_value(value: &Json, wanted: FeatureType) -> Option<Result<Option<Value>, String>> {
    if let Some(text) = value.get("ValueAsString").and_then(Json::as_str) {
        return Some(read_text(text.as_bytes(), wanted));
    }
    let texts = value.get("ValueAsStringList")?.as_array()?;
    if !wanted.list {
        return Some(Err(format!("expected stored type `{wanted}`, got a list of `{}`", texts.len())));
    }
    let element = |text: &Json| {
        let text = text.as_str().ok_or_else(|| format!("expected texts, got `{text}`"))?;
        let element = read_text(text.as_bytes(), FeatureType::scalar(wanted.element))?;
        element.ok_or_else(|| format!("expected stored type `{wanted}`, got an element without a value"))
    };
    let elements: Result<Vec<Value>, String> = texts.iter().map(element).collect();
    Some(elements.map(|elements| Some(Value::List(wanted.element, elements))))
}

fn identifiers(read: &ViewRead, rows: std::ops::Range<usize>) -> Result<Vec<String>, FeatureError> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |row: Vec<(String, Json)>| row.first().map(|(_, value)| text(value)).unwrap_or_default();
    Ok(key_values(read, rows)?.into_iter().map(one).collect())
}
