//! Files that are objects of S3, Google Cloud Storage or Azure Blob Storage: `s3://BUCKET/KEY`, `gs://`, `az://`.
//!
//! Keys are taken as they are written, a `%` too. Connections, credentials and the address policy are those of every other
//! source (`hanok_sources`). Blocks its thread while the runtime that it was given does the asking; so it must not be used
//! on a thread of that runtime. What a listing told of an object is what is read of it: where it is another one by then,
//! reading fails.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use hanok_sources::{
    OpenBucket, SourceError, SourceErrorCode, SourceReference, SourceSettings, Sources, StoredObject, Upload,
};
use tokio::runtime::Handle;

use super::pattern::{is_hidden, is_pattern, path_fits};
use super::{NewFile, RandomRead, Storage};
use crate::error::OfflineError;

/// Schemes of objects.
const SCHEMES: [&str; 3] = ["s3://", "gs://", "az://"];
/// Bytes that are asked for at once, where more of them will be wanted.
const AHEAD: usize = 8 << 20;
/// Most bytes of one read: a length out of a damaged file must not become memory.
const MOST_AT_ONCE: u64 = 1 << 30;
/// Reads of one file's parts side by side.
const SIDE_BY_SIDE: u64 = 4;

/// Objects of any bucket.
#[derive(Debug)]
pub struct ObjectStorage {
    settings: SourceSettings,
    runtime: Handle,
    sources: OnceLock<Sources>,
    buckets: Mutex<HashMap<String, OpenBucket>>,
    /// What was told of objects, by name.
    known: Mutex<HashMap<String, StoredObject>>,
}

/// Whether a path is one of an object, rather than one of this machine.
pub(crate) fn is_object(path: &str) -> bool {
    SCHEMES.iter().any(|scheme| path.starts_with(scheme))
}

impl ObjectStorage {
    /// Buckets with these settings; `runtime` asks them. Connects to nobody, and reads no certificate, before the first use.
    #[must_use]
    pub fn new(settings: SourceSettings, runtime: Handle) -> Self {
        Self {
            settings,
            runtime,
            sources: OnceLock::new(),
            buckets: Mutex::new(HashMap::new()),
            known: Mutex::new(HashMap::new()),
        }
    }

    /// The bucket of a path, and the key in it.
    fn bucket<'p>(&self, path: &'p str) -> Result<(OpenBucket, &'p str), OfflineError> {
        let (bucket, key) = bucket_and_key(path);
        let fault = |error: SourceError| OfflineError::stored(path, error);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = buckets.get(bucket) {
            return Ok((open.clone(), key));
        }
        let reference = match bucket.parse().map_err(fault)? {
            SourceReference::Bucket(reference) => reference,
            _ => {
                return Err(OfflineError::invalid(format!("`{path}`"), "expected `s3://BUCKET/KEY`, got another form"));
            }
        };
        let sources = match self.sources.get() {
            Some(sources) => sources,
            None => {
                let sources = Sources::new(self.settings.clone()).map_err(fault)?;
                self.sources.get_or_init(|| sources)
            }
        };
        let open = sources.bucket(&reference).map_err(fault)?;
        buckets.insert(bucket.to_owned(), open.clone());
        Ok((open, key))
    }

    fn look(&self, path: &str) -> Result<Option<(OpenBucket, StoredObject)>, OfflineError> {
        let (bucket, key) = self.bucket(path)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        let object = match known {
            Some(object) => Some(object),
            None => self.runtime.block_on(bucket.look(key)).map_err(|error| OfflineError::stored(path, error))?,
        };
        Ok(object.map(|object| (bucket, object)))
    }

    fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// A bucket with its scheme, and the key in it: slashes between them are no part of either.
fn bucket_and_key(path: &str) -> (&str, &str) {
    let at = path.find("://").map_or(0, |at| at + 3);
    let end = path[at..].find('/').map_or(path.len(), |end| at + end);
    (&path[..end], path[end..].trim_start_matches('/'))
}

