//! Rows into Redis hashes: one script a row, so that a row is replaced whole and never by an older one.

use super::connection::replies;
use super::hash::{RedisHashStore, runs_on};
use super::key_template::KeyTemplate;
use super::resp::{Reply, write_argument, write_head};
use crate::declared::FeatureView;
use crate::entity_key::KeyParts;
use crate::error::FeatureError;
use crate::store::WriteRow;
use crate::text_value::write_text;

/// Rows, and bytes, that are sent before replies are waited for.
const ROWS_AT_ONCE: usize = 1024;
const BYTES_AT_ONCE: usize = 8 << 20;

/// `KEYS[1]` the row; `ARGV` the event time's field and its value, how many fields are set, those with their values, and
/// those that are null. 1 where it was written, 0 where the stored row is newer, -1 where its event time is no number.
const SCRIPT: &str = "local stored = redis.call('HGET', KEYS[1], ARGV[1]) \
if stored then \
  local number = tonumber(stored) \
  if not number then return -1 end \
  if number > tonumber(ARGV[2]) then return 0 end \
end \
local set = tonumber(ARGV[3]) \
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) \
for at = 4, 2 + set * 2, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end \
for at = 4 + set * 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[at]) end \
return 1";

impl RedisHashStore {
    /// Writes rows; returns how many were taken. Null is a field that is not there.
    ///
    /// # Errors
    /// `Unsupported` where the store declares no field for the event time or another kind of key stands there,
    /// `InvalidArgument` for keys that have no name in Redis, `Unavailable` when it cannot be reached. Rows before the
    /// failure may have been written.
    pub async fn write(&self, view: &FeatureView, rows: &[WriteRow]) -> Result<usize, FeatureError> {
        let field = self.event_time().ok_or_else(|| {
            FeatureError::Unsupported(
                "expected `event_time` in the store's declaration: without it older rows win".to_owned(),
            )
        })?;
        let template = KeyTemplate::new(self.key(), &view.name);
        let (mut commands, mut waiting, mut taken) = (Vec::new(), 0, 0);
        for row in rows {
            let key = template.fill(&KeyParts::read(&row.key)?).map_err(runs_on)?;
            command(view, field, &key, row, &mut commands);
            waiting += 1;
            if waiting == ROWS_AT_ONCE || commands.len() > BYTES_AT_ONCE {
                taken += self.send(field, &commands, waiting).await?;
                commands.clear();
                waiting = 0;
            }
        }
        Ok(taken + self.send(field, &commands, waiting).await?)
    }

    async fn send(&self, field: &str, commands: &[u8], rows: usize) -> Result<usize, FeatureError> {
        let answer = self.connections().exchange(commands, rows).await?;
        let mut taken = 0;
        for reply in replies(&answer) {
            match reply {
                Reply::Number(1) => taken += 1,
                Reply::Number(0) => {}
                Reply::Error(error) if error.contains("WRONGTYPE") => {
                    return Err(FeatureError::Unsupported("expected hashes, got a key of another kind".to_owned()));
                }
                Reply::Error(error) => {
                    return Err(FeatureError::unavailable("the feature store refuses to write", error));
                }
                _ => {
                    let reason =
                        format!("expected seconds since the epoch in the stored field `{field}`, got another text");
                    return Err(FeatureError::Unsupported(reason));
                }
            }
        }
        Ok(taken)
    }
}

fn command(view: &FeatureView, field: &str, key: &[u8], row: &WriteRow, out: &mut Vec<u8>) {
    let (mut set, mut null) = (Vec::new(), Vec::new());
    for (feature, value) in view.features.iter().zip(&row.values) {
        match value {
            Some(value) => set.push((feature.name.as_bytes(), write_text(value))),
            None => null.push(feature.name.as_bytes()),
        }
    }
    let (seconds, micros) = (row.event_micros.div_euclid(1_000_000), row.event_micros.rem_euclid(1_000_000));
    // Before the epoch the fraction counts towards it, as it is read back.
    let time = if seconds < 0 && micros > 0 {
        format!("-{}.{:06}", -(seconds + 1), 1_000_000 - micros)
    } else {
        format!("{seconds}.{micros:06}")
    };
    write_head(out, 7 + set.len() * 2 + null.len());
    write_argument(out, b"EVAL");
    write_argument(out, SCRIPT.as_bytes());
    write_argument(out, b"1");
    write_argument(out, key);
    write_argument(out, field.as_bytes());
    write_argument(out, time.as_bytes());
    write_argument(out, set.len().to_string().as_bytes());
    for (name, text) in &set {
        write_argument(out, name);
        write_argument(out, text);
    }
    null.iter().for_each(|name| write_argument(out, name));
}
