//! Where an artifact URI leads: to the tracking server's proxy, or to object storage. Pure.

use crate::artifact_path::shown;
use crate::reference::parse_bucket;
use crate::{ArtifactPath, BucketProvider, BucketReference, SourceError, SourceErrorCode};

/// Where the files of a version are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ArtifactPlace {
    /// Below this path of the tracking server's artifact proxy.
    Proxy(ArtifactPath),
    /// In a bucket.
    Bucket(BucketReference),
}

/// Reads `uri`.
///
/// # Errors
/// `Unsupported` with what to change on the server, `UnsafePath`.
pub(super) fn parse(uri: &str) -> Result<ArtifactPlace, SourceError> {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
    let refused = |why: &str| {
        SourceError::new(
            SourceErrorCode::Unsupported,
            format!("the version's files are at `{}:`, {why}", shown(scheme)),
            "have the tracking server serve its artifacts (mlflow server --serve-artifacts --artifacts-destination …) and log \
             the version again",
        )
    };
    match scheme.to_ascii_lowercase().as_str() {
        "mlflow-artifacts" => {
            // Another server than the tracking server would get its credentials.
            let path = rest.strip_prefix("//").map_or(Some(rest), |after| after.strip_prefix('/'));
            let path = path.ok_or_else(|| refused("on another server than the tracking server"))?;
            Ok(ArtifactPlace::Proxy(ArtifactPath::parse(path.trim_matches('/'))?))
        }
        "s3" => bucket(BucketProvider::S3, rest),
        "gs" => bucket(BucketProvider::Gcs, rest),
        // wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX, abfss the same with dfs.
        "wasbs" | "abfss" => {
            let container = rest.trim_start_matches('/').split_once('@');
            let (container, place) = container.ok_or_else(|| refused("without a container"))?;
            let prefix = place.split_once('/').map_or("", |(_, prefix)| prefix);
            bucket(BucketProvider::Azure, &format!("//{container}/{prefix}"))
        }
        "file" | "" => Err(refused("a folder of the machine that logged them")),
        _ => Err(refused("which is not read")),
    }
}

fn bucket(provider: BucketProvider, rest: &str) -> Result<ArtifactPlace, SourceError> {
    // MLflow writes paths as they are; a percent sign in one is itself.
    let rest = rest.trim_start_matches('/').replace('%', "%25");
    parse_bucket(provider, &rest).map(ArtifactPlace::Bucket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn places_are_told_apart() {
        let proxied = |path: &str| ArtifactPlace::Proxy(ArtifactPath::parse(path).unwrap());
        assert_eq!(parse("mlflow-artifacts:/0/models/m-1/artifacts").unwrap(), proxied("0/models/m-1/artifacts"));
        assert_eq!(parse("mlflow-artifacts:///0/x/").unwrap(), proxied("0/x"));
        let in_bucket = |provider, bucket: &str, prefix: &str| {
            ArtifactPlace::Bucket(BucketReference { provider, bucket: bucket.into(), prefix: prefix.into() })
        };
        assert_eq!(parse("s3://b/0/m 1/a%20b").unwrap(), in_bucket(BucketProvider::S3, "b", "0/m 1/a%20b"));
        assert_eq!(parse("gs://b/x").unwrap(), in_bucket(BucketProvider::Gcs, "b", "x"));
        let azure = parse("wasbs://c@account.blob.core.windows.net/x/y").unwrap();
        assert_eq!(azure, in_bucket(BucketProvider::Azure, "c", "x/y"));
        for uri in [
            "file:///m",
            "/m",
            "./mlruns/0",
            "dbfs:/x",
            "mlflow-artifacts://other.example/x",
            "runs:/1/model",
            "models:/m/1",
        ] {
            assert_eq!(parse(uri).unwrap_err().code(), SourceErrorCode::Unsupported, "{uri}");
        }
        for uri in ["mlflow-artifacts:/../x", "mlflow-artifacts:/", "s3://b/../x"] {
            assert_eq!(parse(uri).unwrap_err().code(), SourceErrorCode::UnsafePath, "{uri}");
        }
    }
}
