//! A folder of a repository as a source: which commit a reference means now, and that commit's files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::command::{Git, RunLimits};
use super::place::GitPlace;
use super::tree::TreeFile;
use super::{blobs, remote_refs, tree};
use crate::artifact_path::shown;
use crate::download::ByteBudget;
use crate::egress::AddressPolicy;
use crate::listing::Listing;
use crate::staging::{FetchedFile, StagingFolder, joined};
use crate::{Credentials, GitReference, GitRevision, Limits, ListedFile, Revision, SourceError, SourceErrorCode};

/// Most bytes of a listing of refs or of a tree.
const MOST_LISTING_BYTES: u64 = 16 << 20;

/// A repository and how it is reached.
#[derive(Debug)]
pub(crate) struct GitSource<'a> {
    pub(crate) policy: &'a AddressPolicy,
    pub(crate) credentials: &'a Credentials,
    pub(crate) authorities: Option<&'a Path>,
    pub(crate) limits: Limits,
}

impl GitSource<'_> {
    async fn git(&self, reference: &GitReference) -> Result<Git, SourceError> {
        let place = GitPlace::judge(reference, self.policy, self.credentials, self.authorities).await?;
        let path = self.credentials.value("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin").to_owned();
        Ok(Git { place, path, agent_socket: self.credentials.value("SSH_AUTH_SOCK").map(str::to_owned) })
    }
}

/// The commit that `reference` means now. A full commit id means itself; nobody is asked.
pub(crate) async fn resolve(
    source: &GitSource<'_>,
    reference: &GitReference,
) -> Result<(Revision, String), SourceError> {
    let commit = match reference.revision() {
        GitRevision::Commit(commit) => commit.clone(),
        GitRevision::Default => named_commit(source, reference, None).await?,
        GitRevision::Name(name) => named_commit(source, reference, Some(name)).await?,
    };
    let folder = reference.folder().map(|folder| format!(":{folder}")).unwrap_or_default();
    let text = format!("{}#{commit}{folder}", reference.repository_url());
    Ok((Revision::lasting(text), commit))
}

async fn named_commit(
    source: &GitSource<'_>,
    reference: &GitReference,
    name: Option<&str>,
) -> Result<String, SourceError> {
    let git = source.git(reference).await?;
    let listing = listing(&git, name, source.limits).await?;
    remote_refs::commit_of(&listing, name).ok_or_else(|| {
        SourceError::new(
            SourceErrorCode::NotFound,
            format!("the repository has no branch or tag `{}`", shown(name.unwrap_or("HEAD"))),
            "name an existing branch or tag, or a full commit id",
        )
    })
}

/// The branches and tags of that name, as the place tells them. Git itself waits for 300 seconds for a server that takes a
/// connection and then is silent; this does not.
async fn listing(git: &Git, name: Option<&str>, limits: Limits) -> Result<String, SourceError> {
    let patterns = remote_refs::patterns(name);
    let mut arguments = vec!["ls-remote", "--", git.place.url()];
    arguments.extend(patterns.iter().map(String::as_str));
    let bounds = RunLimits { output: MOST_LISTING_BYTES, folder: None };
    let asking = git.run(Path::new("/"), &arguments, Vec::new(), bounds);
    let patience = limits.silence.saturating_mul(2);
    let ran = tokio::time::timeout(patience, asking).await.map_err(|_| git.place.silent(patience))??;
    Ok(String::from_utf8_lossy(&ran.output).into_owned())
}

/// Fetches the files of `commit` into `folder`.
pub(crate) async fn fetch(
    source: &GitSource<'_>,
    reference: &GitReference,
    commit: &str,
    folder: &Arc<StagingFolder>,
    budget: &ByteBudget,
) -> Result<Vec<FetchedFile>, SourceError> {
    let git = source.git(reference).await?;
    if matches!(reference.revision(), GitRevision::Commit(_)) {
        // To find the commit nobody had to be asked: whether there is somebody is found here.
        listing(&git, None, source.limits).await?;
    }
    let staging = Arc::clone(folder);
    let repository = joined(tokio::task::spawn_blocking(move || staging.workplace("repository"))).await?;
    let small = RunLimits { output: MOST_LISTING_BYTES, folder: None };
    // Also repairs one that was being made when something died.
    git.run(&repository, &["init", "--quiet", "--bare", "."], Vec::new(), small).await?;
    transfer(&git, &repository, &[commit], source.limits).await?;
    let files = listed(&git, &repository, reference, commit, source.limits).await?;
    let missing: BTreeSet<&str> = files.iter().map(|file| file.blob.as_str()).collect();
    transfer(&git, &repository, &missing.into_iter().collect::<Vec<_>>(), source.limits).await?;
    let ids: Vec<&str> = files.iter().map(|file| file.blob.as_str()).collect();
    let mut listing = Listing::new(source.limits);
    for (file, bytes) in files.iter().zip(blobs::sizes(&git, &repository, &ids).await?) {
        budget.take(bytes)?;
        listing.add(ListedFile { path: file.path.clone(), bytes: Some(bytes), sha256: None, mark: None })?;
    }
    drop(listing);
    blobs::write(&git, &repository, &files, folder).await
}

/// Transfers objects by their ids: a commit with its trees, or blobs. What is there already is not sent again.
async fn transfer(git: &Git, repository: &Path, ids: &[&str], limits: Limits) -> Result<(), SourceError> {
    let input = ids.iter().flat_map(|id| [id.as_bytes(), b"\n"].concat()).collect();
    let arguments = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--filter=blob:none",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--stdin",
        "--",
        git.place.url(),
    ];
    // Packed bytes are hardly more than unpacked ones; a repository of nothing but trees is stopped by this too.
    let bounded =
        RunLimits { output: MOST_LISTING_BYTES, folder: Some((repository, limits.bytes.saturating_add(64 << 20))) };
    git.run(repository, &arguments, input, bounded).await.map(|_| ())
}

/// Files of the folder at the commit.
async fn listed(
    git: &Git,
    repository: &Path,
    reference: &GitReference,
    commit: &str,
    limits: Limits,
) -> Result<Vec<TreeFile>, SourceError> {
    let folder = reference.folder().map(|folder| format!("{folder}/"));
    let mut arguments = vec!["--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, "--"];
    arguments.extend(folder.as_deref());
    let ran =
        git.run(repository, &arguments, Vec::new(), RunLimits { output: MOST_LISTING_BYTES, folder: None }).await?;
    let files = tree::files(&ran.output, reference.folder())?;
    if files.is_empty() {
        return Err(SourceError::new(
            SourceErrorCode::NotFound,
            format!("the commit has no file in `{}`", shown(folder.as_deref().unwrap_or("/"))),
            "check the folder: it is named from the repository's root",
        ));
    }
    if files.len() > limits.files {
        return Err(crate::listing::too_many_files(limits.files));
    }
    Ok(files)
}