/// What of a path is before its first pattern, as a folder.
fn folder_before_pattern(key: &str) -> &str {
    let pattern = key.find(['*', '?']).unwrap_or(key.len());
    key[..pattern].rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Storage for ObjectStorage {
    fn list(&self, path: &str) -> Result<Vec<String>, OfflineError> {
        let (bucket, key) = self.bucket(path)?;
        let place = &path[..path.len() - key.len()];
        let parts =
            |key: &'_ str| key.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let pattern = parts(key);
        let folder = key.trim_end_matches('/');
        let found = if is_pattern(key) {
            let fits = |found: &str| path_fits(&pattern, &parts(found));
            self.runtime.block_on(bucket.list(folder_before_pattern(key), &fits))
        } else {
            let single = if key.ends_with('/') || key.is_empty() { None } else { self.look(path)? };
            match single {
                Some((_, object)) => Ok(vec![object]),
                None => {
                    let is_table = |found: &str| {
                        let below = found.strip_prefix(folder).unwrap_or(found);
                        !parts(below).iter().any(|part| is_hidden(part))
                            && [".parquet", ".csv"].iter().any(|ending| found.ends_with(ending))
                    };
                    self.runtime.block_on(bucket.list(folder, &is_table))
                }
            }
        };
        let mut found = found.map_err(|error| OfflineError::stored(path, error))?;
        if found.is_empty() {
            let name = format!("`{path}` does not exist, or holds no `.parquet` or `.csv`");
            return Err(OfflineError::NotFound { what: "file", name });
        }
        // As on a disk, where the names of folders are compared one by one: of equal rows the last of the files counts.
        found.sort_by(|one, other| one.key.split('/').cmp(other.key.split('/')));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = Vec::with_capacity(found.len());
        for object in found {
            let name = format!("{place}{}", object.key);
            names.push(name.clone());
            known.insert(name, object);
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn RandomRead>, OfflineError> {
        let Some((bucket, object)) = self.look(name)? else {
            return Err(OfflineError::NotFound { what: "file", name: format!("`{name}` does not exist") });
        };
        Ok(Arc::new(ObjectFile { name: name.to_owned(), bucket, object, runtime: self.runtime.clone() }))
    }

    fn create(&self, name: &str) -> Result<Box<dyn NewFile>, OfflineError> {
        self.check_place(name)?;
        let (bucket, key) = self.bucket(name)?;
        let upload = bucket.upload(key).map_err(|error| OfflineError::stored(name, error))?;
        self.forget(name);
        Ok(Box::new(NewObject {
            name: name.to_owned(),
            upload: Some(upload),
            buffer: BytesMut::new(),
            runtime: self.runtime.clone(),
        }))
    }

    fn check_place(&self, name: &str) -> Result<(), OfflineError> {
        let (_, key) = self.bucket(name)?;
        if key.is_empty() || key.ends_with('/') {
            return Err(OfflineError::invalid(format!("`{name}`"), "expected the name of a file, got a folder"));
        }
        Ok(())
    }

    fn are_same(&self, one: &str, other: &str) -> bool {
        bucket_and_key(one) == bucket_and_key(other)
    }

    fn remove(&self, name: &str) -> Result<bool, OfflineError> {
        let (bucket, key) = self.bucket(name)?;
        self.forget(name);
        self.runtime.block_on(bucket.remove(key)).map_err(|error| OfflineError::stored(name, error))
    }
}

/// An object, read in ranges.
#[derive(Debug)]
struct ObjectFile {
    name: String,
    bucket: OpenBucket,
    object: StoredObject,
    runtime: Handle,
}

impl RandomRead for ObjectFile {
    fn length(&self) -> u64 {
        self.object.bytes
    }

    fn version(&self) -> String {
        self.object.version()
    }

    fn ahead(&self) -> usize {
        AHEAD
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let wanted = length as u64;
        if start.checked_add(wanted).is_none_or(|end| end > self.object.bytes) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before"));
        }
        if wanted > MOST_AT_ONCE {
            return Err(OfflineError::LimitReached { what: "bytes of one read", limit: MOST_AT_ONCE }.into());
        }
        let end = start + wanted;
        let stored = |error| io::Error::from(OfflineError::stored(&self.name, error));
        // Long stretches come in parts, some of them side by side.
        let part = AHEAD as u64;
        if wanted <= part {
            return self.runtime.block_on(self.bucket.read(&self.object, start..end)).map_err(stored);
        }
        let mut whole = BytesMut::with_capacity(length);
        let mut at = start;
        while at < end {
            let starts = (0..SIDE_BY_SIDE).map(|number| at + number * part).filter(|start| *start < end);
            let reads = starts.map(|start| self.bucket.read(&self.object, start..end.min(start + part)));
            let parts = self.runtime.block_on(futures_util::future::try_join_all(reads)).map_err(stored)?;
            for bytes in parts {
                whole.extend_from_slice(&bytes);
                at += bytes.len() as u64;
            }
        }
        Ok(whole.freeze())
    }
}

/// An object under way.
#[derive(Debug)]
struct NewObject {
    name: String,
    upload: Option<Upload>,
    buffer: BytesMut,
    runtime: Handle,
}

impl NewObject {
    fn fault(&self, error: SourceError) -> io::Error {
        OfflineError::stored(&self.name, error).into()
    }
}

impl Write for NewObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(upload) = &mut self.upload else { return Err(io::Error::other("the file was given up")) };
        let taken = bytes.len().min(Upload::PART_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == Upload::PART_BYTES {
            let part = self.buffer.split().freeze();
            let sent = self.runtime.block_on(upload.part(part));
            sent.map_err(|error| self.fault(error))?;
        }
        Ok(taken)
    }

    /// Parts are of one size: what is left goes up at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for NewObject {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let Some(upload) = self.upload.take() else { return Err(io::Error::other("the file was given up")) };
        let rest = self.buffer.split().freeze();
        self.runtime.block_on(upload.finish(rest)).map_err(|error| self.fault(error))
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            self.runtime.block_on(upload.give_up());
        }
    }
}

