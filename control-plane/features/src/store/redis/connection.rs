//! One connection to Redis, shared by every read and made again when it breaks.
//!
//! The client (`redis`) numbers nothing: replies come in the order of the commands, so reads of many requests follow each
//! other on the wire without waiting. A connection that breaks fails the reads under way; it is made again in the
//! background, at most once in 25 ms to 1 s.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, IntoConnectionInfo as _, Pipeline, Value};

use crate::error::FeatureError;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take before the connection counts as broken. Lookups give up long before.
const ANSWER: Duration = Duration::from_secs(5);
/// How often a server that refuses the connection (a password, a full house) is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

const UNREACHABLE: &str = "the feature store cannot be reached";

/// Where a Redis server is, and as whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAddress {
    /// `redis://HOST:PORT/DATABASE`, without credentials.
    pub url: String,
    /// User of the access control list.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
}

impl RedisAddress {
    /// The same, its file found from `folder` where its path is relative.
    pub(crate) fn within(&self, folder: &Path) -> Self {
        Self { password_file: self.password_file.as_ref().map(|file| folder.join(file)), ..self.clone() }
    }
}

/// A connection.
pub(super) struct Connection {
    client: Client,
    manager: ArcSwap<ConnectionManager>,
    refused: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connection")
    }
}

impl Connection {
    /// A connection that is made when it is first used. Reads the password's file; must be called within a tokio runtime.
    pub(super) fn open(address: &RedisAddress) -> Result<Self, FeatureError> {
        let wrong =
            |error: redis::RedisError| FeatureError::unavailable("the feature store's address cannot be used", error);
        let mut info = address.url.as_str().into_connection_info().map_err(wrong)?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &address.username {
            settings = settings.set_username(username);
        }
        if let Some(file) = &address.password_file {
            settings = settings.set_password(read_password(file)?);
        }
        info = info.set_redis_settings(settings);
        let client = Client::open(info).map_err(wrong)?;
        let manager = ArcSwap::from_pointee(manage(&client).map_err(wrong)?);
        Ok(Self { client, manager, refused: Mutex::new(None) })
    }

    /// Sends commands together and waits for their answers. A command that the server refuses has a
    /// [`Value::ServerError`] as its answer.
    ///
    /// # Errors
    /// `Unavailable` when there is no connection, or it breaks.
    pub(super) async fn send(&self, commands: &Pipeline) -> Result<Vec<Value>, FeatureError> {
        let count = commands.len();
        let mut manager = ConnectionManager::clone(&self.manager.load());
        let answers = manager.send_packed_commands(commands, 0, count).await.map_err(|error| {
            // The manager makes broken connections again by itself, but not those that the server refused.
            if !error.is_io_error() {
                self.make_again();
            }
            FeatureError::unavailable(UNREACHABLE, error)
        })?;
        if answers.len() == count {
            Ok(answers)
        } else {
            Err(FeatureError::unavailable(UNREACHABLE, format!("`{}` answers to `{count}` commands", answers.len())))
        }
    }

    fn make_again(&self) {
        let mut refused = self.refused.lock();
        if refused.is_none_or(|last| last.elapsed() >= ASK_AGAIN)
            && let Ok(manager) = manage(&self.client)
        {
            *refused = Some(Instant::now());
            self.manager.store(manager.into());
        }
    }
}

fn manage(client: &Client) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER))
        .set_min_delay(Duration::from_millis(25))
        .set_max_delay(Duration::from_secs(1))
        .set_number_of_retries(3);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn read_password(file: &Path) -> Result<String, FeatureError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        FeatureError::unavailable(
            "the feature store's password file cannot be read",
            format!("{}: {error}", file.display()),
        )
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What a server's error means for a whole read: a key of another kind concerns only its rows, everything else all.
pub(super) fn check(answer: &Value) -> Result<(), FeatureError> {
    match answer {
        Value::ServerError(error) if error.code() != "WRONGTYPE" => {
            Err(FeatureError::unavailable("the feature store refuses to answer", error.to_string()))
        }
        _ => Ok(()),
    }
}

/// The bytes of one field; none where it is not there.
pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}
