//! Downloads listed files into a staging folder: continued where a range request can, verified, tried again when it helps.
//!
//! One driver for every source that gives files by name; what differs is behind [`Remote`].

mod budget;
mod one_file;
mod retry;
mod stream;

use std::future::Future;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream as streams};

pub(crate) use budget::ByteBudget;
pub(crate) use stream::{Body, RemoteStream};

use crate::staging::{FetchedFile, StagingFolder};
use crate::{Limits, ListedFile, SourceError};

/// A place that gives listed files.
pub(crate) trait Remote: Send + Sync + 'static {
    /// Opens `file`, from byte `offset` of the bytes that `mark` names if it can, else from its start.
    fn open(
        &self,
        file: &ListedFile,
        offset: u64,
        mark: Option<&str>,
    ) -> impl Future<Output = Result<RemoteStream, SourceError>> + Send;
}

/// What a download needs besides the file.
#[derive(Debug)]
pub(crate) struct Download<R> {
    pub(crate) remote: R,
    pub(crate) folder: Arc<StagingFolder>,
    pub(crate) limits: Limits,
    pub(crate) budget: ByteBudget,
}

/// Downloads all of `files`, some at a time. The first permanent failure ends it; what is complete stays for the next try.
pub(crate) async fn all<R: Remote>(
    download: &Download<R>,
    files: &[ListedFile],
) -> Result<Vec<FetchedFile>, SourceError> {
    // By index: a closure over borrowed files would keep the future from being `Send`.
    streams::iter(0..files.len())
        .map(|index| one_file::download(download, &files[index]))
        .buffered(download.limits.parallel_files.max(1))
        .try_collect()
        .await
}
