//! Where declarations are kept: a folder of this machine, or a folder of a Git branch.
//!
//! `git+https://HOST/PATH#BRANCH:FOLDER`, as references to models are written; `git+` may be left out. Nothing here may look
//! like an option of `git`, and a URL holds no password, user or query: command lines and logs are read by others. What is
//! refused is not repeated for the same reason.

use std::fmt;
use std::path::{PathBuf, absolute};
use std::str::FromStr;

/// Where declarations are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredPlace {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A folder of a branch.
    Git(GitBranch),
}

impl DeclaredPlace {
    /// The same place by the one name that it has wherever this process was started: what a place owns goes by its name.
    #[must_use]
    pub fn absolute(self) -> Self {
        match self {
            // Where the working directory is gone, the name as it was given is the best there is.
            Self::Folder(path) => Self::Folder(absolute(&path).unwrap_or(path).components().collect()),
            Self::Git(branch) => Self::Git(branch),
        }
    }
}

/// A folder of a branch of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitBranch {
    url: String,
    branch: Option<String>,
    folder: Option<String>,
}

impl GitBranch {
    /// The repository's URL, as git takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The branch or tag; `None`: what the repository has as its default.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// The folder in it; `None`: the whole repository.
    #[must_use]
    pub fn folder(&self) -> Option<&str> {
        self.folder.as_deref()
    }
}

impl fmt::Display for DeclaredPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(formatter),
            Self::Git(git) => {
                write!(formatter, "git+{}", git.url)?;
                match (&git.branch, &git.folder) {
                    (None, None) => Ok(()),
                    (branch, None) => write!(formatter, "#{}", branch.as_deref().unwrap_or_default()),
                    (branch, Some(folder)) => write!(formatter, "#{}:{folder}", branch.as_deref().unwrap_or_default()),
                }
            }
        }
    }
}

impl FromStr for DeclaredPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix("git+");
        match bare.unwrap_or(text).split_once("://") {
            Some((scheme, rest)) if ["https", "http", "ssh", "file"].contains(&scheme) => {
                parse_git(scheme, rest).map(Self::Git)
            }
            Some(_) => {
                Err("expected a folder, or a Git URL over https, ssh, http or file; got another scheme".to_owned())
            }
            None if bare.is_some() => {
                Err("expected git+https://HOST/PATH, or the same over ssh, http or file".to_owned())
            }
            None if text.trim().is_empty() => Err("expected a folder or a Git URL, got nothing".to_owned()),
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

fn parse_git(scheme: &str, rest: &str) -> Result<GitBranch, String> {
    let (place, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if path.trim_matches('/').is_empty() || (authority.is_empty() != (scheme == "file")) {
        return Err(format!("expected {scheme}://{}PATH", if scheme == "file" { "/" } else { "HOST/" }));
    }
    if authority.split_once('@').is_some_and(|(user, _)| user.contains(':') || scheme != "ssh") {
        return Err("expected no user or password in the URL; git's own credentials are used".to_owned());
    }
    if rest.contains('?') {
        return Err("expected no query in the URL: it is shown to others; git's own credentials are used".to_owned());
    }
    let odd = |character: char| character.is_control() || character.is_whitespace();
    if rest.contains(odd)
        || authority.rsplit('@').any(|part| part.starts_with('-'))
        || place.split('/').any(|part| part.starts_with('-'))
    {
        return Err("expected no white space in the URL, and no part that begins with a dash".to_owned());
    }
    let (branch, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let branch = (!branch.is_empty()).then(|| check_branch(branch)).transpose()?;
    let folder = folder.trim_matches('/');
    if folder.split('/').any(|part| part == ".." || part == "." || (part.is_empty() && !folder.is_empty())) {
        return Err("expected a plain folder of the repository behind the `:`".to_owned());
    }
    Ok(GitBranch {
        url: format!("{scheme}://{place}"),
        branch,
        folder: (!folder.is_empty()).then(|| folder.to_owned()),
    })
}

/// The rules of `git check-ref-format` as far as they matter here.
fn check_branch(name: &str) -> Result<String, String> {
    let marks = ['~', '^', '*', '?', '[', '\\'];
    let refused = name.len() > 255
        || name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || name.contains(marks)
        || name.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
        || ["..", "@{"].iter().any(|mark| name.contains(mark));
    if refused { Err("expected the name of a branch behind the `#`".to_owned()) } else { Ok(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn folders_and_branches_are_told_apart() {
        let place = |text: &str| text.parse::<DeclaredPlace>();
        assert_eq!(place("declared"), Ok(DeclaredPlace::Folder("declared".into())));
        assert_eq!(place("./a#b:c"), Ok(DeclaredPlace::Folder("./a#b:c".into())));
        for (text, url, branch, folder) in [
            ("https://git.example.org/ops", "https://git.example.org/ops", None, None),
            ("git+https://git.example.org/ops.git#main", "https://git.example.org/ops.git", Some("main"), None),
            (
                "git+ssh://git@git.example.org:22/ops#a/b:x/y/",
                "ssh://git@git.example.org:22/ops",
                Some("a/b"),
                Some("x/y"),
            ),
            ("file:///srv/ops#:hanok", "file:///srv/ops", None, Some("hanok")),
        ] {
            let DeclaredPlace::Git(git) = place(text).unwrap() else { panic!("{text} is no folder") };
            assert_eq!((git.url(), git.branch(), git.folder()), (url, branch, folder), "{text}");
            assert_eq!(place(&DeclaredPlace::Git(git.clone()).to_string()), Ok(DeclaredPlace::Git(git)), "{text}");
        }
        let here = std::env::current_dir().unwrap().join("a/b");
        for text in ["a/b", "./a//b/", here.to_str().unwrap()] {
            assert_eq!(place(text).unwrap().absolute().to_string(), here.to_str().unwrap(), "{text}");
        }
        for bad in [
            "",
            "ext::sh -c x",
            "git+ext://x/y",
            "ftp://h/p",
            "https://h",
            "https:///p",
            "https://user:secret@h/p",
            "https://token@h/p",
            "https://h/p?private_token=secret",
            "https://h/p?private_token=secret#main:hanok",
            "https://h/p#main?private_token=secret",
            "https://h/p#main:../secret",
            "secret://h/p",
            "ssh://git:secret@h/p",
            "ssh://-oProxyCommand=x/p",
            "ssh://git@-oProxyCommand=x/p",
            "https://h/-p",
            "file://h/p",
            "https://h/p#a..b",
            "https://h/p#-a",
            "https://h/p#a:../b",
            "https://h/p#x.lock",
            "https://h/p q",
            "git+x",
        ] {
            let refused = place(bad);
            // Without a scheme it is the name of a folder, however odd.
            assert!(refused.is_err() || !bad.contains("://") && !bad.starts_with("git+"), "{bad}: {refused:?}");
            assert!(!refused.is_err_and(|reason| reason.contains("secret")), "{bad}");
        }
    }
}
