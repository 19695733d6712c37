//! The machine and the commit that a record belongs to.

use std::process::Command;

use serde::Serialize;

/// What a figure depends on besides the code.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    memory_bytes: u64,
    /// Over one minute, when the record was made: above about 1 somebody else was working, too.
    load_average: f64,
}

/// Load average above which absolute figures mean little.
const BUSY: f64 = 0.7;

/// Says so when somebody else is working on this machine.
pub(crate) fn warn_when_busy() {
    let busy = load_average();
    if busy > BUSY {
        eprintln!("the machine is busy (load average {busy}): absolute figures will be worse than on a quiet one");
    }
}

/// The one-minute load average; 0 where the kernel tells none.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

impl Machine {
    /// This machine.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: memory.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024,
            load_average: load_average(),
        }
    }
}

/// The commit of the working tree; `-changed` when files differ from it, `uncommitted` when there is none.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "uncommitted".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-changed"),
    }
}
