//! How far a view was materialised into Redis: a hash beside the rows, which goes when they are flushed.

use super::connection::replies;
use super::hash::RedisHashStore;
use super::key_template::KeyTemplate;
use super::resp::{Reply, write_argument, write_head};
use crate::declared::FeatureView;
use crate::error::FeatureError;
use crate::store::StoreMark;
use crate::store::mark::{REPLACED, RUN_AGAIN};

/// `KEYS[1]` the mark; `ARGV[1]` what the store is called where it has no name yet.
const NAME: &str = "redis.call('HSETNX', KEYS[1], 'store', ARGV[1]) \
return redis.call('HMGET', KEYS[1], 'store', 'until_nanoseconds')";

/// `KEYS[1]` the mark; `ARGV` the store's name, and until when. 0 where the store has another name.
const SET: &str = "if redis.call('HGET', KEYS[1], 'store') ~= ARGV[1] then return 0 end \
redis.call('HSET', KEYS[1], 'until_nanoseconds', ARGV[2]) \
return 1";

impl RedisHashStore {
    /// How far a view was materialised; none where the server has no name for it yet.
    ///
    /// # Errors
    /// `Unsupported` where another kind of key stands in the place of the mark, `Unavailable` when the server cannot be
    /// reached or refuses.
    pub async fn mark(&self, view: &FeatureView) -> Result<Option<StoreMark>, FeatureError> {
        self.read_mark(&command(&["HMGET", &self.name(view), "store", "until_nanoseconds"])).await
    }

    /// The same, after the server is called `fresh` for the view where it has no name yet.
    ///
    /// # Errors
    /// As [`Self::mark`].
    pub async fn named_mark(&self, view: &FeatureView, fresh: &str) -> Result<StoreMark, FeatureError> {
        let mark = self.read_mark(&command(&["EVAL", NAME, "1", &self.name(view), fresh])).await?;
        mark.ok_or_else(|| refused(None))
    }

    async fn read_mark(&self, command: &[u8]) -> Result<Option<StoreMark>, FeatureError> {
        let answer = self.connections().exchange(command, 1).await?;
        match replies(&answer).next() {
            Some(Reply::Fields(fields)) => {
                let mut texts = fields.map(|field| field.and_then(|text| std::str::from_utf8(text).ok()));
                let (store, until) = (texts.next().flatten(), texts.next().flatten());
                let until = until.and_then(|text| text.parse().ok());
                Ok(store.map(|store| StoreMark { store: store.to_owned(), until }))
            }
            other => Err(refused(other.as_ref())),
        }
    }

    /// Notes how far, if the server is still the one that is called `store` for the view.
    ///
    /// # Errors
    /// As [`Self::mark`], and `Unavailable` when the server was emptied or replaced.
    pub async fn set_mark(&self, view: &FeatureView, store: &str, until: i64) -> Result<(), FeatureError> {
        let commands = command(&["EVAL", SET, "1", &self.name(view), store, &until.to_string()]);
        let answer = self.connections().exchange(&commands, 1).await?;
        match replies(&answer).next() {
            Some(Reply::Number(1)) => Ok(()),
            Some(Reply::Number(_)) => Err(FeatureError::unavailable(REPLACED, RUN_AGAIN)),
            other => Err(refused(other.as_ref())),
        }
    }

    fn name(&self, view: &FeatureView) -> String {
        KeyTemplate::new(self.key(), &view.name).beside_rows(&format!(":materialised:{}", view.name))
    }
}

fn command(arguments: &[&str]) -> Vec<u8> {
    let mut command = Vec::new();
    write_head(&mut command, arguments.len());
    arguments.iter().for_each(|argument| write_argument(&mut command, argument.as_bytes()));
    command
}

fn refused(reply: Option<&Reply<'_>>) -> FeatureError {
    match reply {
        Some(Reply::Error(error)) if error.contains("WRONGTYPE") => FeatureError::Unsupported(
            "expected a hash in the place of the mark of materialisations, got a key of another kind".to_owned(),
        ),
        Some(Reply::Error(error)) => FeatureError::unavailable("the feature store refuses to write", error),
        _ => FeatureError::unavailable("the feature store gave no answer of Redis", "to a script"),
    }
}
