//! Feast's online store in Redis, in Feast's own layout (feast 0.67, `infra/online_stores/redis.py`).
//!
//! Key: the serialised entity key, then the project's name. A hash holds the rows of all views of its entity: field
//! `murmur3(VIEW:FEATURE)` has a serialised `feast.types.Value`, field `_ts:VIEW` the event time. Views with versions (a
//! suffix `_vN`) are not read. The hash is the row: without `_ts:VIEW` the view has none, although Feast itself answers
//! with nulls of the year 1970 then.

use super::address::RedisAddress;
use super::connection::{Connections, check, replies};
use super::resp::{Reply, write_argument, write_head};
use crate::columns::Columns;
use crate::entity_key::write_version_2;
use crate::error::FeatureError;
use crate::store::feast_value::{feast_field, feast_time, feast_timestamp_field, read_feast_value};
use crate::store::{OnlineStore, ReadFuture, StoreRead, ViewRead};

/// Feast's store in Redis.
#[derive(Debug)]
pub struct FeastRedisStore {
    connections: Connections,
    project: String,
    key_version: u8,
}

impl FeastRedisStore {
    /// Opens the store of a Feast project; `key_version` is Feast's `entity_key_serialization_version`, 2 or 3. Connects
    /// at the first read.
    ///
    /// # Errors
    /// `Unavailable` for an address that is none, or a password's file that cannot be read.
    pub fn open(address: &RedisAddress, project: &str, key_version: u8) -> Result<Self, FeatureError> {
        Ok(Self { connections: Connections::open(address)?, project: project.to_owned(), key_version })
    }

    /// The commands, and how many they are.
    fn ask(&self, read: &StoreRead) -> Result<(Vec<u8>, usize), FeatureError> {
        let (mut commands, mut count) = (Vec::new(), 0);
        let (mut stored_key, mut fields) = (Vec::new(), Vec::new());
        for view in &read.views {
            // The same for every key.
            fields.clear();
            write_argument(&mut fields, feast_timestamp_field(&view.view.name).as_bytes());
            for feature in view.features() {
                write_argument(&mut fields, &feast_field(&view.view.name, &feature.name));
            }
            commands.reserve(view.keys.len() * (fields.len() + 128));
            for key in view.keys.iter() {
                stored_key.clear();
                if self.key_version == 2 {
                    write_version_2(key, &mut stored_key)?;
                } else {
                    stored_key.extend_from_slice(key);
                }
                stored_key.extend_from_slice(self.project.as_bytes());
                write_head(&mut commands, 3 + view.places.len());
                write_argument(&mut commands, b"HMGET");
                write_argument(&mut commands, &stored_key);
                commands.extend_from_slice(&fields);
                count += 1;
            }
        }
        Ok((commands, count))
    }
}

impl OnlineStore for FeastRedisStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let (commands, count) = self.ask(read)?;
            let answer = self.connections.exchange(&commands, count).await?;
            let mut replies = replies(&answer);
            read.views.iter().map(|view| take(view, &mut replies)).collect()
        })
    }
}

fn take<'a>(read: &ViewRead, replies: &mut impl Iterator<Item = Reply<'a>>) -> Result<Columns, FeatureError> {
    let mut columns = read.empty_answer();
    for (row, reply) in (0..read.keys.len()).zip(replies) {
        let mut fields = match reply {
            Reply::Fields(fields) => fields,
            other => {
                if let Reply::Error(error) = other {
                    check(error)?;
                }
                for column in 0..columns.width() {
                    columns
                        .set_unusable(column, row, || "expected a hash of Feast, got a key of another kind".to_owned());
                }
                continue;
            }
        };
        let Some(Some(time)) = fields.next() else { continue };
        let event = feast_time(time);
        for (column, value) in fields.enumerate() {
            match value {
                Some(message) => read_feast_value(message, &mut columns, (column, row), event)?,
                None => columns.set_null(column, row, event),
            }
        }
    }
    Ok(columns)
}
