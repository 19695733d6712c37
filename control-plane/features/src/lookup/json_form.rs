//! Requests and answers as JSON, a row an object: for the command line and for whoever tries a service by hand.

use serde_json::{Map, Value as Json, json};

use super::request::{KeyColumn, ResolveRequest};
use super::resolved::Resolved;
use super::service::Lookup;
use crate::byte_column::ByteColumn;
use crate::entity_key::KeyType;
use crate::error::FeatureError;
use crate::value::{Value, base16, instant_from_json};

impl Lookup {
    /// Reads rows such as `{"origin": "JFK", "hour": 7}`: values of join keys, and of inputs that are to be overridden.
    /// Whole numbers are taken for keys of numbers; instants as RFC 3339 or seconds since the epoch, bytes as base16.
    ///
    /// # Errors
    /// `InvalidArgument` for a row that is no object, or a value of another type; `NotFound` for a name that is neither
    /// a join key nor an input, with the nearest that is.
    pub fn read_request(&self, rows: &[Json]) -> Result<ResolveRequest, FeatureError> {
        let plan = self.plan();
        let mut request = ResolveRequest::new(rows.len());
        let objects: Vec<&Map<String, Json>> = rows
            .iter()
            .enumerate()
            .map(|(row, json)| {
                json.as_object().ok_or_else(|| FeatureError::invalid(format!("row `{row}`"), "expected an object"))
            })
            .collect::<Result<_, _>>()?;
        let keys = || plan.views.iter().flat_map(|view| view.view.keys.names());
        for name in objects.iter().flat_map(|row| row.keys()) {
            if request.keys.contains_key(name) || request.overrides.contains_key(name) {
                continue;
            }
            if let Some((_, key_type)) = keys().find(|(key, _)| key == name) {
                request.keys.insert(name.clone(), key_column(name, *key_type, &objects)?);
            } else if let Some(column) = plan.service.features.iter().position(|feature| feature.input == *name) {
                let wanted = plan.types[column];
                let value = |(row, object): (usize, &&Map<String, Json>)| {
                    let given = object.get(name).filter(|json| !json.is_null());
                    let wrong = |fault| FeatureError::invalid(format!("input `{name}`"), fault).in_row(row);
                    given.map(|json| Value::from_json(json, wanted).map_err(wrong)).transpose()
                };
                let values = objects.iter().enumerate().map(value).collect::<Result<_, _>>()?;
                request.overrides.insert(name.clone(), values);
            } else {
                let inputs = plan.service.features.iter().map(|feature| feature.input.as_str());
                let known = keys().map(|(key, _)| key.as_str()).chain(inputs);
                return Err(FeatureError::not_found("key or input", name, known));
            }
        }
        Ok(request)
    }
}

fn key_column(name: &str, key_type: KeyType, rows: &[&Map<String, Json>]) -> Result<KeyColumn, FeatureError> {
    let wrong = |row: usize, json: Option<&Json>| {
        let shown: String =
            json.map_or_else(|| "nothing".to_owned(), |json| json.to_string().chars().take(64).collect());
        let reason = format!("expected `{}`, got `{shown}`", key_type.as_str());
        FeatureError::invalid(format!("key `{name}`"), reason).in_row(row)
    };
    let values = rows.iter().enumerate().map(|(row, object)| (row, object.get(name)));
    if matches!(key_type, KeyType::String | KeyType::Bytes) {
        let mut column = ByteColumn::default();
        for (row, json) in values {
            let text = json.and_then(Json::as_str);
            let pushed = match key_type {
                KeyType::Bytes => text.and_then(base16).map(|bytes| column.push(&bytes)),
                _ => text.map(|text| column.push(text.as_bytes())),
            };
            pushed.ok_or_else(|| wrong(row, json))?;
        }
        return Ok(KeyColumn::Bytes(column));
    }
    let number = |(row, json): (usize, Option<&Json>)| {
        let number = match key_type {
            KeyType::Timestamp => json.and_then(instant_from_json).map(|micros| micros.div_euclid(1_000_000)),
            _ => json.and_then(Json::as_i64),
        };
        number.ok_or_else(|| wrong(row, json))
    };
    Ok(KeyColumn::Int(values.map(number).collect::<Result<_, _>>()?))
}

impl Resolved {
    /// Rows as objects: for each input its value, where it came from, and how many seconds old it is where that is known.
    #[must_use]
    pub fn to_json(&self) -> Vec<Json> {
        let row = |row: usize| {
            let cell = |(index, (name, column)): (usize, (&str, crate::columns::Column<'_>))| {
                let value = column.value(row).map_or(Json::Null, |value| value.to_owned().to_json());
                let mut told = json!({ "value": value, "from": self.origin(index, row).as_str() });
                if let (Some(age), Some(members)) = (self.age(index, row), told.as_object_mut()) {
                    members.insert("age_seconds".to_owned(), Json::from(age.as_secs_f64()));
                }
                (name.to_owned(), told)
            };
            Json::Object(self.inputs().enumerate().map(cell).collect())
        };
        (0..self.rows()).map(row).collect()
    }
}
