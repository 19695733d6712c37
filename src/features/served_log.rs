//! The log of served features: what each row of each request got, for `hanok features skew`.
//!
//! JSON lines in a folder, in segments `served-NUMBER.jsonl`, the oldest of which are removed when together they are too
//! large. Requests hand over what they have already and never wait: where the queue is full the rows are dropped, and
//! counted, and so is what the disk does not take: it is told once, and a row is never there in part. One thread writes, and
//! every second makes durable what it wrote; only then a row counts as written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hanok_features::{ErrorCode, KeyValue, Origin, ResolveRequest, Resolved};
use hanok_offline::instant_text;
use serde_json::{Map, Value as Json};

use super::declarations::unreadable;
use super::told::mistake;
use crate::commands::error::CommandError;

/// Requests that may wait to be written.
const WAITING: usize = 4096;
/// Segments of a full log.
const SEGMENTS: u64 = 8;
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Bytes that are written together.
const BUFFER_BYTES: usize = 1 << 16;
/// How long writing must succeed before the next failure is news.
const WELL_AGAIN: Duration = Duration::from_secs(10);
const PREFIX: &str = "served-";
const ENDING: &str = ".jsonl";
/// Pattern of a log's segments in its folder.
pub(crate) const SEGMENTS_OF_LOG: &str = "served-*.jsonl";

/// What a request leaves behind.
struct Entry {
    id: Box<str>,
    asked: ResolveRequest,
    resolved: Resolved,
}

/// Counts of rows.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
}

/// A log that is written to. Closed, and whole on the disk, when it is dropped; what is offered later counts as dropped.
#[derive(Debug)]
pub(super) struct ServedLog {
    /// None ends the writer: steps in front of models that are still there hold senders of their own.
    entries: SyncSender<Option<Entry>>,
    counts: Arc<Counts>,
    writer: Option<JoinHandle<()>>,
}

impl ServedLog {
    /// Opens a log of at most so many bytes in a folder, behind what is there.
    pub(super) fn open(folder: &Path, largest_bytes: u64) -> Result<Self, CommandError> {
        let fault = |error: io::Error| {
            CommandError::failed(format!(
                "the log of served features cannot be written in `{}`: {error}",
                folder.display()
            ))
        };
        fs::create_dir_all(folder).map_err(fault)?;
        let counts = Arc::new(Counts::default());
        let segment_bytes = (largest_bytes / SEGMENTS).max(1);
        let mut writer = Writer::open(folder, segment_bytes, Arc::clone(&counts)).map_err(fault)?;
        let (entries, received) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("feature-log".to_owned());
        let writer = thread.spawn(move || writer.run(&received)).map_err(fault)?;
        Ok(Self { entries, counts, writer: Some(writer) })
    }

    /// A sender for whoever logs.
    pub(super) fn offers(&self) -> Offers {
        Offers { entries: self.entries.clone(), counts: Arc::clone(&self.counts) }
    }

    /// Rows that were written, and rows that were dropped.
    pub(super) fn counts(&self) -> [u64; 2] {
        [&self.counts.written, &self.counts.dropped].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for ServedLog {
    fn drop(&mut self) {
        // Where the writer has ended already there is nothing to end.
        drop(self.entries.send(None));
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been told on standard error.
            drop(writer.join());
        }
    }
}

/// Where requests leave what they got. Cheap to clone.
#[derive(Clone)]
pub(super) struct Offers {
    entries: SyncSender<Option<Entry>>,
    counts: Arc<Counts>,
}

impl std::fmt::Debug for Offers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Offers").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Offers {
    /// Hands over what a request got; never waits.
    pub(super) fn offer(&self, id: &str, asked: ResolveRequest, resolved: Resolved) {
        let rows = resolved.rows() as u64;
        if self.entries.try_send(Some(Entry { id: id.into(), asked, resolved })).is_err() {
            self.counts.dropped.fetch_add(rows, Ordering::Relaxed);
        }
    }
}

struct Writer {
    folder: PathBuf,
    segment_bytes: u64,
    number: u64,
    file: File,
    /// Length of the file, in whole rows.
    bytes: u64,
    /// Rows that the file has not got yet, and how many.
    buffer: Vec<u8>,
    buffered_rows: u64,
    /// Rows of the file that may not survive a crash of the machine.
    unsynced_rows: u64,
    /// When writing failed last.
    failed_at: Option<Instant>,
    counts: Arc<Counts>,
}

impl Writer {
    fn open(folder: &Path, segment_bytes: u64, counts: Arc<Counts>) -> io::Result<Self> {
        let number = numbered(folder)?.last().map_or(1, |(number, _)| number + 1);
        let mut writer = Self {
            folder: folder.to_owned(),
            segment_bytes,
            number,
            file: new_segment(folder, number)?,
            bytes: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            buffered_rows: 0,
            unsynced_rows: 0,
            failed_at: None,
            counts,
        };
        writer.forget_oldest()?;
        Ok(writer)
    }

