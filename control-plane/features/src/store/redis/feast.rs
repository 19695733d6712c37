//! Feast's online store in Redis, in Feast's own layout (feast 0.67, `infra/online_stores/redis.py`).
//!
//! Key: the serialised entity key, then the project's name. A hash holds the rows of all views of its entity: field
//! `murmur3(VIEW:FEATURE)` has a serialised `feast.types.Value`, field `_ts:VIEW` the event time. Views with versions (a
//! suffix `_vN`) are not read. The hash is the row: without `_ts:VIEW` the view has none, although Feast itself answers
//! with nulls of the year 1970 then.

use redis::{Pipeline, Value};

use super::connection::{Connection, RedisAddress, bytes, check};
use crate::columns::Columns;
use crate::entity_key::write_version_2;
use crate::error::FeatureError;
use crate::store::feast_value::{feast_field, feast_time, feast_timestamp_field, read_feast_value};
use crate::store::{OnlineStore, ReadFuture, StoreRead, ViewRead};

/// Feast's store in Redis.
#[derive(Debug)]
pub struct FeastRedisStore {
    connection: Connection,
    project: String,
    key_version: u8,
}

impl FeastRedisStore {
    /// Opens the store of a Feast project; `key_version` is Feast's `entity_key_serialization_version`, 2 or 3. Connects
    /// at the first read. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` for an address that is none, or a password's file that cannot be read.
    pub fn open(address: &RedisAddress, project: &str, key_version: u8) -> Result<Self, FeatureError> {
        Ok(Self { connection: Connection::open(address)?, project: project.to_owned(), key_version })
    }

    fn ask(&self, read: &StoreRead) -> Result<Pipeline, FeatureError> {
        let mut commands = Pipeline::with_capacity(read.views.iter().map(|view| view.keys.len()).sum());
        let mut stored_key = Vec::new();
        for view in &read.views {
            let fields: Vec<[u8; 4]> =
                view.features().map(|feature| feast_field(&view.view.name, &feature.name)).collect();
            let time = feast_timestamp_field(&view.view.name);
            for key in view.keys.iter() {
                stored_key.clear();
                if self.key_version == 2 {
                    write_version_2(key, &mut stored_key)?;
                } else {
                    stored_key.extend_from_slice(key);
                }
                stored_key.extend_from_slice(self.project.as_bytes());
                let command = commands.cmd("HMGET").arg(&stored_key).arg(&time);
                for field in &fields {
                    command.arg(&field[..]);
                }
            }
        }
        Ok(commands)
    }
}

impl OnlineStore for FeastRedisStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let answers = self.connection.send(&self.ask(read)?).await?;
            let mut answers = answers.iter();
            read.views.iter().map(|view| take(view, &mut answers)).collect()
        })
    }
}

fn take<'v>(read: &ViewRead, answers: &mut impl Iterator<Item = &'v Value>) -> Result<Columns, FeatureError> {
    let mut columns = read.empty_answer();
    for row in 0..read.keys.len() {
        let Some(answer) = answers.next() else { continue };
        check(answer)?;
        let Value::Array(fields) = answer else {
            for column in 0..columns.width() {
                columns.set_unusable(column, row, || "expected a hash of Feast, got a key of another kind".to_owned());
            }
            continue;
        };
        let Some((time, values)) = fields.split_first() else { continue };
        let Some(time) = bytes(time) else { continue };
        let event = feast_time(time);
        for (column, value) in values.iter().enumerate() {
            match bytes(value) {
                Some(message) => read_feast_value(message, &mut columns, (column, row), event)?,
                None => columns.set_null(column, row, event),
            }
        }
    }
    Ok(columns)
}
