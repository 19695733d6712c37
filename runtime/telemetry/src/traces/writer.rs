//! The thread that writes traces. Nobody waits for it; a disk that takes nothing costs traces, which are counted, and nothing
//! else.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use super::numbered_files::TraceFiles;
use super::record::TraceRecord;
use super::record_queue::RecordQueue;

/// What became of traces.
#[derive(Debug, Default)]
pub(super) struct WriterCounts {
    pub(super) written: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// Writes what comes until the queue is closed and empty.
#[derive(Debug)]
struct Writer {
    queue: Arc<RecordQueue>,
    counts: Arc<WriterCounts>,
    files: TraceFiles,
    /// Whether the last write failed: the first of a row is told, the others are counted.
    failing: bool,
}

/// Starts the thread.
pub(super) fn start(
    queue: &Arc<RecordQueue>,
    counts: &Arc<WriterCounts>,
    files: TraceFiles,
) -> io::Result<JoinHandle<()>> {
    let mut writer = Writer { queue: Arc::clone(queue), counts: Arc::clone(counts), files, failing: false };
    std::thread::Builder::new().name("hanok-traces".to_owned()).spawn(move || writer.run())
}

impl Writer {
    fn run(&mut self) {
        let mut text = String::new();
        while let Some(mut records) = self.queue.take() {
            let count = records.len();
            while !records.is_empty() {
                self.write_some(&mut records, &mut text);
            }
            self.queue.note_done(count);
        }
    }

    /// Writes those in front that go to one file, at once.
    fn write_some(&mut self, records: &mut VecDeque<TraceRecord>, text: &mut String) {
        let Some(first) = records.front() else { return };
        let stream = Arc::clone(&first.stream);
        let room = self.files.room(&stream);
        text.clear();
        let mut count = 0;
        while let Some(record) = records.front().filter(|next| count < room && Arc::ptr_eq(&next.stream, &stream)) {
            if count > 0 {
                text.push_str(",\n");
            }
            record.write(text);
            records.pop_front();
            count += 1;
        }
        match self.files.write(&stream, text, count) {
            Ok(()) => {
                self.counts.written.fetch_add(count, Relaxed);
                if std::mem::replace(&mut self.failing, false) {
                    tracing::info!("traces are written again");
                }
            }
            Err(error) => {
                self.counts.failed.fetch_add(count, Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "traces cannot be written and are lost; the server serves on");
                }
            }
        }
    }
}
