//! The contract of all sources: resolve a reference, fetch what it resolved to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::artifact_path::shown;
use crate::bucket::{BucketObjects, OpenBucket};
use crate::digest::folder_digest;
use crate::download::{self, ByteBudget, Download};
use crate::egress::{AddressPolicy, WebClient};
use crate::git::{self, GitSource};
use crate::listing::listing_digest;
use crate::mlflow::{self, ArtifactPlace, MlflowServer, ProxiedFiles};
use crate::staging::{FILES, FetchedFile, Opened, StagingFolder, joined};
use crate::web::{self, WebFile};
use crate::{
    BucketReference, Contents, FetchedFolder, ResolvedSource, Revision, Sha256Digest, SourceError, SourceErrorCode,
    SourceReference, SourceSettings, WebReference,
};

/// Where models are pulled from. Cheap to clone; all clones share connections.
#[derive(Clone, Debug)]
pub struct Sources {
    settings: Arc<SourceSettings>,
    policy: Arc<AddressPolicy>,
    client: WebClient,
}

impl Sources {
    /// Sources with `settings`. Reads certificates; connects to nobody.
    ///
    /// # Errors
    /// `InvalidSetting` when the file of certificate authorities cannot be used.
    pub fn new(settings: SourceSettings) -> Result<Self, SourceError> {
        let policy = Arc::new(AddressPolicy::new(settings.allowed.clone()));
        let (authorities, limits) = (settings.certificate_authorities.as_deref(), settings.limits);
        let client = WebClient::new(Arc::clone(&policy), authorities, limits.silence, limits.rate)?;
        Ok(Self { settings: Arc::new(settings), policy, client })
    }

    /// What `reference` names now. Reads, and changes nothing anywhere. Cancelled by dropping.
    ///
    /// # Errors
    /// By [`SourceErrorCode`]; `TimedOut` after the limit of time.
    pub async fn resolve(&self, reference: &SourceReference) -> Result<ResolvedSource, SourceError> {
        let again = "repeat the command; or raise the limit of time";
        in_time(self.settings.limits.time, again, Box::pin(self.resolve_now(reference))).await
    }

    /// Fetches `resolved` to `destination`, a folder that does not exist yet, in a folder that does.
    ///
    /// Nothing is seen at `destination` until everything is there, verified and on the disk; then it appears whole, by
    /// one rename. What is under way is in `DESTINATION.partial/` and is continued by the next fetch of the same
    /// revision, whatever ended this one: an error, dropping the future, `kill -9`, loss of power. A destination that
    /// holds the same revision already is verified byte by byte and given back without connecting to anybody.
    ///
    /// `expected` is the digest that the folder must have, from a lock file; nothing else is let through.
    ///
    /// # Errors
    /// By [`SourceErrorCode`]; `TimedOut` after the limit of time, `Busy` while another fetch goes to `destination`.
    pub async fn fetch(
        &self,
        resolved: &ResolvedSource,
        destination: &Path,
        expected: Option<Sha256Digest>,
    ) -> Result<FetchedFolder, SourceError> {
        let again = "repeat the command: it goes on where it stopped; or raise the limit of time";
        in_time(self.settings.limits.time, again, Box::pin(self.fetch_now(resolved, destination, expected))).await
    }

    /// What `reference` names now, as a short text, with as few calls as the source allows: for watching. Equal texts mean
    /// that nothing moved.
    ///
    /// # Errors
    /// As [`Sources::resolve`]; `Unsupported` where the source marks nothing by which a change could be seen; `TimedOut`
    /// after the limit of a look, which is one of seconds.
    pub async fn current(&self, reference: &SourceReference) -> Result<String, SourceError> {
        let looking = async {
            match reference {
                SourceReference::Mlflow(model) => mlflow::named_version(&self.mlflow_server()?, model).await,
                _ => {
                    let revision = self.resolve_now(reference).await?.revision;
                    if revision.marked { Ok(revision.text) } else { Err(unmarked(reference)) }
                }
            }
        };
        in_time(self.settings.limits.look, "check the server and the network between", Box::pin(looking)).await
    }

