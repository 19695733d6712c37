//! One run of the `git` program: bounded in time and output, asking nobody, ended with everything that it started.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::snapshot::LookFailure;

/// Longest time of one run.
const DEADLINE: Duration = Duration::from_secs(60);
/// Most bytes that git may say of what went wrong.
const MOST_ERROR_BYTES: u64 = 64 << 10;
/// Every way in which git and ssh ask a person, answered with no. An empty `GIT_ASKPASS` is none, and comes before
/// `core.askPass` and `SSH_ASKPASS`.
const ASKS_NOBODY: [(&str, &str); 4] =
    [("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", ""), ("SSH_ASKPASS_REQUIRE", "never"), ("GCM_INTERACTIVE", "never")];
/// The ssh that asks nobody either.
const QUIET_SSH: &str = "core.sshCommand=ssh -oBatchMode=yes";
/// Protocols that a repository may be reached by; git has others that run programs.
const PROTOCOLS: &str = "https:http:ssh:file";

/// Variables by which a caller's repository would be taken for ours.
const FOREIGN: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
];

/// Runs git in one folder. The operator's own git settings and credentials count: it is the operator who names the URL.
/// They do not for asking somebody.
#[derive(Debug)]
pub(super) struct Git {
    folder: PathBuf,
    /// An ssh of the operator's own is taken as it is.
    own_ssh: bool,
}

/// What of git's standard output is kept.
#[derive(Clone, Copy)]
enum Output<'a> {
    /// All of it, up to so many bytes.
    All(u64),
    /// Of the parts that end in this byte those that are wanted, up to so many bytes of them.
    Parts(u8, Wanted<'a>, u64),
}

