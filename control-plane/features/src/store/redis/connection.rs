//! Connections to Redis: a read has one for itself, sends everything at once and reads every reply.
//!
//! Connections are made by tasks of the pool, so a read that gives up does not undo the making; the next read finds it.
//! A read that fails or is dropped closes its connection, whose replies would be those of another. A connection that was
//! kept may have died meanwhile: then the read is sent once more on a new one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::RedisAddress;
use super::resp::{Reply, end_of, write_argument, write_head};
use crate::error::FeatureError;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Most connections that are being made.
const MAKING: usize = 8;
/// Most connections that are kept.
const KEPT: usize = 16;
/// Largest answer of a read.
const REPLY_BYTES: usize = 256 << 20;
/// Bytes that are made room for at least before reading.
const READ_BYTES: usize = 64 << 10;

const UNREACHABLE: &str = "the feature store cannot be reached";

fn unreachable(detail: impl std::fmt::Display) -> FeatureError {
    FeatureError::unavailable(UNREACHABLE, detail)
}

/// Connections to one server.
pub(super) struct Connections {
    host: Arc<str>,
    port: u16,
    /// `AUTH` and `SELECT`, and how many they are.
    greeting: Arc<[u8]>,
    greetings: usize,
    idle: Arc<Mutex<Vec<TcpStream>>>,
    making: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The greeting holds a password.
        formatter
            .debug_struct("Connections")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// Reads the password's file; connects when it is first used.
    pub(super) fn open(address: &RedisAddress) -> Result<Self, FeatureError> {
        let wrong = || FeatureError::unavailable("the feature store's address cannot be used", &address.url);
        let (host, port, database) = address.parts().ok_or_else(wrong)?;
        let mut greeting = Vec::new();
        let mut greetings = 0;
        if let Some(file) = &address.password_file {
            let password = read_password(file)?;
            let mut arguments = vec!["AUTH"];
            arguments.extend(address.username.as_deref());
            arguments.push(&password);
            write_command(&mut greeting, &arguments);
            greetings += 1;
        }
        if database != 0 {
            write_command(&mut greeting, &["SELECT", &database.to_string()]);
            greetings += 1;
        }
        Ok(Self {
            host: host.into(),
            port,
            greeting: greeting.into(),
            greetings,
            idle: Arc::default(),
            making: Mutex::default(),
        })
    }

    /// Sends commands and returns their replies, whole and one after the other.
    ///
    /// # Errors
    /// `Unavailable` when there is no connection, or it breaks.
    pub(super) async fn exchange(&self, commands: &[u8], replies: usize) -> Result<Vec<u8>, FeatureError> {
        if replies == 0 {
            return Ok(Vec::new());
        }
        let kept = self.idle.lock().pop();
        if let Some(mut stream) = kept {
            if let Ok(answer) = exchange(&mut stream, commands, replies).await {
                self.keep(stream);
                return Ok(answer);
            }
            // What is left is as old.
            self.idle.lock().clear();
        }
        let mut stream = self.make().await?;
        let answer = exchange(&mut stream, commands, replies).await.map_err(unreachable)?;
        self.keep(stream);
        Ok(answer)
    }

    fn keep(&self, stream: TcpStream) {
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(stream);
        }
    }

    async fn make(&self) -> Result<TcpStream, FeatureError> {
        let (made, waiting) = oneshot::channel();
        {
            let mut making = self.making.lock();
            while making.try_join_next().is_some() {}
            if making.len() >= MAKING {
                return Err(unreachable(format!("`{MAKING}` connections are being made")));
            }
            let (host, port, idle) = (Arc::clone(&self.host), self.port, Arc::clone(&self.idle));
            let (greeting, greetings) = (Arc::clone(&self.greeting), self.greetings);
            making.spawn(async move {
                let connected = timeout(CONNECT, connect(&host, port, &greeting, greetings)).await;
                let connected =
                    connected.unwrap_or_else(|_| Err(unreachable(format!("no connection within {CONNECT:?}"))));
                // Whoever asked may have given up; the connection is good for the next.
                if let Err(Ok(stream)) = made.send(connected) {
                    idle.lock().push(stream);
                }
            });
        }
        waiting.await.map_err(unreachable)?
    }
}

async fn connect(host: &str, port: u16, greeting: &[u8], greetings: usize) -> Result<TcpStream, FeatureError> {
    let mut stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if greetings > 0 {
        let answer = exchange(&mut stream, greeting, greetings).await.map_err(unreachable)?;
        for reply in replies(&answer) {
            if let Reply::Error(error) = reply {
                return Err(refused(error));
            }
        }
    }
    Ok(stream)
}

async fn exchange(stream: &mut TcpStream, commands: &[u8], replies: usize) -> Result<Vec<u8>, std::io::Error> {
    use std::io::{Error, ErrorKind};

    stream.write_all(commands).await?;
    let mut answer = Vec::with_capacity(READ_BYTES);
    let (mut seen, mut end) = (0, 0);
    while seen < replies {
        if answer.len() > REPLY_BYTES {
            return Err(Error::new(ErrorKind::InvalidData, format!("an answer above `{REPLY_BYTES}` bytes")));
        }
        answer.reserve(READ_BYTES);
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        while seen < replies {
            let whole = end_of(&answer, end).map_err(|_| Error::new(ErrorKind::InvalidData, "no reply of Redis"))?;
            let Some(next) = whole else { break };
            (seen, end) = (seen + 1, next);
        }
    }
    if end == answer.len() { Ok(answer) } else { Err(Error::new(ErrorKind::InvalidData, "more replies than commands")) }
}

/// The replies of an exchange, in order.
pub(super) fn replies(answer: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let end = end_of(answer, at).ok()??;
        let reply = Reply::read(answer.get(at..end)?);
        at = end;
        Some(reply)
    })
}

fn write_command(out: &mut Vec<u8>, arguments: &[&str]) {
    write_head(out, arguments.len());
    arguments.iter().for_each(|argument| write_argument(out, argument.as_bytes()));
}

/// Fails for an error that concerns a whole read; a key of another kind concerns only its row.
pub(super) fn check(error: &str) -> Result<(), FeatureError> {
    if error.starts_with("WRONGTYPE") {
        return Ok(());
    }
    Err(refused(error))
}

/// A refusal of the server, without the arguments that it repeats: they may be a password.
fn refused(error: &str) -> FeatureError {
    let told = error.split_once(", with args").map_or(error, |(told, _)| told);
    FeatureError::unavailable("the feature store refuses to answer", told)
}

fn read_password(file: &Path) -> Result<String, FeatureError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let detail = format!("{}: {error}", file.display());
        FeatureError::unavailable("the feature store's password file cannot be read", detail)
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
