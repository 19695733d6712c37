//! What a reference names now, and what fetching it gave.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::mlflow::ArtifactPlace;
use crate::staging::FetchedFile;
use crate::{ListedFile, ServingModel, Sha256Digest, SourceReference};

/// Which bytes a reference names now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// A text that two resolves share only when they name the same bytes, as far as the source can tell.
    pub text: String,
    /// Whether the source promises that the text names these bytes for ever.
    pub immutable: bool,
    /// Whether the source marks the bytes, so that a change shows in the text.
    pub marked: bool,
}

impl Revision {
    /// A text that names the same bytes for ever.
    pub(crate) const fn lasting(text: String) -> Self {
        Self { text, immutable: true, marked: true }
    }
}

/// What is known of the files before they are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// These files.
    Files(Vec<ListedFile>),
    /// The files within this archive.
    Archive(ListedFile),
    /// The files of this Git commit, which only fetching tells.
    Commit(String),
}

/// A resolved reference: immutable, to be fetched soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSource {
    /// The reference as it was given.
    pub reference: SourceReference,
    /// A reference that names the same for ever: a version, a commit, a digest. The reference itself where the source has
    /// nothing of the kind (a bucket, a web file without a digest): then only the digest of what was fetched pins it.
    pub pinned: SourceReference,
    /// Which bytes it names now.
    pub revision: Revision,
    /// Its files.
    pub contents: Contents,
    /// What the source says about the model: free text by stable keys.
    pub metadata: BTreeMap<String, String>,
    /// What a server needs to serve the files, where the source tells: MLflow does.
    pub serving: Option<ServingModel>,
    /// Where a registry keeps the files.
    pub(crate) artifacts: Option<ArtifactPlace>,
}

/// A fetched folder, verified and on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFolder {
    /// Where it is: the destination that the caller named.
    pub path: PathBuf,
    /// Text of the revision that was fetched.
    pub revision: String,
    /// Its files, ordered by path.
    pub files: Vec<FetchedFile>,
    /// Digest of the whole: see [`crate::folder_digest`].
    pub digest: Sha256Digest,
}
