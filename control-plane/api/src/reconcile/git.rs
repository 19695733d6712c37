//! Reads the declarations of a Git branch through the `git` program.
//!
//! Nothing is checked out: the branch's newest commit comes without its history into a bare repository of this process, and
//! blobs are read from there, so that no hook, filter or link of the repository acts here. Of the repository's files only the
//! declarations come, where the server can send parts. The bare repository holds nothing that is not in the branch: a start
//! begins with an empty one, whatever ended the process before, and so does a fetch once what was fetched before is much.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::git_command::Git;
use super::place::GitBranch;
use super::snapshot::{
    Commit, Content, LookFailure, MOST_BYTES, MOST_FILES, Snapshot, SourceFile, Unfit, is_declaration,
};

/// Where the fetched commit is kept in the bare repository.
const KEPT: &str = "refs/hanok/declared";
/// Most folders of which one is free, where several processes share the place of their state.
const MOST_FOLDERS: usize = 16;
/// Most bytes of short answers of git.
const SHORT: u64 = 64 << 10;
/// Most bytes of the listing of a tree's declarations.
const LISTING: u64 = 8 << 20;
/// Most bytes of what was fetched before and is kept to fetch less; with more, the next fetch begins anew.
const MOST_KEPT: u64 = 64 << 20;
/// How anything is fetched: without history, and without the content of files, where the server can leave it out.
const FETCH: [&str; 7] = [
    "fetch",
    "--quiet",
    "--depth=1",
    "--filter=blob:none",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
];

/// A branch, and what was last read of it.
#[derive(Debug)]
pub(super) struct GitSource {
    branch: GitBranch,
    beside: PathBuf,
    repository: Option<Repository>,
    last: Option<Snapshot>,
    most_kept: u64,
}

/// A bare repository that is this process's alone until it is dropped.
#[derive(Debug)]
struct Repository {
    git: Git,
    bare: PathBuf,
    _lock: File,
}

impl GitSource {
    /// `beside`: the folder in which bare repositories may be made.
    pub(super) fn new(branch: GitBranch, beside: &Path) -> Self {
        Self { branch, beside: beside.to_owned(), repository: None, last: None, most_kept: MOST_KEPT }
    }

    /// What the branch holds now. Fetches only when it has moved.
    pub(super) async fn look(&mut self) -> Result<Snapshot, LookFailure> {
        let repository = match self.repository.take() {
            Some(repository) => repository,
            None => Repository::make(&self.beside).await?,
        };
        let looked = read(&repository.git, &self.branch, self.last.as_ref()).await;
        let snapshot = looked?;
        // Only now: what a fetch that failed has left behind is not used again.
        self.repository = (repository.bytes() <= self.most_kept).then_some(repository);
        self.last = Some(snapshot.clone());
        Ok(snapshot)
    }
}

impl Repository {
    /// How much it takes on the disk.
    fn bytes(&self) -> u64 {
        let packs = fs::read_dir(self.bare.join("objects/pack")).into_iter().flatten().flatten();
        packs.filter_map(|pack| Some(pack.metadata().ok()?.len())).sum()
    }

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
            let git = Git::new(&folder).await?;
            git.run(&["init", "--quiet", "--bare", "--template=", "bare.git"], Vec::new(), SHORT).await?;
            return Ok(Self { git: git.within(&bare), bare, _lock: lock });
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
    let fetch = fetching(&["--", branch.url(), &kept]);
    git.run(&fetch, Vec::new(), SHORT).await?;
    // The branch may have moved on since it was listed; what was fetched is what counts.
    let commit = commit(git).await?;
    let content = content(git, branch.url(), &commit.id, branch.folder()).await?;
    Ok(Snapshot::new(content, Some(commit)))
}

