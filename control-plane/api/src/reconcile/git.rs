//! Reads the declarations of a Git branch through the `git` program.
//!
//! Nothing is checked out: the branch's newest commit comes without its history into a bare repository of this process, and
//! blobs are read from there, so that no hook, filter or link of the repository acts here. The bare repository holds nothing
//! that is not in the branch: a start begins with an empty one, whatever ended the process before.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::git_command::Git;
use super::place::GitBranch;
use super::snapshot::{Commit, LookFailure, MOST_BYTES, MOST_FILES, Snapshot, SourceFile, is_declaration};

/// Where the fetched commit is kept in the bare repository.
const KEPT: &str = "refs/hanok/declared";
/// Most folders of which one is free, where several processes share the place of their state.
const MOST_FOLDERS: usize = 16;
/// Most bytes of short answers of git.
const SHORT: u64 = 64 << 10;
/// Most bytes of the listing of a tree.
const LISTING: u64 = 8 << 20;

/// A branch, and what was last read of it.
#[derive(Debug)]
pub(super) struct GitSource {
    branch: GitBranch,
    beside: PathBuf,
    repository: Option<Repository>,
    last: Option<Snapshot>,
}

/// A bare repository that is this process's alone until it is dropped.
#[derive(Debug)]
struct Repository {
    git: Git,
    _lock: File,
}

impl GitSource {
    /// `beside`: the folder in which bare repositories may be made.
    pub(super) fn new(branch: GitBranch, beside: &Path) -> Self {
        Self { branch, beside: beside.to_owned(), repository: None, last: None }
    }

    /// What the branch holds now. Fetches only when it has moved.
    pub(super) async fn look(&mut self) -> Result<Snapshot, LookFailure> {
        let repository = match self.repository.take() {
            Some(repository) => repository,
            None => Repository::make(&self.beside).await?,
        };
        let looked = read(&repository.git, &self.branch, self.last.as_ref()).await;
        self.repository = Some(repository);
        let snapshot = looked?;
        self.last = Some(snapshot.clone());
        Ok(snapshot)
    }
}

impl Repository {
    async fn make(beside: &Path) -> Result<Self, LookFailure> {
        let failed = |error: std::io::Error| {
            let message = format!("the folder `{}` cannot be used: {error}", beside.display());
            LookFailure::new(message, "see that it can be written to and is not full")
        };
        for number in 0..MOST_FOLDERS {
            let folder = beside.join(format!("declared-{number}"));
            fs::create_dir_all(&folder).map_err(failed)?;
            let lock = File::create(folder.join("lock")).map_err(failed)?;
            if lock.try_lock().is_err() {
                continue;
            }
            let bare = folder.join("bare.git");
            if bare.exists() {
                fs::remove_dir_all(&bare).map_err(failed)?;
            }
            let git = Git::new(&folder);
            git.run(&["init", "--quiet", "--bare", "--template=", "bare.git"], Vec::new(), SHORT).await?;
            return Ok(Self { git: Git::new(&bare), _lock: lock });
        }
        let message = format!("expected at most `{MOST_FOLDERS}` processes with their state in one folder");
        Err(LookFailure::new(message, "give each process a `--state` of its own"))
    }
}

async fn read(git: &Git, branch: &GitBranch, last: Option<&Snapshot>) -> Result<Snapshot, LookFailure> {
    let (name, tip) = tip(git, branch).await?;
    if let Some(known) = last.filter(|last| last.commit.as_ref().is_some_and(|commit| commit.id == tip)) {
        return Ok(known.clone());
    }
    let kept = format!("+{name}:{KEPT}");
    let fetch =
        ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--", branch.url(), kept.as_str()];
    git.run(&fetch, Vec::new(), SHORT).await?;
    // The branch may have moved on since it was listed; what was fetched is what counts.
    let commit = commit(git).await?;
    let files = files(git, &commit.id, branch.folder()).await?;
    Ok(Snapshot::new(files, Some(commit)))
}

