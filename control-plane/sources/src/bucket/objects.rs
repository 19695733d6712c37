//! Objects below a prefix as a source: their listing, and each as a file.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::connection::GuardedConnection;
use super::{open, store_error};
use crate::download::{Body, Remote, RemoteStream};
use crate::egress::WebClient;
use crate::listing::{Listing, too_many_files};
use crate::{ArtifactPath, BucketReference, Credentials, Limits, ListedFile, SourceError, SourceErrorCode};

/// Objects of a bucket below a prefix.
#[derive(Clone, Debug)]
pub(crate) struct BucketObjects {
    store: Arc<dyn ObjectStore>,
    reference: BucketReference,
    limits: Limits,
}

impl BucketObjects {
    pub(crate) fn open(
        client: &WebClient,
        reference: &BucketReference,
        credentials: &Credentials,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let connection = GuardedConnection { client: client.clone(), document_bytes: limits.document_bytes };
        Ok(Self { store: open::open(reference, credentials, connection)?, reference: reference.clone(), limits })
    }

    /// Everything below the prefix; or the one object that the prefix names.
    pub(crate) async fn list(&self) -> Result<Vec<ListedFile>, SourceError> {
        let prefix = self.path(&self.reference.prefix)?;
        let mut found: Vec<ObjectMeta> = Vec::new();
        let mut objects = self.store.list(Some(&prefix));
        while let Some(object) = objects.next().await {
            found.push(object.map_err(|error| self.explained(&error, &self.reference.prefix))?);
            // Markers of folders are among them, one at most for each file and its folders.
            if found.len() > self.limits.files.saturating_mul(2) {
                return Err(too_many_files(self.limits.files));
            }
        }
        if found.is_empty() {
            return self.single(&prefix).await;
        }
        let mut files = Vec::with_capacity(found.len());
        for object in found {
            let name =
                object.location.as_ref().strip_prefix(prefix.as_ref()).unwrap_or_default().trim_start_matches('/');
            // The marker of the prefix itself.
            if !name.is_empty() {
                files.push(listed(ArtifactPath::parse(name)?, &object));
            }
        }
        without_markers(files, self.limits)
    }

    async fn single(&self, path: &Path) -> Result<Vec<ListedFile>, SourceError> {
        let nothing = || {
            SourceError::new(
                SourceErrorCode::NotFound,
                format!("nothing is at `{}`", crate::artifact_path::shown(&self.reference.to_string())),
                "check the bucket and the prefix: it names a folder or an object",
            )
        };
        if self.reference.prefix.is_empty() {
            return Err(nothing());
        }
        match self.store.head(path).await {
            Ok(object) => {
                let name = path.filename().unwrap_or_default();
                let mut listing = Listing::new(self.limits);
                listing.add(listed(ArtifactPath::parse(name)?, &object))?;
                Ok(listing.finish())
            }
            Err(object_store::Error::NotFound { .. }) => Err(nothing()),
            Err(error) => Err(self.explained(&error, &self.reference.prefix)),
        }
    }

    /// The whole of one small object.
    pub(crate) async fn read(&self, path: &ArtifactPath, most: u64) -> Result<Bytes, SourceError> {
        let file = ListedFile { path: path.clone(), bytes: None, sha256: None, mark: None };
        let mut body = self.open(&file, 0, None).await?.body;
        let mut whole = BytesMut::new();
        while let Some(piece) = body.piece().await? {
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > most {
                return Err(SourceError::new(
                    SourceErrorCode::TooLarge,
                    format!("`{path}` is longer than {most} bytes"),
                    "check that it is the right file",
                ));
            }
        }
        Ok(whole.freeze())
    }

    fn path(&self, text: &str) -> Result<Path, SourceError> {
        Path::parse(text).map_err(|error| self.explained(&error.into(), text))
    }

    /// The object that `file` is: below the prefix, or the prefix itself.
    fn object(&self, file: &ArtifactPath) -> Result<[Path; 2], SourceError> {
        let prefix = &self.reference.prefix;
        let below = if prefix.is_empty() { file.to_string() } else { format!("{prefix}/{file}") };
        Ok([self.path(&below)?, self.path(prefix)?])
    }

    fn explained(&self, error: &object_store::Error, what: &str) -> SourceError {
        store_error::explained(error, &self.reference, what)
    }
}

fn listed(path: ArtifactPath, object: &ObjectMeta) -> ListedFile {
    ListedFile { path, bytes: Some(object.size), sha256: None, mark: mark(object) }
}

/// The entity tag without quotes: Azure lists it bare and sends it quoted. A weak one promises nothing.
pub(super) fn mark(object: &ObjectMeta) -> Option<String> {
    let tag = object.e_tag.as_deref()?;
    if tag.starts_with("W/") { None } else { Some(tag.trim_matches('"').to_owned()) }
}

/// Leaves out the empty objects that stand for folders in consoles.
fn without_markers(files: Vec<ListedFile>, limits: Limits) -> Result<Vec<ListedFile>, SourceError> {
    let mut folders = HashSet::new();
    for file in &files {
        for (end, _) in file.path.as_str().match_indices('/') {
            folders.insert(file.path.as_str()[..end].to_owned());
        }
    }
    let mut listing = Listing::new(limits);
    for file in files {
        if file.bytes != Some(0) || !folders.contains(file.path.as_str()) {
            listing.add(file)?;
        }
    }
    Ok(listing.finish())
}

impl Remote for BucketObjects {
    async fn open(&self, file: &ListedFile, offset: u64, _: Option<&str>) -> Result<RemoteStream, SourceError> {
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let [below, whole] = self.object(&file.path)?;
        let options = || GetOptions { range: range.clone(), ..GetOptions::default() };
        let got = match self.store.get_opts(&below, options()).await {
            // A reference to one object: its name is the last part of the prefix.
            Err(object_store::Error::NotFound { .. }) if whole.filename() == Some(file.path.as_str()) => {
                self.store.get_opts(&whole, options()).await
            }
            other => other,
        };
        let got = got.map_err(|error| self.explained(&error, file.path.as_str()))?;
        let (total, mark, starts_at) = (got.meta.size, mark(&got.meta), got.range.start);
        let (this, name) = (self.clone(), file.path.to_string());
        let pieces = got.into_stream().map_err(move |error| this.explained(&error, &name));
        Ok(RemoteStream { starts_at, total: Some(total), mark, body: Body::Pieces(pieces.boxed()) })
    }
}