/// The full name of the branch or tag, and the commit that it is at.
async fn tip(git: &Git, branch: &GitBranch) -> Result<(String, String), LookFailure> {
    let wanted = match branch.branch() {
        None => vec!["HEAD".to_owned()],
        // An annotated tag is an object of its own; with `^{}` it is the commit that it is about.
        Some(name) => {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}^{{}}"), format!("refs/tags/{name}")]
        }
    };
    let mut arguments = vec!["ls-remote", "--", branch.url()];
    arguments.extend(wanted.iter().map(String::as_str));
    let listed = git.run(&arguments, Vec::new(), SHORT).await?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let references: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let found = wanted.iter().find_map(|name| references.iter().find(|(_, listed)| listed == name));
    found.map(|(commit, name)| (name.trim_end_matches("^{}").to_owned(), (*commit).to_owned())).ok_or_else(|| {
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
async fn content(git: &Git, url: &str, commit: &str, folder: Option<&str>) -> Result<Content, LookFailure> {
    match listed(git, commit, folder).await? {
        Ok(blobs) => contents(git, url, &blobs).await,
        Err(unfit) => Ok(Err(unfit)),
    }
}

/// Path and object of a declaration.
type Blob = (String, String);

async fn listed(git: &Git, commit: &str, folder: Option<&str>) -> Result<Result<Vec<Blob>, Unfit>, LookFailure> {
    let tree = format!("{commit}:{}", folder.unwrap_or_default());
    let declarations = |entry: &str| entry.split_once('\t').is_none_or(|(_, path)| is_declaration(path));
    let listing = git.parts(&["ls-tree", "-r", "-z", "--end-of-options", &tree], 0, &declarations, LISTING).await;
    let listing = match (listing, folder) {
        (Ok(listing), _) => listing,
        (Err(error), Some(folder)) if error.message.contains("Not a valid object name") => {
            return Ok(Err(Unfit {
                file: None,
                message: format!("the commit has no folder `{folder}`"),
                remedy: "correct the folder behind the `:`, or commit it",
            }));
        }
        (Err(error), _) => return Err(error),
    };
    let listing = String::from_utf8_lossy(&listing).into_owned();
    let mut blobs = Vec::new();
    for entry in listing.split('\0').filter(|entry| !entry.is_empty()) {
        let (head, path) = entry.split_once('\t').ok_or_else(|| unexpected("a tree"))?;
        let mut head = head.split_ascii_whitespace();
        match (head.next(), head.nth(1)) {
            (Some("100644" | "100755"), Some(object)) => blobs.push((path.to_owned(), object.to_owned())),
            _ => {
                return Ok(Err(Unfit::file(
                    path,
                    "expected a file, got a link or a submodule",
                    "commit the file itself",
                )));
            }
        }
    }
    if blobs.len() > MOST_FILES {
        return Ok(Err(Unfit::too_much("files", MOST_FILES as u64, blobs.len() as u64)));
    }
    Ok(Ok(blobs))
}

/// Objects that are here, with their sizes. Asked one by one, git would fetch each that is not.
async fn present(git: &Git, wanted: &BTreeSet<String>) -> Result<BTreeMap<String, u64>, LookFailure> {
    let every = ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname) %(objectsize)"];
    let is_wanted = |line: &str| line.split_once(' ').is_some_and(|(object, _)| wanted.contains(object));
    let lines = git.parts(&every, b'\n', &is_wanted, LISTING).await?;
    let lines = String::from_utf8_lossy(&lines).into_owned();
    let sized = lines.lines().map(|line| {
        let (object, size) = line.split_once(' ')?;
        Some((object.to_owned(), size.parse().ok()?))
    });
    sized.collect::<Option<_>>().ok_or_else(|| unexpected("objects"))
}

/// Sizes of the declarations, all of which are here then. A server that sends no part of a commit has sent them with it.
async fn complete(git: &Git, url: &str, blobs: &[Blob]) -> Result<BTreeMap<String, u64>, LookFailure> {
    let wanted: BTreeSet<String> = blobs.iter().map(|(_, object)| object.clone()).collect();
    let sizes = present(git, &wanted).await?;
    let missing = wanted.iter().filter(|object| !sizes.contains_key(*object));
    let missing: Vec<u8> = missing.flat_map(|object| format!("{object}\n").into_bytes()).collect();
    if missing.is_empty() {
        return Ok(sizes);
    }
    // As git itself fetches what a partial clone lacks: nothing is negotiated, else it takes a blob for a revision.
    let mut fetch = vec!["-c", "fetch.negotiationAlgorithm=noop"];
    fetch.extend(fetching(&["--stdin", "--", url]));
    git.run(&fetch, missing, SHORT).await?;
    present(git, &wanted).await
}

/// Reads blobs by `git cat-file --batch`, whose format is `ID TYPE SIZE\n`, the bytes, `\n`.
async fn contents(git: &Git, url: &str, blobs: &[Blob]) -> Result<Content, LookFailure> {
    let sizes = complete(git, url, blobs).await?;
    let size = |object: &String| sizes.get(object).copied().ok_or_else(|| unexpected("a blob"));
    let bytes = blobs.iter().map(|(_, object)| size(object)).sum::<Result<u64, LookFailure>>()?;
    if bytes > MOST_BYTES {
        return Ok(Err(Unfit::too_much("bytes of declarations", MOST_BYTES, bytes)));
    }
    let input = blobs.iter().flat_map(|(_, object)| format!("{object}\n").into_bytes()).collect();
    let output = git.run(&["cat-file", "--batch"], input, MOST_BYTES + LISTING).await?;
    let mut rest = output.as_slice();
    let mut files = Vec::with_capacity(blobs.len());
    for (path, object) in blobs {
        let head = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| unexpected("a blob"))?;
        let size = usize::try_from(size(object)?).map_err(|_| unexpected("a blob"))?;
        let body = rest.get(head + 1..head + 1 + size).ok_or_else(|| unexpected("a blob"))?;
        let Ok(text) = std::str::from_utf8(body) else { return Ok(Err(Unfit::not_text(path))) };
        files.push(SourceFile { path: path.clone(), text: text.to_owned() });
        rest = rest.get(head + 2 + size..).unwrap_or_default();
    }
    Ok(Ok(files))
}