/// The full name of the branch or tag, and the object that it points at.
async fn tip(git: &Git, branch: &GitBranch) -> Result<(String, String), LookFailure> {
    let wanted = match branch.branch() {
        None => vec!["HEAD".to_owned()],
        Some(name) => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")],
    };
    let mut arguments = vec!["ls-remote", "--", branch.url()];
    arguments.extend(wanted.iter().map(String::as_str));
    let listed = git.run(&arguments, Vec::new(), SHORT).await?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let references: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let found = wanted.iter().find_map(|name| references.iter().find(|(_, listed)| listed == name));
    found.map(|(object, name)| ((*name).to_owned(), (*object).to_owned())).ok_or_else(|| {
        let name = branch.branch().unwrap_or("HEAD");
        let message = format!("the repository has no branch or tag `{name}`");
        LookFailure::new(message, "push the branch, or name another one behind the `#`")
    })
}

async fn commit(git: &Git) -> Result<Commit, LookFailure> {
    let format = "--format=%H%x00%an <%ae>%x00%cI%x00%s";
    let told = git.run(&["log", "-1", "--no-show-signature", format, KEPT, "--"], Vec::new(), SHORT).await?;
    let told = String::from_utf8_lossy(&told).into_owned();
    let clipped = |text: &str| text.trim().chars().filter(|one| !one.is_control()).take(200).collect::<String>();
    let parts: Vec<String> = told.split('\0').map(clipped).collect();
    match <[String; 4]>::try_from(parts) {
        Ok([id, author, at, subject]) => Ok(Commit { id, author, at, subject }),
        Err(_) => Err(unexpected("a commit")),
    }
}

/// The declarations in the folder at the commit.
async fn files(git: &Git, commit: &str, folder: Option<&str>) -> Result<Vec<SourceFile>, LookFailure> {
    let tree = format!("{commit}:{}", folder.unwrap_or_default());
    let listing = git.run(&["ls-tree", "-r", "-z", "-l", "--end-of-options", &tree], Vec::new(), LISTING).await;
    let listing = listing.map_err(|error| match folder {
        Some(folder) if error.message.contains("Not a valid object name") => LookFailure::new(
            format!("commit `{commit}` has no folder `{folder}`"),
            "correct the folder behind the `:`, or commit it",
        ),
        _ => error,
    })?;
    let listing = String::from_utf8_lossy(&listing).into_owned();
    let mut blobs = Vec::new();
    let mut bytes = 0_u64;
    for entry in listing.split('\0').filter(|entry| !entry.is_empty()) {
        let (head, path) = entry.split_once('\t').ok_or_else(|| unexpected("a tree"))?;
        if !is_declaration(path) {
            continue;
        }
        let mut head = head.split_ascii_whitespace();
        let (mode, object, size) = (head.next(), head.nth(1), head.next());
        match (mode, object, size.and_then(|size| size.parse::<u64>().ok())) {
            (Some("100644" | "100755"), Some(object), Some(size)) => {
                bytes = bytes.saturating_add(size);
                blobs.push((path.to_owned(), object.to_owned(), size));
            }
            _ => {
                let message = format!("`{path}`: expected a file, got a link or a submodule");
                return Err(LookFailure::new(message, "commit the file itself"));
            }
        }
    }
    if blobs.len() > MOST_FILES {
        return Err(LookFailure::too_much("files", MOST_FILES as u64, blobs.len() as u64));
    }
    if bytes > MOST_BYTES {
        return Err(LookFailure::too_much("bytes of declarations", MOST_BYTES, bytes));
    }
    contents(git, blobs).await
}

/// Reads blobs by `git cat-file --batch`, whose format is `ID TYPE SIZE\n`, the bytes, `\n`.
async fn contents(git: &Git, blobs: Vec<(String, String, u64)>) -> Result<Vec<SourceFile>, LookFailure> {
    let input = blobs.iter().flat_map(|(_, object, _)| format!("{object}\n").into_bytes()).collect();
    let output = git.run(&["cat-file", "--batch"], input, MOST_BYTES + LISTING).await?;
    let mut rest = output.as_slice();
    let mut files = Vec::with_capacity(blobs.len());
    for (path, _, size) in blobs {
        let head = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| unexpected("a blob"))?;
        let size = usize::try_from(size).map_err(|_| unexpected("a blob"))?;
        let body = rest.get(head + 1..head + 1 + size).ok_or_else(|| unexpected("a blob"))?;
        let text = std::str::from_utf8(body).map_err(|_| LookFailure::not_text(&path))?.to_owned();
        files.push(SourceFile { path, text });
        rest = rest.get(head + 2 + size..).unwrap_or_default();
    }
    Ok(files)
}

