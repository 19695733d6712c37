//! Processor time and memory of a process and its children, from `/proc`.
//!
//! Linux only; elsewhere it says so. Times have the resolution of the kernel's tick, 10 ms.

use std::time::Duration;

/// What a process used so far, and what it holds now; its descendants included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessUse {
    /// User and system time.
    pub(super) cpu: Duration,
    /// Resident memory in bytes.
    pub(super) resident_bytes: u64,
}

/// Ticks per second of `/proc`: USER_HZ, 100 on every architecture that Rust's standard library supports.
const TICK: Duration = Duration::from_millis(10);

/// Looks at a process.
///
/// # Errors
/// A text that says what to do, when there is no such process or no `/proc`.
pub(super) fn process_use(pid: u32) -> Result<ProcessUse, String> {
    let mut sum = one(pid).ok_or_else(|| {
        format!("--pid names process {pid}, which cannot be seen: give the process id of a server on this machine")
    })?;
    for child in children(pid) {
        if let Ok(usage) = process_use(child) {
            sum.cpu += usage.cpu;
            sum.resident_bytes += usage.resident_bytes;
        }
    }
    Ok(sum)
}

fn one(pid: u32) -> Option<ProcessUse> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(ProcessUse { cpu: cpu_time(&stat)?, resident_bytes: resident(&status) })
}

/// The kernel lists a thread's children only when built to do so; every thread may have some.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Fields 14 and 15 of `stat`; the second field, the name, may hold spaces and brackets.
fn cpu_time(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.saturating_add(system))
}

fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 300 18446744073709551615";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time("broken"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), 2 << 20);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(process_use(std::process::id()).is_ok_and(|usage| usage.resident_bytes > 100_000));
        assert!(process_use(u32::MAX).is_err());
    }
}