/// Whether a part of git's standard output is wanted.
type Wanted<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// Ends git's process group when it is dropped: git leaves its transports running.
struct Group(Child, Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.1 {
            // If it has ended there is nobody to end.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Git {
    /// git in `folder`; asks git itself whether the operator has set an ssh of their own. `GIT_SSH_COMMAND` comes first in
    /// any case.
    pub(super) async fn new(folder: &Path) -> Result<Self, LookFailure> {
        let mut git = Self { folder: folder.to_owned(), own_ssh: true };
        let configured = git.run(&["config", "--default", "", "--get", "core.sshCommand"], Vec::new(), 1 << 16).await?;
        git.own_ssh = !configured.trim_ascii().is_empty();
        Ok(git)
    }

    /// The same in another folder.
    pub(super) fn within(&self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..*self }
    }

    /// What `git ARGUMENTS` writes when it gets `input`, at most `most` bytes of it.
    pub(super) async fn run(&self, arguments: &[&str], input: Vec<u8>, most: u64) -> Result<Vec<u8>, LookFailure> {
        self.finished(arguments, input, Output::All(most)).await
    }

    /// Of the parts that `git ARGUMENTS` writes, each ended by `end`, the wanted ones: however many there are, at most `most`
    /// bytes are kept.
    pub(super) async fn parts(
        &self,
        arguments: &[&str],
        end: u8,
        wanted: Wanted<'_>,
        most: u64,
    ) -> Result<Vec<u8>, LookFailure> {
        self.finished(arguments, Vec::new(), Output::Parts(end, wanted, most)).await
    }

    async fn finished(&self, arguments: &[&str], input: Vec<u8>, output: Output<'_>) -> Result<Vec<u8>, LookFailure> {
        let mut command = Command::new("git");
        if !self.own_ssh {
            command.args(["-c", QUIET_SSH]);
        }
        command
            .args(["-c", "http.followRedirects=false", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"])
            .args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "fetch.recurseSubmodules=false"])
            .args(arguments)
            .current_dir(&self.folder)
            .envs(ASKS_NOBODY)
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        for name in FOREIGN {
            command.env_remove(name);
        }
        let child = command.spawn().map_err(|error| {
            LookFailure::new(
                format!("the `git` program cannot be started: {error}"),
                "install git and put it on the PATH",
            )
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut running = Group(child, group);
        let done = tokio::time::timeout(DEADLINE, finish(&mut running.0, input, output)).await.map_err(|_| {
            LookFailure::new(
                format!("git did not finish within `{}` seconds", DEADLINE.as_secs()),
                "see that the repository can be reached from here",
            )
        })?;
        // It was waited for: its number may be somebody else's by now.
        running.1 = None;
        done
    }
}

async fn finish(child: &mut Child, input: Vec<u8>, output: Output<'_>) -> Result<Vec<u8>, LookFailure> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feeding = async move {
        if let Some(mut stdin) = stdin {
            // A git that ends early says why on its standard error.
            stdin.write_all(&input).await.ok();
        }
    };
    let (Output::All(most) | Output::Parts(_, _, most)) = output;
    let kept = async {
        match output {
            Output::All(most) => bounded(stdout, most).await,
            Output::Parts(end, wanted, most) => parts(stdout, end, wanted, most).await,
        }
    };
    let ((), output, errors, status) = tokio::join!(feeding, kept, bounded(stderr, MOST_ERROR_BYTES), child.wait());
    let status = status.map_err(|error| LookFailure::new(format!("git's end was not seen: {error}"), "try again"))?;
    if !status.success() {
        return Err(explained(&String::from_utf8_lossy(&errors.unwrap_or_default())));
    }
    output.ok_or_else(|| {
        let message = format!("expected at most `{most}` bytes from git, got more");
        LookFailure::new(message, "name a narrower folder behind the `:`")
    })
}

/// Everything that comes, or `None` when it is more than `most` bytes; the rest is thrown away, so that git does not wait.
async fn bounded(stream: Option<impl AsyncRead + Unpin>, most: u64) -> Option<Vec<u8>> {
    let mut stream = stream?;
    let mut bytes = Vec::new();
    // A pipe that breaks ends the text; the exit status decides.
    (&mut stream).take(most + 1).read_to_end(&mut bytes).await.ok();
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    (bytes.len() as u64 <= most).then_some(bytes)
}

/// The wanted ones of the parts that end in `end`, or `None` when they are more than `most` bytes.
async fn parts(stream: Option<impl AsyncRead + Unpin>, end: u8, wanted: Wanted<'_>, most: u64) -> Option<Vec<u8>> {
    let mut stream = BufReader::new(stream?);
    let mut kept = Vec::new();
    loop {
        let begin = kept.len();
        // A pipe that breaks ends the text; the exit status decides.
        let read = (&mut stream).take(most + 1).read_until(end, &mut kept).await.unwrap_or(0);
        if read == 0 {
            return Some(kept);
        }
        let part = kept.get(begin..).unwrap_or_default();
        let keep = wanted(String::from_utf8_lossy(part).trim_end_matches(char::from(end)));
        if !keep {
            kept.truncate(begin);
        }
        if kept.len() as u64 > most {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
            return None;
        }
    }
}

/// git's last words, with what helps.
fn explained(errors: &str) -> LookFailure {
    let line = |marks: &[&str]| errors.lines().find(|line| marks.iter().any(|mark| line.starts_with(mark)));
    let said = line(&["fatal:", "error:", "remote:"]).or_else(|| errors.lines().last()).unwrap_or("git failed");
    let said: String = said.chars().filter(|character| !character.is_control()).take(300).collect();
    let has = |text: &str| errors.contains(text);
    let remedy = if has("could not read Username") || has("Authentication failed") || has("Permission denied") {
        "give this process's user credentials for the repository: a git credential helper, or an ssh key"
    } else if has("Host key verification failed") {
        "add the server's key to the known hosts of this process's user"
    } else if has("not found") || has("does not exist") || has("does not appear to be a git repository") {
        "correct the URL, or see that this process's user may read the repository"
    } else {
        "try the same with git by hand, as the user of this process"
    };
    LookFailure::new(format!("git: {said}"), remedy)
}
