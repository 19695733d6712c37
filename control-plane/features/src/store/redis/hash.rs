//! Plain Redis hashes: one a row, its fields named as the features and written as text.

use redis::{Pipeline, Value};

use super::connection::{Connection, RedisAddress, bytes, check};
use super::key_template::KeyTemplate;
use crate::columns::Columns;
use crate::entity_key::KeyParts;
use crate::error::FeatureError;
use crate::store::{OnlineStore, ReadFuture, StoreRead, ViewRead};
use crate::text_value::{read_instant, read_text};

/// Rows as Redis hashes.
#[derive(Debug)]
pub struct RedisHashStore {
    connection: Connection,
    key: String,
    event_time: Option<String>,
}

impl RedisHashStore {
    /// Opens the store: `key` names a row, with `{view}` and `{JOIN_KEY}` replaced; `event_time` is the field with the
    /// time from which a row is true. Connects at the first read. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` for an address that is none, or a password's file that cannot be read.
    pub fn open(address: &RedisAddress, key: &str, event_time: Option<&str>) -> Result<Self, FeatureError> {
        let connection = Connection::open(address)?;
        Ok(Self { connection, key: key.to_owned(), event_time: event_time.map(str::to_owned) })
    }

    /// The commands, and the fault of each key that has no name in Redis.
    fn ask(&self, read: &StoreRead) -> Result<(Pipeline, Vec<Option<String>>), FeatureError> {
        let mut commands = Pipeline::with_capacity(read.views.iter().map(|view| view.keys.len()).sum());
        let mut faults = Vec::new();
        for view in &read.views {
            let template = KeyTemplate::new(&self.key, &view.view.name);
            for key in view.keys.iter() {
                let stored_key = match template.fill(&KeyParts::read(key)?) {
                    Ok(key) => {
                        faults.push(None);
                        key
                    }
                    Err(name) => {
                        let fault = format!("expected a value of key `{name}` without what separates it from the next");
                        faults.push(Some(fault));
                        continue;
                    }
                };
                let command = commands.cmd("HMGET").arg(stored_key);
                if let Some(field) = &self.event_time {
                    command.arg(field);
                }
                for feature in view.features() {
                    command.arg(&feature.name);
                }
            }
        }
        Ok((commands, faults))
    }
}

impl OnlineStore for RedisHashStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let (commands, faults) = self.ask(read)?;
            let answers = if commands.is_empty() { Vec::new() } else { self.connection.send(&commands).await? };
            let mut answers = answers.iter();
            let mut faults = faults.iter();
            read.views.iter().map(|view| take(view, self.event_time.is_some(), &mut answers, &mut faults)).collect()
        })
    }
}

fn take<'v>(
    read: &ViewRead,
    timed: bool,
    answers: &mut impl Iterator<Item = &'v Value>,
    faults: &mut impl Iterator<Item = &'v Option<String>>,
) -> Result<Columns, FeatureError> {
    let mut columns = read.empty_answer();
    for row in 0..read.keys.len() {
        if let Some(Some(fault)) = faults.next() {
            (0..columns.width()).for_each(|column| columns.set_unusable(column, row, || fault.clone()));
            continue;
        }
        let Some(answer) = answers.next() else { continue };
        check(answer)?;
        let Value::Array(fields) = answer else {
            for column in 0..columns.width() {
                columns.set_unusable(column, row, || "expected a hash, got a key of another kind".to_owned());
            }
            continue;
        };
        let (time, values) = fields.split_at(usize::from(timed && !fields.is_empty()));
        let event = time.first().and_then(bytes).and_then(|text| read_instant(std::str::from_utf8(text).ok()?));
        for (column, (value, data_type)) in values.iter().zip(read.types.iter()).enumerate() {
            // A field that is not there was never written.
            let Some(text) = bytes(value) else { continue };
            match read_text(text, *data_type) {
                Ok(Some(value)) => columns.set_value(column, row, &value, event)?,
                Ok(None) => columns.set_null(column, row, event),
                Err(fault) => columns.set_unusable(column, row, || fault),
            }
        }
    }
    Ok(columns)
}