    fn run(&mut self, entries: &Receiver<Option<Entry>>) {
        let mut unsynced: Option<Instant> = None;
        loop {
            let wait = unsynced.map_or(SYNC_EVERY, |since| SYNC_EVERY.saturating_sub(since.elapsed()));
            let received = match entries.try_recv() {
                Err(TryRecvError::Empty) => {
                    // Nobody waits: what was written is given to the system, which keeps it when this process dies.
                    self.flush();
                    entries.recv_timeout(wait)
                }
                other => other.map_err(|_| RecvTimeoutError::Disconnected),
            };
            if let Ok(Some(entry)) = &received {
                self.write(entry);
                unsynced = unsynced.or_else(|| Some(Instant::now()));
            }
            let ended = matches!(received, Ok(None) | Err(RecvTimeoutError::Disconnected));
            if unsynced.is_some_and(|since| ended || since.elapsed() >= SYNC_EVERY) {
                self.sync();
                unsynced = None;
            }
            if ended {
                return;
            }
        }
    }

    fn write(&mut self, entry: &Entry) {
        if self.bytes + self.buffer.len() as u64 >= self.segment_bytes
            && let Err(error) = self.begin_segment()
        {
            self.dropped(entry.resolved.rows() as u64, &error);
            return;
        }
        for row in 0..entry.resolved.rows() {
            self.buffer.extend_from_slice(line(entry, row).to_string().as_bytes());
            self.buffer.push(b'\n');
            self.buffered_rows += 1;
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush();
            }
        }
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.sync();
        self.file = new_segment(&self.folder, self.number + 1)?;
        self.number += 1;
        self.bytes = 0;
        self.forget_oldest()
    }

    /// Gives the system what is in the buffer: all of it, or nothing.
    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.buffered_rows);
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Part of it may be there. Where that cannot be taken back, a line is torn.
            drop(self.file.set_len(self.bytes));
            self.dropped(rows, &error);
        } else {
            self.bytes += self.buffer.len() as u64;
            self.unsynced_rows += rows;
        }
        self.buffer.clear();
    }

    fn sync(&mut self) {
        self.flush();
        let rows = std::mem::take(&mut self.unsynced_rows);
        if let Err(error) = self.file.sync_data() {
            // What of them is on the disk, nobody knows.
            self.dropped(rows, &error);
            return;
        }
        self.counts.written.fetch_add(rows, Ordering::Relaxed);
        if rows > 0 && self.failed_at.is_some_and(|at| at.elapsed() > WELL_AGAIN) {
            self.failed_at = None;
            tracing::info!(folder = %self.folder.display(), "the log of served features is written again");
        }
    }

    /// Counts rows that are lost, and tells of the first. Serving goes on.
    fn dropped(&mut self, rows: u64, error: &io::Error) {
        self.counts.dropped.fetch_add(rows, Ordering::Relaxed);
        if self.failed_at.replace(Instant::now()).is_none() {
            let folder = self.folder.display();
            tracing::error!(
                %folder, %error,
                "the log of served features cannot be written: its rows are dropped, and counted, until it can; make room there"
            );
        }
    }

    fn forget_oldest(&mut self) -> io::Result<()> {
        let segments = numbered(&self.folder)?;
        let kept = usize::try_from(SEGMENTS).unwrap_or(usize::MAX);
        for (_, file) in segments.iter().take(segments.len().saturating_sub(kept)) {
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

/// Written at its end only, wherever that is.
fn new_segment(folder: &Path, number: u64) -> io::Result<File> {
    File::options().append(true).create(true).open(segment(folder, number))
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number:08}{ENDING}"))
}

/// Segments of a folder by number.
fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(ENDING));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a log: its segments in order, or the file itself.
pub(crate) fn segments(log: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let fault = |error: io::Error| unreadable(log, &error);
    if fs::metadata(log).map_err(fault)?.is_file() {
        return Ok(vec![log.to_owned()]);
    }
    let found = numbered(log).map_err(fault)?;
    if found.is_empty() {
        let reason = "has no log of served features: expected the folder of `hanok serve --feature-log`";
        return Err(mistake(ErrorCode::NotFound, &format!("`{}` {reason}", log.display())));
    }
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

fn line(entry: &Entry, row: usize) -> Json {
    let resolved = &entry.resolved;
    let keys: Map<String, Json> =
        entry.asked.keys.iter().map(|(name, column)| (name.clone(), key_json(column.value(row)))).collect();
    let (mut features, mut from) = (Map::new(), Map::new());
    for (place, (input, column)) in resolved.inputs().enumerate() {
        let origin = resolved.origin(place, row);
        if entry.asked.filled_in.contains(&place) || origin == Origin::Override {
            continue;
        }
        let value = column.value(row).map_or(Json::Null, |value| value.to_owned().to_json());
        features.insert(input.to_owned(), value);
        if !matches!(origin, Origin::Store | Origin::Cache) {
            from.insert(input.to_owned(), origin.as_str().into());
        }
    }
    let mut line = Map::new();
    line.insert("time".to_owned(), instant_text(resolved.asked_at().saturating_mul(1000)).into());
    line.insert("id".to_owned(), entry.id.as_ref().into());
    line.insert("service".to_owned(), resolved.service().name.as_str().into());
    line.insert("keys".to_owned(), keys.into());
    line.insert("features".to_owned(), features.into());
    if !from.is_empty() {
        line.insert("from".to_owned(), from.into());
    }
    Json::Object(line)
}

fn key_json(value: KeyValue<'_>) -> Json {
    match value {
        KeyValue::String(text) => text.into(),
        KeyValue::Bytes(bytes) => String::from_utf8_lossy(bytes).into(),
        KeyValue::Int(number) => number.into(),
    }
}
