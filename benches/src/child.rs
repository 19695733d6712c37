//! A process that a suite started: ended when its value goes, and what it started with it.
//!
//! Standard error is read on a thread into a log, so that the child never blocks and a failure can be explained.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Problem;

/// A running child.
#[derive(Debug)]
pub(crate) struct RunningChild {
    process: Child,
    name: String,
    log: Arc<Mutex<Vec<String>>>,
    lines: mpsc::Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

/// How long a process that has children may take to end them itself.
const END_LIMIT: Duration = Duration::from_secs(3);

/// Lines of the log that a failure shows.
const SHOWN: usize = 12;

impl RunningChild {
    /// Starts `command`; `name` is for messages.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self, Problem> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("cannot start {name} ({command:?}): {error}"))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, lines) = mpsc::channel();
        let reader = process.stderr.take().map(|stderr| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    // Nobody may be waiting for lines any more; the log keeps them.
                    drop(sender.send(line.clone()));
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    if log.len() >= 10_000 {
                        log.clear();
                    }
                    log.push(line);
                }
            })
        });
        Ok(Self { process, name: name.to_owned(), log, lines, reader })
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill_now(&self) {
        signal("KILL", &[self.id()]);
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the first line of standard error of which `find` makes something.
    pub(crate) fn wait_for<T>(&mut self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(found);
                    }
                }
                Err(_) => return Err(self.explain("did not say where it listens")),
            }
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// A problem with the last lines of the log.
    pub(crate) fn explain(&self, what: &str) -> Problem {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = &log[log.len().saturating_sub(SHOWN)..];
        format!("{} {what}; its log ends with:\n  {}", self.name, tail.join("\n  "))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1024.0)
    }
}

/// The processes below one, children before their own; empty where the kernel does not list them.
fn descendants(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect();
    children.into_iter().flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

/// Sends a signal; processes that have ended are no matter.
fn signal(name: &str, processes: &[u32]) {
    let processes = processes.iter().map(u32::to_string);
    let mut command = Command::new("sh");
    command.args(["-c", "kill -s \"$@\" 2>/dev/null", "kill", name]).args(processes);
    drop(command.status());
}

impl RunningChild {
    /// Asks a process with children to end, and ends those that it leaves behind.
    fn end_descendants(&mut self) {
        let family = descendants(self.id());
        if family.is_empty() {
            return;
        }
        signal("TERM", &[self.id()]);
        let end = Instant::now() + END_LIMIT;
        while !self.has_ended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        signal("KILL", &family);
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        self.end_descendants();
        // Both fail only for a process that has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
