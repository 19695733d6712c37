//! Gives back the pages of an engine's file that are resident because start-up and loading went through them: its code,
//! and what is only read, most of it the list of what the loader had to adjust.
//!
//! They are unchanged copies of the file: the system drops them under pressure anyway, and brings those back that are
//! used again, from its cache of files.

#![allow(unsafe_code, reason = "advice about memory has no safe form")]

use std::path::Path;

/// Drops the resident pages of the library or program at `path`, which this process has mapped, where they cannot differ
/// from the file; gives their address space in bytes, 0 where it cannot.
#[must_use]
pub fn release_file_pages(path: &Path) -> usize {
    if !cfg!(target_os = "linux") {
        return 0;
    }
    let Ok(path) = std::fs::canonicalize(path) else { return 0 };
    let mappings = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    unchanged_ranges(&mappings, &path.to_string_lossy()).into_iter().map(|(start, end)| release(start, end)).sum()
}

fn release(start: usize, end: usize) -> usize {
    // SAFETY: the range is a mapping of a file that is loaded now, readable and not writable, without any page that
    // was changed before it became so; dropping pages changes nothing that anybody can read.
    let result = unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    if result == 0 { end - start } else { 0 }
}

/// Ranges of the private mappings of the file at `path` that cannot be written and hold no page of their own (as the
/// data does that is protected after it was adjusted).
fn unchanged_ranges(mappings: &str, path: &str) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut mapping = None;
    for line in mappings.lines() {
        if let Some(pages) = line.strip_prefix("Anonymous:") {
            let unchanged = pages.trim() == "0 kB";
            ranges.extend(mapping.take().filter(|_| unchanged));
        } else if let Some((range, permissions)) = header(line) {
            let of_the_file = line.find('/').is_some_and(|start| &line[start..] == path);
            mapping =
                Some(range).filter(|_| of_the_file && permissions.starts_with("r-") && permissions.ends_with('p'));
        }
    }
    ranges
}

/// The range and the permissions of a line that begins a mapping.
fn header(line: &str) -> Option<((usize, usize), &str)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((range, words.next()?)).filter(|_| range.0 < range.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_pages_of_the_file_are_dropped() {
        let mappings = "\
7f5dd9000000-7f5dd90d5000 r--p 00000000 fe:00 5499133                    /lib/libonnxruntime.so.1
Rss:                 840 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
7f5dd90d5000-7f5dda695000 r-xp 000d5000 fe:00 5499133                    /lib/libonnxruntime.so.1
Anonymous:             0 kB
7f5dda695000-7f5ddaba7000 r-xp 01695000 fe:00 5499133                    /lib/libonnxruntime.so.1
Anonymous:             4 kB
7f5ddaba7000-7f5ddabf8000 r--p 01ba6000 fe:00 5499133                    /lib/libonnxruntime.so.1
Anonymous:           324 kB
7f5ddabf8000-7f5ddabff000 rw-p 01bf7000 fe:00 5499133                    /lib/libonnxruntime.so.1
Anonymous:             0 kB
7f5ddabff000-7f5ddac00000 r--s 01bf7000 fe:00 5499133                    /lib/libonnxruntime.so.1
Anonymous:             0 kB
7f5ddac00000-7f5ddac10000 r-xp 00000000 fe:00 5499134                    /lib/libm.so.6
Anonymous:             0 kB
7f5ddae00000-7f5ddae10000 r-xp 00000000 fe:00 5499135                    /usr/lib/libonnxruntime.so.1
Anonymous:             0 kB
7f5ddad00000-7f5ddad10000 r-xp 00000000 00:00 0
Anonymous:             0 kB
";
        assert_eq!(
            unchanged_ranges(mappings, "/lib/libonnxruntime.so.1"),
            [(0x7f5d_d900_0000, 0x7f5d_d90d_5000), (0x7f5d_d90d_5000, 0x7f5d_da69_5000)]
        );
    }
}
