//! Runs `git`: no shell, a closed environment, one allowed protocol, no prompts, killed with its children at the end.
//!
//! What varies goes through the environment (`GIT_CONFIG_COUNT`), not through arguments, which other users of a machine
//! can read. Arguments that a reference influences stand behind `--`, and no reference yields one that starts with a dash.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::place::GitPlace;
use crate::artifact_path::shown;
use crate::listing::too_large;
use crate::{SourceError, SourceErrorCode};

const MOST_ERROR_BYTES: u64 = 64 << 10;
const LOOK_AT_SIZE_EVERY: Duration = Duration::from_millis(250);

/// A started git, killed with its process group when dropped.
#[derive(Debug)]
pub(super) struct GitProcess {
    pub(super) child: Child,
    group: Option<Pid>,
}

impl Drop for GitProcess {
    fn drop(&mut self) {
        if let (Some(group), None) = (self.group, self.child.try_wait().ok().flatten()) {
            // Already gone is fine.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// How git is run for one repository.
#[derive(Clone, Debug)]
pub(super) struct Git {
    pub(super) place: GitPlace,
    pub(super) path: String,
    pub(super) agent_socket: Option<String>,
}

/// What one run gave.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) output: Vec<u8>,
}

/// Bounds of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunLimits<'a> {
    /// Most bytes of standard output.
    pub(super) output: u64,
    /// A folder, and the most bytes that it may grow to.
    pub(super) folder: Option<(&'a Path, u64)>,
}

impl Git {
    /// Starts `git ARGUMENTS` in `folder`.
    pub(super) fn start(&self, folder: &Path, arguments: &[&str]) -> Result<GitProcess, SourceError> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", folder)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", self.place.protocol())
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ADVICE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        if let Some(ssh) = self.place.ssh_command() {
            command.env("GIT_SSH_COMMAND", ssh);
        }
        if let Some(socket) = &self.agent_socket {
            command.env("SSH_AUTH_SOCK", socket);
        }
        let settings = self.place.settings();
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        let child = command.spawn().map_err(|error| {
            SourceError::new(
                SourceErrorCode::GitMissing,
                "the `git` program cannot be started",
                "install git 2.37 or newer, and see that it is on the PATH",
            )
            .with_operator_detail(error)
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(GitProcess { child, group })
    }

    /// Runs `git ARGUMENTS` in `folder` with `input`, and judges its exit status.
    pub(super) async fn run(
        &self,
        folder: &Path,
        arguments: &[&str],
        input: Vec<u8>,
        limits: RunLimits<'_>,
    ) -> Result<Ran, SourceError> {
        let mut process = self.start(folder, arguments)?;
        let (stdin, stdout, stderr) =
            (process.child.stdin.take(), process.child.stdout.take(), process.child.stderr.take());
        let feeding = async move {
            if let Some(mut stdin) = stdin {
                // A git that ends early says why on its standard error.
                stdin.write_all(&input).await.ok();
            }
        };
        let running = async {
            let ((), output, errors) =
                tokio::join!(feeding, bounded(stdout, limits.output), bounded(stderr, MOST_ERROR_BYTES));
            let status = process.child.wait().await;
            (output, errors, status)
        };
        let (output, errors, status) = tokio::select! {
            done = running => done,
            error = grown(limits.folder) => return Err(error),
        };
        let status = status.map_err(|error| failed("its end could not be seen").with_operator_detail(error))?;
        let errors = errors.unwrap_or_default();
        if !status.success() {
            return Err(self.place.explained(&String::from_utf8_lossy(&errors)));
        }
        let output = output.ok_or_else(|| {
            SourceError::new(
                SourceErrorCode::TooManyFiles,
                "the repository's listing is absurdly long",
                "name a narrower folder",
            )
        })?;
        Ok(Ran { output })
    }
}

/// Everything that comes, or `None` when it is more than `most` bytes; the rest is read and thrown away, so that the
/// writer does not wait.
async fn bounded(stream: Option<impl AsyncRead + Unpin>, most: u64) -> Option<Vec<u8>> {
    let mut stream = stream?;
    let mut bytes = Vec::new();
    // A pipe that breaks ends the text; the exit status decides.
    (&mut stream).take(most + 1).read_to_end(&mut bytes).await.ok();
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    (bytes.len() as u64 <= most).then_some(bytes)
}

/// Ends when the folder has grown too large; never, where there is no bound.
async fn grown(folder: Option<(&Path, u64)>) -> SourceError {
    let Some((folder, most)) = folder else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK_AT_SIZE_EVERY).await;
        let path = folder.to_owned();
        let bytes = tokio::task::spawn_blocking(move || folder_bytes(&path)).await.unwrap_or(0);
        if bytes > most {
            return too_large(most);
        }
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .fold(0, u64::saturating_add)
}

pub(super) fn failed(what: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::GitFailed,
        format!("git failed: {}", shown(what)),
        "try the same with git by hand: the operator's log has its words",
    )
}
