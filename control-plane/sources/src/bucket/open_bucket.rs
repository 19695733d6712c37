//! A bucket whose objects are listed, read in parts, written and removed, one by one.
//!
//! Every call is bounded by the limits' time, and what it reads by what the caller asks for. An object that was looked at
//! and is another one when it is read is refused, never mixed.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::connection::GuardedConnection;
use super::objects::mark;
use super::upload::Upload;
use super::{open, store_error};
use crate::artifact_path::shown;
use crate::egress::WebClient;
use crate::sources::in_time;
use crate::{BucketReference, Credentials, Limits, SourceError, SourceErrorCode};

/// What to do when a call took too long.
const AGAIN: &str = "repeat the command; check the storage and the network between";
/// Objects that one listing looks at.
const MOST_LISTED: usize = 1_000_000;

/// A bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenBucket {
    pub(super) store: Arc<dyn ObjectStore>,
    place: BucketReference,
    pub(super) limits: Limits,
}

/// An object as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its whole name in the bucket.
    pub key: String,
    /// Bytes in it.
    pub bytes: u64,
    /// The storage's mark of these bytes, where it gives a strong one.
    mark: Option<String>,
    /// Seconds since the epoch of its last change.
    modified: i64,
}

impl StoredObject {
    fn new(object: &ObjectMeta) -> Self {
        Self {
            key: object.location.to_string(),
            bytes: object.size,
            mark: mark(object),
            modified: object.last_modified.timestamp(),
        }
    }

    /// A text that is another when the object was written anew.
    #[must_use]
    pub fn version(&self) -> String {
        match &self.mark {
            Some(mark) => format!("{}-{mark}", self.bytes),
            None => format!("{}-at-{}", self.bytes, self.modified),
        }
    }
}

impl OpenBucket {
    pub(crate) fn open(
        client: &WebClient,
        reference: &BucketReference,
        credentials: &Credentials,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let connection = GuardedConnection { client: client.clone(), document_bytes: limits.document_bytes };
        let place = BucketReference { prefix: String::new(), ..reference.clone() };
        Ok(Self { store: open::open(&place, credentials, connection)?, place, limits })
    }

    /// The objects below `prefix`, a folder, whose names `wanted` takes; the empty prefix is the whole bucket. Those that
    /// stand for folders in consoles are left out.
    ///
    /// # Errors
    /// `NotFound` for a bucket that does not exist, `TooManyFiles` for more than the limit of files, and as the storage
    /// answers.
    pub async fn list(
        &self,
        prefix: &str,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vec<StoredObject>, SourceError> {
        in_time(self.limits.time, AGAIN, Box::pin(self.list_now(prefix, wanted))).await
    }

    async fn list_now(
        &self,
        prefix: &str,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vec<StoredObject>, SourceError> {
        let prefix = self.path(prefix)?;
        let mut listed = self.store.list(Some(&prefix));
        let (mut found, mut looked_at) = (Vec::new(), 0_usize);
        let mut parents = std::collections::HashSet::new();
        while let Some(object) = listed.next().await {
            let object = object.map_err(|error| self.explained(&error, prefix.as_ref()))?;
            looked_at += 1;
            if looked_at > MOST_LISTED || found.len() > self.limits.files {
                return Err(crate::listing::too_many_files(self.limits.files));
            }
            let key = object.location.as_ref();
            if let Some((parent, _)) = key.rsplit_once('/') {
                parents.insert(parent.to_owned());
            }
            if wanted(key) {
                found.push(StoredObject::new(&object));
            }
        }
        found.retain(|object| object.bytes > 0 || !parents.contains(&object.key));
        Ok(found)
    }

    /// The object of that name; none where there is none, or no such bucket.
    ///
    /// # Errors
    /// As the storage answers.
    pub async fn look(&self, key: &str) -> Result<Option<StoredObject>, SourceError> {
        let path = self.path(key)?;
        match in_time(self.limits.time, AGAIN, async { Ok(self.store.head(&path).await) }).await? {
            Ok(object) => Ok(Some(StoredObject::new(&object))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.explained(&error, key)),
        }
    }

    /// These bytes of an object.
    ///
    /// # Errors
    /// `SourceChanged` when it is another object than was looked at, `LengthMismatch` when fewer bytes come, and as the
    /// storage answers.
    pub async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, SourceError> {
        in_time(self.limits.time, AGAIN, Box::pin(self.read_now(object, range))).await
    }

    async fn read_now(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, SourceError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let path = self.path(&object.key)?;
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let got = self.store.get_opts(&path, options).await.map_err(|error| self.explained(&error, &object.key))?;
        let now = StoredObject::new(&got.meta);
        if now.version() != object.version() {
            return Err(SourceError::new(
                SourceErrorCode::SourceChanged,
                format!("`{}` was written anew while it was read", self.told(&object.key)),
                "repeat the command when nobody writes there",
            ));
        }
        let mut whole = BytesMut::with_capacity(length);
        let mut pieces = got.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.explained(&error, &object.key))?;
            if piece.len() > length - whole.len() {
                return Err(self.other_length(&object.key));
            }
            // One piece needs no copy.
            if piece.len() == length {
                return Ok(piece);
            }
            whole.extend_from_slice(&piece);
        }
        if whole.len() == length { Ok(whole.freeze()) } else { Err(self.other_length(&object.key)) }
    }

    fn other_length(&self, key: &str) -> SourceError {
        SourceError::new(
            SourceErrorCode::LengthMismatch,
            format!("other bytes of `{}` came than were asked for", self.told(key)),
            "repeat the command; check the storage and what is before it",
        )
    }

    /// Begins to write an object, which is seen when it is finished and not before.
    ///
    /// # Errors
    /// `UnsafePath` for a name that no object can have.
    pub fn upload(&self, key: &str) -> Result<Upload, SourceError> {
        Ok(Upload::new(self.clone(), self.path(key)?))
    }

    /// Removes an object; false where there was none.
    ///
    /// # Errors
    /// As the storage answers.
    pub async fn remove(&self, key: &str) -> Result<bool, SourceError> {
        // Storages answer alike whether one was there or not.
        if self.look(key).await?.is_none() {
            return Ok(false);
        }
        let path = self.path(key)?;
        match in_time(self.limits.time, AGAIN, async { Ok(self.store.delete(&path).await) }).await? {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.explained(&error, key)),
        }
    }

    fn path(&self, key: &str) -> Result<Path, SourceError> {
        Path::parse(key).map_err(|error| self.explained(&error.into(), key))
    }

    /// An object's name for whoever reads errors.
    fn told(&self, key: &str) -> String {
        format!("{}://{}/{}", self.place.provider.scheme(), self.place.bucket, shown(key))
    }

    pub(super) fn explained(&self, error: &object_store::Error, what: &str) -> SourceError {
        store_error::explained(error, &self.place, what)
    }
}
