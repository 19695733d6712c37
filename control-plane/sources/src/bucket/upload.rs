//! An object under way: parts that go up side by side, and come into sight together when the last is there.
//!
//! What is small goes up whole. An upload that is neither finished nor given up (a process that was killed) is never seen;
//! storages keep its parts until a rule of the bucket removes them.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use tokio::task::JoinSet;

use super::OpenBucket;
use crate::sources::in_time;
use crate::{SourceError, SourceErrorCode};

/// Parts that go up at the same time.
const SIDE_BY_SIDE: usize = 2;
const AGAIN: &str = "repeat the command; nothing of it is seen";

/// An object that is being written.
#[derive(Debug)]
pub struct Upload {
    bucket: OpenBucket,
    path: Path,
    parts: Option<Box<dyn MultipartUpload>>,
    running: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Bytes of every part but the last, which storages want to be equal and no smaller than 5 MiB. They take 10,000 parts.
    pub const PART_BYTES: usize = 8 << 20;

    pub(super) fn new(bucket: OpenBucket, path: Path) -> Self {
        Self { bucket, path, parts: None, running: JoinSet::new() }
    }

    /// Sends a part of [`Self::PART_BYTES`]; waits while others are on their way.
    ///
    /// # Errors
    /// As the storage answers; then the upload cannot be finished any more.
    pub async fn part(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        let time = self.bucket.limits.time;
        in_time(time, AGAIN, Box::pin(self.part_now(bytes))).await
    }

    async fn part_now(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        let begun = match self.parts.take() {
            Some(parts) => parts,
            None => self.bucket.store.put_multipart(&self.path).await.map_err(|error| self.explained(&error))?,
        };
        let parts = self.parts.insert(begun);
        self.running.spawn(parts.put_part(PutPayload::from_bytes(bytes)));
        self.wait_for_all_but(SIDE_BY_SIDE - 1).await
    }

    async fn wait_for_all_but(&mut self, left: usize) -> Result<(), SourceError> {
        while self.running.len() > left {
            match self.running.join_next().await {
                Some(Ok(sent)) => sent.map_err(|error| self.explained(&error))?,
                Some(Err(ended)) => {
                    let ended = SourceError::new(SourceErrorCode::ServerError, "an upload broke off", AGAIN)
                        .with_operator_detail(ended);
                    return Err(ended);
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Sends the rest and makes the object seen, whole.
    ///
    /// # Errors
    /// As the storage answers; then what was seen under its name is as it was.
    pub async fn finish(mut self, rest: Bytes) -> Result<(), SourceError> {
        let time = self.bucket.limits.time;
        let finished = in_time(time, AGAIN, Box::pin(self.finish_now(rest))).await;
        if finished.is_err() {
            self.give_up().await;
        }
        finished
    }

    async fn finish_now(&mut self, rest: Bytes) -> Result<(), SourceError> {
        if self.parts.is_none() {
            let put = self.bucket.store.put(&self.path, PutPayload::from_bytes(rest)).await;
            return put.map(|_| ()).map_err(|error| self.explained(&error));
        }
        if !rest.is_empty() {
            self.part_now(rest).await?;
        }
        self.wait_for_all_but(0).await?;
        let Some(parts) = self.parts.as_mut() else { return Ok(()) };
        let completed = parts.complete().await;
        completed.map(|_| ()).map_err(|error| self.explained(&error))
    }

    /// Gives up: asks the storage to forget the parts that it has, within the limit of silence.
    pub async fn give_up(mut self) {
        self.running.shutdown().await;
        if let Some(mut parts) = self.parts.take() {
            // A storage that cannot be reached keeps them until a rule of the bucket removes them; they are never seen.
            drop(tokio::time::timeout(self.bucket.limits.silence, parts.abort()).await);
        }
    }

    fn explained(&self, error: &object_store::Error) -> SourceError {
        self.bucket.explained(error, self.path.as_ref())
    }
}
