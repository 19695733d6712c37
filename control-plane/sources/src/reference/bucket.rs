//! `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`: every object below the prefix is one file.

use std::fmt;

use percent_encoding::utf8_percent_encode;

use super::{KEPT_IN_PATHS, credential_within, decoded, invalid};
use crate::artifact_path::shown;
use crate::{ArtifactPath, SourceError};

/// Whose object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketProvider {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl BucketProvider {
    /// Scheme of its references.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// Objects of a bucket below a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketReference {
    /// Whose storage.
    pub provider: BucketProvider,
    /// Bucket, or container.
    pub bucket: String,
    /// Prefix without slashes at its ends; empty for the whole bucket. A folder: `a/b` does not take `a/bc`.
    pub prefix: String,
}

pub(crate) fn parse(provider: BucketProvider, rest: &str) -> Result<BucketReference, SourceError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains('@') {
        return Err(credential_within(provider.scheme()));
    }
    if rest.contains(['?', '#']) {
        return Err(invalid(format!("an {} reference has no query and no fragment", provider.scheme())));
    }
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let edges_are_plain =
        |text: &str| !text.starts_with(['-', '.']) && !text.ends_with(['-', '.']) && !text.contains("..");
    if !(1..=222).contains(&bucket.len()) || !bucket.chars().all(plain) || !edges_are_plain(bucket) {
        return Err(invalid(format!("`{}` is no bucket name", shown(bucket))));
    }
    let prefix = decoded(prefix.trim_matches('/'))?;
    let prefix = if prefix.is_empty() { prefix } else { ArtifactPath::parse(&prefix)?.as_str().to_owned() };
    Ok(BucketReference { provider, bucket: bucket.to_owned(), prefix })
}

impl fmt::Display for BucketReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.provider.scheme(), self.bucket)?;
        if self.prefix.is_empty() {
            Ok(())
        } else {
            write!(formatter, "/{}", utf8_percent_encode(&self.prefix, KEPT_IN_PATHS))
        }
    }
}
