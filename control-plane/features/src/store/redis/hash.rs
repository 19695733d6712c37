//! Plain Redis hashes: one a row, its fields named as the features and written as text.

use super::address::RedisAddress;
use super::connection::{Connections, check, replies};
use super::key_template::KeyTemplate;
use super::resp::{Reply, write_argument, write_head};
use crate::columns::Columns;
use crate::entity_key::KeyParts;
use crate::error::FeatureError;
use crate::store::{OnlineStore, ReadFuture, StoreRead, ViewRead};
use crate::text_value::{read_instant, read_text};

/// Rows as Redis hashes.
#[derive(Debug)]
pub struct RedisHashStore {
    connections: Connections,
    key: String,
    event_time: Option<String>,
}

impl RedisHashStore {
    /// Opens the store: `key` names a row, with `{view}` and `{JOIN_KEY}` replaced; `event_time` is the field with the
    /// time from which a row is true. Connects at the first read.
    ///
    /// # Errors
    /// `Unavailable` for an address that is none, or a password's file that cannot be read.
    pub fn open(address: &RedisAddress, key: &str, event_time: Option<&str>) -> Result<Self, FeatureError> {
        let connections = Connections::open(address)?;
        Ok(Self { connections, key: key.to_owned(), event_time: event_time.map(str::to_owned) })
    }

    /// The field with the time from which a row is true.
    pub(super) fn event_time(&self) -> Option<&str> {
        self.event_time.as_deref()
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) const fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The commands, how many they are, and the fault of each key that has no name in Redis.
    #[allow(clippy::type_complexity, reason = "three plain things")]
    fn ask(&self, read: &StoreRead) -> Result<(Vec<u8>, usize, Vec<Option<String>>), FeatureError> {
        let (mut commands, mut count, mut faults) = (Vec::new(), 0, Vec::new());
        for view in &read.views {
            let template = KeyTemplate::new(&self.key, &view.view.name);
            for key in view.keys.iter() {
                let stored_key = match template.fill(&KeyParts::read(key)?) {
                    Ok(key) => key,
                    Err(name) => {
                        faults.push(Some(runs_on(name).to_string()));
                        continue;
                    }
                };
                faults.push(None);
                count += 1;
                write_head(&mut commands, 2 + usize::from(self.event_time.is_some()) + view.places.len());
                write_argument(&mut commands, b"HMGET");
                write_argument(&mut commands, &stored_key);
                if let Some(field) = &self.event_time {
                    write_argument(&mut commands, field.as_bytes());
                }
                view.features().for_each(|feature| write_argument(&mut commands, feature.name.as_bytes()));
            }
        }
        Ok((commands, count, faults))
    }
}

impl OnlineStore for RedisHashStore {
    fn check_keys(&self, read: &ViewRead) -> Result<(), (usize, FeatureError)> {
        let template = KeyTemplate::new(&self.key, &read.view.name);
        // A lone join key may hold what it likes.
        if !template.has_several_keys() {
            return Ok(());
        }
        for (place, key) in read.keys.iter().enumerate() {
            let key = KeyParts::read(key).map_err(|error| (place, error))?;
            template.fill(&key).map_err(|name| (place, runs_on(name)))?;
        }
        Ok(())
    }

    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let (commands, count, faults) = self.ask(read)?;
            let answer = self.connections.exchange(&commands, count).await?;
            let (mut replies, mut faults) = (replies(&answer), faults.iter());
            let timed = self.event_time.is_some();
            read.views.iter().map(|view| take(view, timed, &mut replies, &mut faults)).collect()
        })
    }
}

/// A value that would run into the next one in the key of a hash.
pub(super) fn runs_on(name: &str) -> FeatureError {
    let reason = "expected a value without the text that separates it from the next in the store's key";
    FeatureError::invalid(format!("key `{name}`"), reason)
}

fn take<'a, 'f>(
    read: &ViewRead,
    timed: bool,
    replies: &mut impl Iterator<Item = Reply<'a>>,
    faults: &mut impl Iterator<Item = &'f Option<String>>,
) -> Result<Columns, FeatureError> {
    let mut columns = read.empty_answer();
    for row in 0..read.keys.len() {
        if let Some(Some(fault)) = faults.next() {
            (0..columns.width()).for_each(|column| columns.set_unusable(column, row, || fault.clone()));
            continue;
        }
        let mut fields = match replies.next() {
            Some(Reply::Fields(fields)) => fields,
            other => {
                if let Some(Reply::Error(error)) = other {
                    check(error)?;
                }
                for column in 0..columns.width() {
                    columns.set_unusable(column, row, || "expected a hash, got a key of another kind".to_owned());
                }
                continue;
            }
        };
        let time = if timed { fields.next().flatten() } else { None };
        // What is no instant is no time: the value's age is not known then.
        let event = time.and_then(|text| read_instant(std::str::from_utf8(text).ok()?));
        for (column, (value, data_type)) in fields.zip(read.types.iter()).enumerate() {
            // A field that is not there was never written.
            let Some(text) = value else { continue };
            match read_text(text, *data_type) {
                Ok(Some(value)) => columns.set_value(column, row, &value, event)?,
                Ok(None) => columns.set_null(column, row, event),
                Err(fault) => columns.set_unusable(column, row, || fault),
            }
        }
    }
    Ok(columns)
}