/// The codes of sources as those of this crate.
pub(crate) const fn code_of(code: SourceErrorCode) -> crate::OfflineErrorCode {
    use crate::OfflineErrorCode as Code;
    match code {
        SourceErrorCode::InvalidReference | SourceErrorCode::InvalidSetting | SourceErrorCode::UnsafePath => {
            Code::InvalidArgument
        }
        SourceErrorCode::CredentialsMissing => Code::CredentialsMissing,
        SourceErrorCode::CredentialsRefused => Code::CredentialsRefused,
        SourceErrorCode::AddressRefused | SourceErrorCode::PlainTextRefused => Code::AddressRefused,
        SourceErrorCode::NotFound => Code::NotFound,
        SourceErrorCode::TooLarge | SourceErrorCode::TooManyFiles => Code::ResourceExhausted,
        SourceErrorCode::Unsupported => Code::Unsupported,
        // Unreachable, silent, failing, changing under the reader: later it may be otherwise.
        _ => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::{bucket_and_key, folder_before_pattern, is_object};

    #[test]
    fn buckets_and_keys() {
        for (path, bucket, key) in
            [("s3://b/a/x.csv", "s3://b", "a/x.csv"), ("s3://b//x", "s3://b", "x"), ("gs://b", "gs://b", "")]
        {
            assert_eq!(bucket_and_key(path), (bucket, key));
        }
    }

    #[test]
    fn folders_before_patterns() {
        for (key, folder) in [("a/b/*.csv", "a/b"), ("*", ""), ("a/b?/c", "a"), ("x*/y", ""), ("a/**/b", "a")] {
            assert_eq!(folder_before_pattern(key), folder, "{key}");
        }
        assert!(is_object("s3://b/x") && is_object("gs://b/x") && is_object("az://b/x"));
        assert!(!is_object("/s3://b/x") && !is_object("past/x.csv") && !is_object("https://b/x"));
    }
}
