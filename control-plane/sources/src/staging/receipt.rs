//! What was fetched, file by file: written before the folder becomes visible, read when somebody asks for it again.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Stream;
use crate::{ArtifactPath, Sha256Digest, SourceError};

/// One file of a fetched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFile {
    /// Its name within the folder.
    pub path: ArtifactPath,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, computed from what is on this disk.
    pub sha256: Sha256Digest,
}

/// The record beside a fetched folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    /// The immutable revision that was fetched.
    pub(crate) revision: String,
    files: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    bytes: u64,
    sha256: String,
}

impl Receipt {
    pub(crate) fn new(revision: &str, files: &[FetchedFile]) -> Self {
        let line = |file: &FetchedFile| Line {
            path: file.path.to_string(),
            bytes: file.bytes,
            sha256: file.sha256.to_string(),
        };
        Self { revision: revision.to_owned(), files: files.iter().map(line).collect() }
    }

    /// The files, if `folder` holds exactly them, byte for byte.
    pub(crate) fn verified(&self, folder: &Path) -> Result<Option<Vec<FetchedFile>>, SourceError> {
        let mut files = Vec::with_capacity(self.files.len());
        for line in &self.files {
            let (Ok(path), Ok(sha256)) = (ArtifactPath::parse(&line.path), Sha256Digest::parse(&line.sha256)) else {
                return Ok(None);
            };
            let found = folder.join(path.to_relative_path());
            if !found.symlink_metadata().is_ok_and(|data| data.is_file() && data.len() == line.bytes) {
                return Ok(None);
            }
            if hash_file(&found)?.1 != sha256 {
                return Ok(None);
            }
            files.push(FetchedFile { path, bytes: line.bytes, sha256 });
        }
        Ok(Some(files))
    }
}

/// Size and digest of the file at `path`. Blocking.
pub(crate) fn hash_file(path: &Path) -> Result<(u64, Sha256Digest), SourceError> {
    let disk = |error: std::io::Error| SourceError::disk("reading a fetched file", &error);
    let mut file = File::open(path).map_err(disk)?;
    let mut digest = Sha256Stream::default();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(disk)?;
        if count == 0 {
            return Ok((bytes, digest.finish()));
        }
        digest.update(&buffer[..count]);
        bytes += count as u64;
    }
}