    /// The bucket of `reference`, whatever its prefix. Connects to nobody yet.
    ///
    /// # Errors
    /// `CredentialsMissing`, `InvalidSetting`.
    pub fn bucket(&self, reference: &BucketReference) -> Result<OpenBucket, SourceError> {
        OpenBucket::open(&self.client, reference, &self.settings.credentials, self.settings.limits)
    }

    async fn resolve_now(&self, reference: &SourceReference) -> Result<ResolvedSource, SourceError> {
        let limits = self.settings.limits;
        let plain = |revision, contents| ResolvedSource {
            reference: reference.clone(),
            pinned: reference.clone(),
            revision,
            contents,
            metadata: BTreeMap::new(),
            serving: None,
            artifacts: None,
        };
        Ok(match reference {
            SourceReference::Web(web) => {
                let (revision, file) =
                    web::resolve(&self.client, web, self.authorization(web).as_ref(), limits).await?;
                plain(revision, if web.is_archive() { Contents::Archive(file) } else { Contents::Files(vec![file]) })
            }
            SourceReference::Git(git) => {
                let (revision, commit) = git::resolve(&self.git_source(), git).await?;
                let pinned = SourceReference::Git(git.at(&commit));
                ResolvedSource { pinned, ..plain(revision, Contents::Commit(commit)) }
            }
            SourceReference::Mlflow(model) => {
                let version = mlflow::resolve(&self.mlflow_server()?, model, &self.settings.credentials).await?;
                ResolvedSource {
                    pinned: SourceReference::Mlflow(version.pinned),
                    metadata: version.metadata,
                    serving: Some(version.serving),
                    artifacts: Some(version.place),
                    ..plain(version.revision, Contents::Files(version.files))
                }
            }
            SourceReference::Bucket(bucket) => {
                let files = self.objects(bucket)?.list().await?;
                let marked = files.iter().all(|file| file.mark.is_some());
                let text = format!("{bucket} listing:{}", listing_digest(&files));
                plain(Revision { text, immutable: marked, marked }, Contents::Files(files))
            }
        })
    }

    fn objects(&self, bucket: &BucketReference) -> Result<BucketObjects, SourceError> {
        BucketObjects::open(&self.client, bucket, &self.settings.credentials, self.settings.limits)
    }

    fn mlflow_server(&self) -> Result<MlflowServer, SourceError> {
        MlflowServer::new(&self.client, &self.settings.credentials, self.settings.limits)
    }

