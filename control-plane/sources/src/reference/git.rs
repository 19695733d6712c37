//! `git+https://HOST/PATH#REVISION:FOLDER`, and the same over ssh, http and local files.
//!
//! A revision is a full commit id, or the name of a branch or tag that resolving turns into one. Nothing here may look
//! like an option of `git` or `ssh`, whatever they do with it: no part starts with a dash.

use std::fmt;

use percent_encoding::utf8_percent_encode;

use super::{KEPT_IN_PATHS, checked_authority, decoded, invalid};
use crate::artifact_path::shown;
use crate::{ArtifactPath, SourceError};

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GitTransport {
    /// Over TLS.
    Https,
    /// Unencrypted: only to places on the allow list.
    Http,
    /// Over ssh, with the agent or key that is set.
    Ssh,
    /// A folder of this machine that is on the allow list.
    File,
}

impl GitTransport {
    /// The name that git's protocol allow list uses.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }
}

/// What of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GitRevision {
    /// The default branch.
    Default,
    /// A branch or tag.
    Name(String),
    /// A commit, by its full id in lower case.
    Commit(String),
}

/// A folder of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GitReference {
    transport: GitTransport,
    place: String,
    revision: GitRevision,
    folder: Option<ArtifactPath>,
}

impl GitReference {
    /// How it is reached.
    #[must_use]
    pub const fn transport(&self) -> GitTransport {
        self.transport
    }

    /// The repository's URL, as git takes it.
    #[must_use]
    pub fn repository_url(&self) -> String {
        format!("{}://{}", self.transport.protocol(), self.place)
    }

    /// Which revision.
    #[must_use]
    pub const fn revision(&self) -> &GitRevision {
        &self.revision
    }

    /// The same folder at `commit`.
    pub(crate) fn at(&self, commit: &str) -> Self {
        Self { revision: GitRevision::Commit(commit.to_owned()), ..self.clone() }
    }

    /// Which folder; the whole repository where there is none.
    #[must_use]
    pub const fn folder(&self) -> Option<&ArtifactPath> {
        self.folder.as_ref()
    }
}

pub(super) fn parse(transport: GitTransport, rest: &str) -> Result<GitReference, SourceError> {
    let (place, fragment) = match rest.split_once('#') {
        Some((place, fragment)) => (place, Some(fragment)),
        None => (rest, None),
    };
    if place.contains('?') {
        return Err(invalid("a Git reference has no query".to_owned()));
    }
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if transport == GitTransport::File {
        if !authority.is_empty() {
            return Err(invalid("git+file takes an absolute path: git+file:///FOLDER".to_owned()));
        }
    } else {
        checked_authority("git", authority, transport == GitTransport::Ssh)?;
    }
    ArtifactPath::parse(&decoded(path.trim_end_matches('/'))?)
        .map_err(|_| invalid(format!("`{}` is no path of a repository", shown(path))))?;
    if path.split('/').any(|part| part.starts_with('-')) {
        return Err(invalid("no part of a repository's path may start with a dash".to_owned()));
    }
    let (revision, folder) = match fragment {
        None => (GitRevision::Default, None),
        Some(fragment) => {
            let (revision, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
            let folder = decoded(folder.trim_end_matches('/'))?;
            (parse_revision(revision)?, if folder.is_empty() { None } else { Some(ArtifactPath::parse(&folder)?) })
        }
    };
    Ok(GitReference { transport, place: place.trim_end_matches('/').to_owned(), revision, folder })
}

/// The rules of `git check-ref-format` as far as they matter, and full commit ids.
fn parse_revision(part: &str) -> Result<GitRevision, SourceError> {
    let text = decoded(part)?;
    if text.is_empty() || text == "HEAD" {
        return Ok(GitRevision::Default);
    }
    let is_commit = [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit {
        return Ok(GitRevision::Commit(text.to_ascii_lowercase()));
    }
    let refused = text.len() > 255
        || text.starts_with(['-', '/', '.'])
        || text.ends_with(['/', '.'])
        || text.ends_with(".lock")
        || text.contains("..")
        || text.contains("//")
        || text.contains("/.")
        || text.contains("@{")
        || text.contains(['~', '^', ':', '?', '*', '[', '\\', ' ']);
    if refused {
        return Err(invalid(format!("`{}` is neither a commit id nor the name of a branch or tag", shown(&text))));
    }
    Ok(GitRevision::Name(text))
}

impl fmt::Display for GitReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "git+{}", self.repository_url())?;
        match &self.revision {
            GitRevision::Default if self.folder.is_none() => {}
            GitRevision::Default => formatter.write_str("#HEAD")?,
            GitRevision::Name(name) => write!(formatter, "#{}", utf8_percent_encode(name, KEPT_IN_PATHS))?,
            GitRevision::Commit(commit) => write!(formatter, "#{commit}")?,
        }
        self.folder
            .as_ref()
            .map_or(Ok(()), |folder| write!(formatter, ":{}", utf8_percent_encode(folder.as_str(), KEPT_IN_PATHS)))
    }
}
