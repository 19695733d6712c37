//! Reads blobs from `git cat-file --batch`, whose format is `ID TYPE SIZE\n`, the bytes, `\n`, and writes them as files.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::ChildStdout;

use super::command::{Git, RunLimits, failed};
use super::lfs_pointer;
use super::tree::TreeFile;
use crate::staging::{FetchedFile, FileWriter, StagingFolder, Written, joined};
use crate::{ArtifactPath, SourceError};

const PIECE_BYTES: usize = 256 << 10;
const LONGEST_HEAD_BYTES: u64 = 200;

/// Sizes of `blobs`, in their order.
pub(super) async fn sizes(git: &Git, repository: &Path, blobs: &[&str]) -> Result<Vec<u64>, SourceError> {
    let input = blobs.iter().flat_map(|blob| [blob.as_bytes(), b"\n"].concat()).collect();
    let limits = RunLimits { output: blobs.len() as u64 * LONGEST_HEAD_BYTES, folder: None };
    let ran = git.run(repository, &["cat-file", "--batch-check"], input, limits).await?;
    let text = String::from_utf8_lossy(&ran.output).into_owned();
    let sizes: Option<Vec<u64>> = text.lines().map(size_of).collect();
    sizes.filter(|sizes| sizes.len() == blobs.len()).ok_or_else(|| failed("a blob of the folder is missing"))
}

/// Size in a head line, of a blob.
fn size_of(line: &str) -> Option<u64> {
    let (_, rest) = line.trim_end().split_once(' ')?;
    rest.strip_prefix("blob ")?.parse().ok()
}

/// Writes `files` to `folder`, one after the other.
pub(super) async fn write(
    git: &Git,
    repository: &Path,
    files: &[TreeFile],
    folder: &Arc<StagingFolder>,
) -> Result<Vec<FetchedFile>, SourceError> {
    let mut process = git.start(repository, &["cat-file", "--batch"])?;
    let (Some(mut stdin), Some(stdout)) = (process.child.stdin.take(), process.child.stdout.take()) else {
        return Err(failed("it gave no pipes"));
    };
    let mut stdout = BufReader::with_capacity(PIECE_BYTES, stdout);
    let mut fetched = Vec::with_capacity(files.len());
    for file in files {
        let line = format!("{}\n", file.blob);
        stdin.write_all(line.as_bytes()).await.map_err(|error| failed("it ended early").with_operator_detail(error))?;
        fetched.push(one(&mut stdout, &file.path, folder).await?);
    }
    Ok(fetched)
}

async fn one(
    stdout: &mut BufReader<ChildStdout>,
    path: &ArtifactPath,
    folder: &Arc<StagingFolder>,
) -> Result<FetchedFile, SourceError> {
    let broken = |error: std::io::Error| failed("it ended early").with_operator_detail(error);
    let mut head = String::new();
    (&mut *stdout).take(LONGEST_HEAD_BYTES).read_line(&mut head).await.map_err(broken)?;
    let size = size_of(&head).ok_or_else(|| failed("a blob of the folder is missing"))?;
    let (staging, name) = (Arc::clone(folder), path.clone());
    let part = joined(tokio::task::spawn_blocking(move || {
        let mut part = staging.part(&name)?;
        part.restart(None)?;
        Ok(part)
    }))
    .await?;
    let writer = FileWriter::start(part);
    let mut left = size;
    while left > 0 {
        let piece = piece(stdout, left).await.map_err(broken)?;
        if left == size
            && size <= lfs_pointer::LONGEST_BYTES
            && let Some(refusal) = lfs_pointer::refusal(path, &piece)
        {
            return Err(refusal);
        }
        left -= piece.len() as u64;
        if !writer.write(piece).await {
            break;
        }
    }
    let written = Written::of(writer.stop().await?);
    if stdout.read_u8().await.map_err(broken)? != b'\n' {
        return Err(failed("a blob is longer than announced"));
    }
    let (staging, name) = (Arc::clone(folder), path.clone());
    joined(tokio::task::spawn_blocking(move || staging.finish(&name, written))).await
}

/// A whole piece, or what is left of the blob.
async fn piece(stdout: &mut BufReader<ChildStdout>, left: u64) -> std::io::Result<Bytes> {
    let length = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    let mut piece = BytesMut::zeroed(length);
    stdout.read_exact(&mut piece).await?;
    Ok(piece.freeze())
}