fn fetching<'a>(what: &[&'a str]) -> Vec<&'a str> {
    FETCH.iter().chain(what).copied().collect()
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
        assert_eq!(seen.files(), [SourceFile { path: "a.yaml".into(), text: "one".into() }]);
        // Moved, rewritten, and back again: always what the branch is at.
        work.commit("ops/a.yaml", "two\u{2028}", "Third");
        work.commit("ops/b/c.yml", "\n\nthree\n", "Fourth");
        let seen = source.look().await.unwrap();
        let texts: Vec<&str> = seen.files().iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["two\u{2028}", "\n\nthree\n"]);
        assert_eq!(source.look().await.unwrap(), seen);
        work.git(&["reset", "--quiet", "--hard", &first]);
        assert_eq!(source.look().await.unwrap().commit.unwrap().id, first);
        // Others have bare repositories of their own; a tag and the default branch do as well.
        let (mut tag, mut default) = (work.source("#v1:ops", beside.path()), work.source("", beside.path()));
        assert_eq!(tag.look().await.unwrap().commit.unwrap().subject, "Second");
        assert_eq!(default.look().await.unwrap().files()[0].path, "ops/a.yaml");
        assert_eq!(fs::read_dir(beside.path()).unwrap().count(), 3);
        drop((source, tag, default));
        // An annotated tag is at the commit that it is about: as long as it stays there nothing is fetched.
        work.git(&["tag", "--annotate", "-m", "A release", "v2", "v1"]);
        let mut annotated = work.source("#v2:ops", beside.path());
        let seen = annotated.look().await.unwrap();
        assert_eq!(seen.commit.as_ref().unwrap().subject, "Second");
        let git = &annotated.repository.as_ref().unwrap().git;
        assert_eq!(tip(git, &annotated.branch).await.unwrap(), ("refs/tags/v2".to_owned(), seen.commit.unwrap().id));
        drop(annotated);
        // What a killed fetch has left is thrown away.
        fs::write(beside.path().join("declared-0/bare.git/shallow.lock"), "").unwrap();
        assert_eq!(work.source("#main", beside.path()).look().await.unwrap().commit.unwrap().id, first);
    }

    #[tokio::test]
    async fn what_cannot_be_read_says_why_and_what_helps() {
        let (work, beside) = (Work::new(), tempfile::tempdir().unwrap());
        work.commit("a.yaml", "one", "First");
        let failure = work.source("#none", beside.path()).look().await.unwrap_err();
        assert!(failure.message.contains("no branch or tag `none`") && !failure.remedy.is_empty(), "{failure:?}");
        // What was read and is no declaration has its commit, and is not read again.
        let mut folder = work.source("#main:none", beside.path());
        let seen = folder.look().await.unwrap();
        assert_eq!(seen.commit.as_ref().unwrap().subject, "First");
        assert!(seen.content.as_ref().unwrap_err().message.contains("no folder `none`"), "{seen:?}");
        assert_eq!(folder.look().await.unwrap(), seen);
        std::os::unix::fs::symlink("a.yaml", work.0.path().join("link.yaml")).unwrap();
        let link = work.commit("b.yaml", "two", "Link");
        let seen = work.source("", beside.path()).look().await.unwrap();
        assert_eq!(seen.commit.as_ref().unwrap().id, link);
        assert_eq!(seen.content.unwrap_err().file.as_deref(), Some("link.yaml"));
        let mut gone = work.source("", beside.path());
        drop(work);
        let failure = gone.look().await.unwrap_err();
        assert!(failure.message.starts_with("git: fatal:"), "{failure:?}");
    }
    /// Bytes that nothing makes smaller, other ones for every seed.
    fn noise(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..1 << 17).flat_map(|_| next()).collect()
    }

    #[tokio::test]
    async fn what_is_no_declaration_does_not_fill_the_disk() {
        let (work, beside) = (Work::new(), tempfile::tempdir().unwrap());
        let change = |number: u64| {
            fs::write(work.0.path().join("model.bin"), noise(number)).unwrap();
            work.commit("ops/a.yaml", &format!("number {number}"), "Change")
        };
        let read = |seen: Snapshot| seen.files()[0].text.clone();
        let kept = |source: &GitSource| source.repository.as_ref().map(Repository::bytes);
        // The server can leave it out.
        work.git(&["config", "uploadpack.allowFilter", "true"]);
        let mut source = work.source("#main:ops", beside.path());
        for number in 0..4 {
            change(number);
            assert_eq!(read(source.look().await.unwrap()), format!("number {number}"));
        }
        assert!(kept(&source).unwrap() < 64 << 10, "{:?}", kept(&source));
        // It cannot: a megabyte comes with every commit, and is thrown away when there is too much of it.
        work.git(&["config", "uploadpack.allowFilter", "false"]);
        let mut source = work.source("#main:ops", beside.path());
        source.most_kept = 5 << 19;
        let mut most = 0;
        for number in 4..12 {
            change(number);
            assert_eq!(read(source.look().await.unwrap()), format!("number {number}"));
            most = most.max(kept(&source).unwrap_or_default());
            // Nothing is fetched again for its sake.
            assert_eq!(read(source.look().await.unwrap()), format!("number {number}"));
        }
        assert!((1 << 20..=source.most_kept).contains(&most), "{most}");
    }

    #[tokio::test]
    async fn a_large_repository_may_hold_one_declaration() {
        use std::io::Write as _;
        use std::process::Stdio;

        let (work, beside) = (Work::new(), tempfile::tempdir().unwrap());
        let blob = work.commit("a.yaml", "one", "First");
        let blob = work.git(&["rev-parse", &format!("{blob}:a.yaml")]);
        let mut tree = Command::new("git")
            .arg("mktree")
            .current_dir(work.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut entries = format!("100644 blob {blob}\tdeclared.yaml\n");
        (0..100_000).for_each(|file| entries += &format!("100644 blob {blob}\t{file:0>100}.txt\n"));
        tree.stdin.take().unwrap().write_all(entries.as_bytes()).unwrap();
        let tree = String::from_utf8(tree.wait_with_output().unwrap().stdout).unwrap();
        let commit = work.git(&["commit-tree", "-m", "Many", tree.trim()]);
        work.git(&["update-ref", "refs/heads/main", &commit]);
        let seen = work.source("#main", beside.path()).look().await.unwrap();
        assert_eq!(seen.files(), [SourceFile { path: "declared.yaml".into(), text: "one".into() }]);
    }
}