    async fn fetch_now(
        &self,
        resolved: &ResolvedSource,
        destination: &Path,
        expected: Option<Sha256Digest>,
    ) -> Result<FetchedFolder, SourceError> {
        let (path, revision) = (destination.to_owned(), resolved.revision.text.clone());
        let opened = joined(tokio::task::spawn_blocking(move || StagingFolder::open(&path, &revision))).await?;
        let (files, staged) = match opened {
            Opened::Complete(files) => (files, None),
            Opened::Partial(folder) => {
                let folder = Arc::new(folder);
                let (name, files) = self.fill(resolved, &folder).await?;
                (files, Some((folder, name)))
            }
        };
        let digest = folder_digest(files.iter().map(|file| (file.path.as_str(), file.sha256)));
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(SourceError::new(
                SourceErrorCode::DigestMismatch,
                format!("expected a folder with digest `{expected}`, got `{digest}`"),
                "do not use these bytes; ask the publisher, or lock the new digest if the change is meant",
            ));
        }
        if let Some((folder, name)) = staged {
            let listed = files.clone();
            joined(tokio::task::spawn_blocking(move || folder.publish(name, &listed))).await?;
        }
        Ok(FetchedFolder { path: destination.to_owned(), revision: resolved.revision.text.clone(), files, digest })
    }

    /// Brings all files into the staging folder: the name of the folder within it, and what is there.
    async fn fill(
        &self,
        resolved: &ResolvedSource,
        folder: &Arc<StagingFolder>,
    ) -> Result<(&'static str, Vec<FetchedFile>), SourceError> {
        let budget = ByteBudget::new(self.settings.limits.bytes);
        match (&resolved.reference, &resolved.contents) {
            (SourceReference::Web(reference), Contents::Files(files)) => {
                Ok((FILES, self.download(self.web_file(reference), folder, budget, files).await?))
            }
            (SourceReference::Web(reference), Contents::Archive(file)) => {
                self.download(self.web_file(reference), folder, budget, std::slice::from_ref(file)).await?;
                let (staging, path, limits) = (Arc::clone(folder), file.path.clone(), self.settings.limits);
                let unpacking = move || web::unpack(&staging.finished_path(&path), &staging.emptied(UNPACKED)?, limits);
                Ok((UNPACKED, joined(tokio::task::spawn_blocking(unpacking)).await?))
            }
            (SourceReference::Mlflow(_), Contents::Files(files)) => match &resolved.artifacts {
                Some(ArtifactPlace::Proxy(below)) => {
                    let proxied = ProxiedFiles { server: self.mlflow_server()?, below: below.clone() };
                    Ok((FILES, self.download(proxied, folder, budget, files).await?))
                }
                Some(ArtifactPlace::Bucket(bucket)) => {
                    Ok((FILES, self.download(self.objects(bucket)?, folder, budget, files).await?))
                }
                None => Err(wrong_contents()),
            },
            (SourceReference::Bucket(bucket), Contents::Files(files)) => {
                Ok((FILES, self.download(self.objects(bucket)?, folder, budget, files).await?))
            }
            (SourceReference::Git(reference), Contents::Commit(commit)) => {
                Ok((FILES, git::fetch(&self.git_source(), reference, commit, folder, &budget).await?))
            }
            _ => Err(wrong_contents()),
        }
    }

    async fn download<R: download::Remote>(
        &self,
        remote: R,
        folder: &Arc<StagingFolder>,
        budget: ByteBudget,
        files: &[crate::ListedFile],
    ) -> Result<Vec<FetchedFile>, SourceError> {
        let download = Download { remote, folder: Arc::clone(folder), limits: self.settings.limits, budget };
        download::all(&download, files).await
    }

    fn authorization(&self, reference: &WebReference) -> Option<HeaderValue> {
        self.settings.credentials.basic_for_host(reference.url().host_str()?)
    }

    fn web_file(&self, reference: &WebReference) -> WebFile {
        WebFile {
            client: self.client.clone(),
            reference: reference.clone(),
            authorization: self.authorization(reference),
        }
    }

    fn git_source(&self) -> GitSource<'_> {
        GitSource {
            policy: &self.policy,
            credentials: &self.settings.credentials,
            authorities: self.settings.certificate_authorities.as_deref(),
            limits: self.settings.limits,
        }
    }
}

/// Watching this would see no change, and say nothing.
fn unmarked(reference: &SourceReference) -> SourceError {
    SourceError::new(
        SourceErrorCode::Unsupported,
        format!("the server does not mark `{}`, so that nobody can see when it changes", shown(&reference.to_string())),
        "have the server send a strong ETag or a Last-Modified; or pull what does not change, once, instead of following it",
    )
}

/// What comes of `work`, if it comes within `time`.
pub(crate) async fn in_time<T>(
    time: Duration,
    action: &str,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let message = format!("it took longer than {} seconds", time.as_secs_f32());
        Err(SourceError::new(SourceErrorCode::TimedOut, message, action))
    })
}

/// Folder of what an archive held.
const UNPACKED: &str = "unpacked";

fn wrong_contents() -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidReference,
        "the resolved source does not fit its reference",
        "fetch what `resolve` gave, unchanged",
    )
}
