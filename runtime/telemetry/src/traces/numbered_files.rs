//! Which file a trace goes to: `FILE`, or `FILE.0`, `FILE.1` and so on where its setting counts.
//!
//! The traces of one setting are a stream. A stream with a frequency fills one numbered file after another; one whose number of
//! traces is bounded has one numbered file; all others share `FILE`. Unlike Triton, which writes a numbered file when it is
//! full, a file is there from its first trace.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::array_file::ArrayFile;

/// The traces of one setting, from one change of settings to the next.
#[derive(Debug)]
pub(super) struct TraceStream {
    numbered: Option<Numbered>,
}

#[derive(Debug)]
struct Numbered {
    /// Traces in a file.
    capacity: u64,
    /// The file that is filled. Only the writer looks at it.
    open: Mutex<Option<(ArrayFile, u64)>>,
}

impl TraceStream {
    /// What goes to `FILE`.
    pub(super) const fn plain() -> Self {
        Self { numbered: None }
    }

    /// What goes to numbered files of `capacity` traces each.
    pub(super) const fn numbered(capacity: u64) -> Self {
        Self { numbered: Some(Numbered { capacity, open: Mutex::new(None) }) }
    }

    /// The stream of a setting with this frequency (0 for none) and this many traces to come (-1 for no end).
    pub(super) const fn of(log_frequency: u32, count: i32) -> Self {
        match (log_frequency, count) {
            (0, ..=0) => Self::plain(),
            (0, _) => Self::numbered(u64::MAX),
            (frequency, _) => Self::numbered(frequency as u64),
        }
    }
}

/// All files of a process, below one name.
#[derive(Debug)]
pub(super) struct TraceFiles {
    path: PathBuf,
    plain: Option<ArrayFile>,
    next_number: u64,
}

impl TraceFiles {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), plain: None, next_number: 0 }
    }

    /// How many more traces go to the file that the stream fills.
    pub(super) fn room(&self, stream: &TraceStream) -> u64 {
        let Some(numbered) = &stream.numbered else { return u64::MAX };
        let open = numbered.open.lock().unwrap_or_else(PoisonError::into_inner);
        numbered.capacity - open.as_ref().map_or(0, |(_, written)| *written)
    }

    /// Writes `count` traces, at most [`TraceFiles::room`].
    ///
    /// # Errors
    /// What the system says. Nothing of it is in the file then.
    pub(super) fn write(&mut self, stream: &TraceStream, elements: &str, count: u64) -> io::Result<()> {
        let Some(numbered) = &stream.numbered else {
            return made(&mut self.plain, || ArrayFile::create(&self.path))?.append(elements);
        };
        let mut open = numbered.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = &mut self.next_number;
        let (file, written) = made(&mut open, || {
            let file = ArrayFile::create(&numbered_path(&self.path, *number))?;
            *number += 1;
            Ok((file, 0))
        })?;
        file.append(elements)?;
        *written += count;
        if *written >= numbered.capacity {
            *open = None;
        }
        Ok(())
    }
}

/// The path of the numbered file.
pub(super) fn numbered_path(path: &Path, number: u64) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The value in `place`, which is made when there is none.
fn made<T>(place: &mut Option<T>, make: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    match place {
        Some(value) => Ok(value),
        None => Ok(place.insert(make()?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn streams_share_a_name_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let mut files = TraceFiles::new(&path);
        let (plain, counted, by_two) = (TraceStream::of(0, -1), TraceStream::of(0, 5), TraceStream::of(2, -1));
        files.write(&by_two, "1", 1).unwrap();
        files.write(&counted, "10,11", 2).unwrap();
        files.write(&plain, "20", 1).unwrap();
        assert_eq!((files.room(&by_two), files.room(&plain)), (1, u64::MAX));
        files.write(&by_two, "2", 1).unwrap();
        assert_eq!(files.room(&by_two), 2);
        files.write(&by_two, "3", 1).unwrap();
        files.write(&counted, "12", 1).unwrap();
        files.write(&plain, "21", 1).unwrap();
        assert_eq!(read("t.json"), "[20,\n21]");
        assert_eq!(read("t.json.0"), "[1,\n2]");
        assert_eq!(read("t.json.1"), "[10,11,\n12]");
        assert_eq!(read("t.json.2"), "[3]");
    }

    #[test]
    fn a_number_is_taken_by_a_file_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        std::fs::create_dir(folder.path().join("t.json.0")).unwrap();
        let (mut files, stream) = (TraceFiles::new(&path), TraceStream::of(1, -1));
        assert!(files.write(&stream, "1", 1).is_err());
        std::fs::remove_dir(folder.path().join("t.json.0")).unwrap();
        files.write(&stream, "2", 1).unwrap();
        assert_eq!(std::fs::read_to_string(numbered_path(&path, 0)).unwrap(), "[2]");
    }
}