fn unexpected(what: &str) -> LookFailure {
    LookFailure::new(format!("git told of {what} in an unknown form"), "use git 2.31 or newer")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::process::Command;

    use super::super::place::DeclaredPlace;
    use super::*;

    /// A repository with a work tree, and `git` in it.
    struct Work(tempfile::TempDir);

    impl Work {
        fn new() -> Self {
            let work = Self(tempfile::tempdir().unwrap());
            work.git(&["init", "--quiet", "--initial-branch=main"]);
            work
        }

        fn git(&self, arguments: &[&str]) -> String {
            let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"];
            let mut command = Command::new("git");
            let done = command.args(identity).args(arguments).current_dir(self.0.path()).output().unwrap();
            assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap().trim().to_owned()
        }

        fn commit(&self, path: &str, text: &str, subject: &str) -> String {
            let file = self.0.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            self.git(&["add", "-A"]);
            self.git(&["commit", "--quiet", "--allow-empty", "-m", subject]);
            self.git(&["rev-parse", "HEAD"])
        }

        fn source(&self, fragment: &str, beside: &Path) -> GitSource {
            let place = format!("file://{}{fragment}", self.0.path().display());
            let Ok(DeclaredPlace::Git(branch)) = place.parse() else { panic!("{place}") };
            GitSource::new(branch, beside)
        }
    }

    #[tokio::test]
    async fn a_branch_is_read_at_its_newest_commit() {
        let (work, beside) = (Work::new(), tempfile::tempdir().unwrap());
        let first = work.commit("ops/a.yaml", "one", "First");
        work.commit("README.md", "text", "Second");
        work.git(&["tag", "v1"]);
        let mut source = work.source("#main:ops", beside.path());
        let seen = source.look().await.unwrap();
        let commit = seen.commit.clone().unwrap();
        assert_eq!((commit.author.as_str(), commit.subject.as_str()), ("Ann <ann@example.org>", "Second"));
        assert_eq!(commit.id, work.git(&["rev-parse", "HEAD"]));
        assert_eq!(seen.files, [SourceFile { path: "a.yaml".into(), text: "one".into() }]);
        // Moved, rewritten, and back again: always what the branch is at.
        work.commit("ops/a.yaml", "two\u{2028}", "Third");
        work.commit("ops/b/c.yml", "\n\nthree\n", "Fourth");
        let seen = source.look().await.unwrap();
        let texts: Vec<&str> = seen.files.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["two\u{2028}", "\n\nthree\n"]);
        assert_eq!(source.look().await.unwrap(), seen);
        work.git(&["reset", "--quiet", "--hard", &first]);
        assert_eq!(source.look().await.unwrap().commit.unwrap().id, first);
        // Others have bare repositories of their own; a tag and the default branch do as well.
        let (mut tag, mut default) = (work.source("#v1:ops", beside.path()), work.source("", beside.path()));
        assert_eq!(tag.look().await.unwrap().commit.unwrap().subject, "Second");
        assert_eq!(default.look().await.unwrap().files[0].path, "ops/a.yaml");
        assert_eq!(fs::read_dir(beside.path()).unwrap().count(), 3);
        drop((source, tag, default));
        // What a killed fetch has left is thrown away.
        fs::write(beside.path().join("declared-0/bare.git/shallow.lock"), "").unwrap();
        assert_eq!(work.source("#main", beside.path()).look().await.unwrap().commit.unwrap().id, first);
    }

    #[tokio::test]
    async fn what_cannot_be_read_says_why_and_what_helps() {
        let (work, beside) = (Work::new(), tempfile::tempdir().unwrap());
        work.commit("a.yaml", "one", "First");
        for (fragment, message) in [("#none", "no branch or tag `none`"), ("#main:none", "no folder `none`")] {
            let failure = work.source(fragment, beside.path()).look().await.unwrap_err();
            assert!(failure.message.contains(message) && !failure.remedy.is_empty(), "{failure:?}");
        }
        std::os::unix::fs::symlink("a.yaml", work.0.path().join("link.yaml")).unwrap();
        work.commit("b.yaml", "two", "Link");
        let failure = work.source("", beside.path()).look().await.unwrap_err();
        assert!(failure.message.contains("`link.yaml`: expected a file"), "{failure:?}");
        let mut gone = work.source("", beside.path());
        drop(work);
        let failure = gone.look().await.unwrap_err();
        assert!(failure.message.starts_with("git: fatal:"), "{failure:?}");
    }
}
