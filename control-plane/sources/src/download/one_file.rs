//! One file: taken as it is when complete, else continued, verified, moved to the finished ones.

use std::sync::Arc;

use super::retry::Retry;
use super::{Download, Remote};
use crate::staging::{FetchedFile, FileWriter, PartFile, StagingFolder, Written, joined};
use crate::{ListedFile, Sha256Digest, SourceError, SourceErrorCode};

/// Downloads `file`.
pub(super) async fn download<R: Remote>(download: &Download<R>, file: &ListedFile) -> Result<FetchedFile, SourceError> {
    let folder = &download.folder;
    if let Some((bytes, sha256)) = blocking(folder, file, |folder, file| folder.finished(&file.path)).await? {
        if file.bytes.is_none_or(|expected| expected == bytes) && file.sha256.is_none_or(|expected| expected == sha256)
        {
            download.budget.take(bytes)?;
            return Ok(FetchedFile { path: file.path.clone(), bytes, sha256 });
        }
        blocking(folder, file, |folder, file| folder.forget(&file.path)).await?;
    }
    let mut retry = Retry::new(download.limits.retries);
    let mut begun_anew = false;
    loop {
        let part = blocking(folder, file, |folder, file| folder.part(&file.path)).await?;
        let (before, _) = part.progress();
        let (part, outcome) = attempt(download, file, part).await?;
        let written = Written::of(part);
        let error = match outcome {
            Ok(()) => match verified(file, written.bytes, written.sha256) {
                Ok(()) => return finish(folder, file, written).await,
                // Bytes of an earlier try may be to blame: once, from the start.
                Err(_) if before > 0 && !begun_anew => {
                    begun_anew = true;
                    download.budget.give_back(written.bytes);
                    emptied(written.part).await?;
                    continue;
                }
                Err(error) => {
                    emptied(written.part).await?;
                    return Err(error);
                }
            },
            Err(error) => error,
        };
        let (after, mark) = written.part.progress();
        download.budget.give_back(after);
        drop(written);
        match retry.after(&error, after > before && mark.is_some()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
}

/// One try: the part as it is afterwards, and whether all of the file is there. Takes from the budget what the part holds
/// then. An error of the outer kind is the disk's.
async fn attempt<R: Remote>(
    download: &Download<R>,
    file: &ListedFile,
    mut part: PartFile,
) -> Result<(PartFile, Result<(), SourceError>), SourceError> {
    let (offset, mark) = part.progress();
    download.budget.take(offset)?;
    if offset > 0 && file.bytes == Some(offset) {
        return Ok((part, Ok(())));
    }
    let opened = match download.remote.open(file, offset, mark.as_deref()).await {
        Ok(opened) => opened,
        Err(error) => return Ok((part, Err(error))),
    };
    if let Err(error) = plausible(file, &opened) {
        return Ok((part, Err(error)));
    }
    let same = opened.starts_at == offset && offset > 0;
    if !same {
        download.budget.give_back(offset);
        if opened.starts_at != 0 {
            // What is there may be to blame: the next attempt asks for the whole file.
            emptied(part).await?;
            let part = blocking(&download.folder, file, |folder, file| folder.part(&file.path)).await?;
            return Ok((part, Err(other_range(file))));
        }
        // Bytes with a known digest may be continued whatever the server calls them.
        let mark = file.sha256.map(|digest| format!("sha256:{digest}")).or(opened.mark.clone());
        part = joined(tokio::task::spawn_blocking(move || part.restart(mark).map(|()| part))).await?;
    }
    let expected = file.bytes.or(opened.total);
    let mut body = opened.body;
    let mut bytes = if same { offset } else { 0 };
    let writer = FileWriter::start(part);
    let outcome = loop {
        let piece = match body.piece().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break check_length(file, expected, bytes),
            Err(error) => break Err(error),
        };
        bytes += piece.len() as u64;
        if expected.is_some_and(|expected| bytes > expected) {
            break check_length(file, expected, bytes);
        }
        if let Err(error) = download.budget.take(piece.len() as u64) {
            break Err(error);
        }
        if !writer.write(piece).await {
            break Ok(());
        }
    };
    // A disk that refused is told here.
    Ok((writer.stop().await?, outcome))
}

/// Whether what was opened can be what was listed.
fn plausible(file: &ListedFile, opened: &super::RemoteStream) -> Result<(), SourceError> {
    let sizes_differ = matches!((file.bytes, opened.total), (Some(listed), Some(total)) if listed != total);
    let marks_differ = matches!((&file.mark, &opened.mark), (Some(listed), Some(mark)) if listed != mark);
    if sizes_differ || marks_differ {
        return Err(SourceError::new(
            SourceErrorCode::SourceChanged,
            format!("`{}` is not what was listed a moment ago", file.path),
            "repeat the command: it resolves the reference anew",
        ));
    }
    Ok(())
}

fn check_length(file: &ListedFile, expected: Option<u64>, actual: u64) -> Result<(), SourceError> {
    match expected {
        Some(expected) if expected != actual => Err(SourceError::new(
            SourceErrorCode::LengthMismatch,
            format!("expected `{expected}` bytes of `{}`, got `{actual}`", file.path),
            "repeat the command; if it stays, the server announces wrong lengths",
        )),
        _ => Ok(()),
    }
}

fn other_range(file: &ListedFile) -> SourceError {
    SourceError::new(
        SourceErrorCode::UnexpectedAnswer,
        format!("the server sent another range of `{}` than asked for", file.path),
        "repeat the command: it begins this file anew; if it stays, the server answers range requests wrongly",
    )
}

fn verified(file: &ListedFile, bytes: u64, sha256: Sha256Digest) -> Result<(), SourceError> {
    check_length(file, file.bytes, bytes)?;
    match file.sha256 {
        Some(expected) if expected != sha256 => Err(SourceError::new(
            SourceErrorCode::DigestMismatch,
            format!("expected `{}` with SHA-256 `{expected}`, got `{sha256}`", file.path),
            "do not use these bytes; ask the publisher, or pin the new digest if the change is meant",
        )),
        _ => Ok(()),
    }
}

async fn finish(folder: &Arc<StagingFolder>, file: &ListedFile, written: Written) -> Result<FetchedFile, SourceError> {
    let (folder, path) = (Arc::clone(folder), file.path.clone());
    joined(tokio::task::spawn_blocking(move || folder.finish(&path, written))).await
}

async fn emptied(mut part: PartFile) -> Result<(), SourceError> {
    joined(tokio::task::spawn_blocking(move || part.restart(None))).await
}

/// Runs `work` where it may wait for the disk.
async fn blocking<T: Send + 'static>(
    folder: &Arc<StagingFolder>,
    file: &ListedFile,
    work: impl FnOnce(&StagingFolder, &ListedFile) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let (folder, file) = (Arc::clone(folder), file.clone());
    joined(tokio::task::spawn_blocking(move || work(&folder, &file))).await
}
