//! Hands pieces from a task to a thread that may wait for the disk; hashing happens there too.
//!
//! Bounded: at most [`QUEUED_PIECES`] pieces wait. Dropping the writer keeps and notes what was written.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::PartFile;
use crate::{Sha256Digest, SourceError, SourceErrorCode};

const QUEUED_PIECES: usize = 16;

/// The writing half of a [`PartFile`].
#[derive(Debug)]
pub(crate) struct FileWriter {
    pieces: mpsc::Sender<Bytes>,
    thread: JoinHandle<Result<PartFile, SourceError>>,
}

/// A file whose bytes are all there.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) part: PartFile,
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256Digest,
}

impl FileWriter {
    /// Starts writing where `part` stands.
    pub(crate) fn start(mut part: PartFile) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(QUEUED_PIECES);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(piece) = queue.blocking_recv() {
                part.write(&piece)?;
            }
            part.note()?;
            Ok(part)
        });
        Self { pieces, thread }
    }

    /// Queues a piece; `false` when the disk has refused, which [`FileWriter::stop`] explains.
    pub(crate) async fn write(&self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits until everything queued is written and noted, and gives the part back.
    pub(crate) async fn stop(self) -> Result<PartFile, SourceError> {
        drop(self.pieces);
        joined(self.thread).await
    }
}

impl Written {
    /// Seals `part`.
    pub(crate) fn of(part: PartFile) -> Self {
        let (bytes, sha256) = part.seal();
        Self { part, bytes, sha256 }
    }
}

/// What a blocking task gave.
pub(crate) async fn joined<T>(thread: JoinHandle<Result<T, SourceError>>) -> Result<T, SourceError> {
    thread.await.unwrap_or_else(|error| {
        Err(SourceError::new(SourceErrorCode::Disk, "a writing thread ended early", "repeat the command")
            .with_operator_detail(error))
    })
}
