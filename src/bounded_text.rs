//! Text files that an operator names: read whole, up to a size. A pipe is welcome (`<(command)` of a shell); one without an
//! end is not, nor one that nobody writes to.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Largest file of settings: declarations, plans, tokens.
pub(crate) const LARGEST_SETTINGS: u64 = 16 << 20;

/// Longest silence of what is no regular file: before somebody opens the pipe to write, and between two writes.
const SILENCE: Duration = Duration::from_secs(30);

/// Reads the file.
///
/// # Errors
/// When it cannot be read, has more than `largest` bytes, is no text in UTF-8, or is a pipe or a device that says nothing for
/// too long.
pub(crate) fn read(path: &Path, largest: u64) -> io::Result<String> {
    read_within(path, largest, SILENCE)
}

fn read_within(path: &Path, largest: u64, silence: Duration) -> io::Result<String> {
    if std::fs::metadata(path)?.is_file() {
        return read_from(File::open(path)?, largest);
    }
    read_from(Awaited::open(path, silence)?, largest)
}

/// What comes out of a pipe or a device. A thread of its own reads it; one that waits for ever ends with the process.
struct Awaited {
    pieces: std::sync::mpsc::Receiver<io::Result<Vec<u8>>>,
    silence: Duration,
    rest: Vec<u8>,
}

impl Awaited {
    fn open(path: &Path, silence: Duration) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(1);
        let path = path.to_owned();
        let reading = move || {
            let mut file = match File::open(path) {
                Ok(file) => file,
                // Whoever has gone wants no answer.
                Err(error) => return drop(sender.send(Err(error))),
            };
            loop {
                let mut piece = vec![0; 64 << 10];
                let read = file.read(&mut piece).map(|read| {
                    piece.truncate(read);
                    piece
                });
                let ended = read.as_ref().map_or(true, Vec::is_empty);
                if sender.send(read).is_err() || ended {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("read-pipe".to_owned()).spawn(reading)?;
        Ok(Self { pieces, silence, rest: Vec::new() })
    }
}

impl Read for Awaited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = match self.pieces.recv_timeout(self.silence) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Timeout) => {
                    let told = format!("it is no regular file, and nothing came out of it for {:?}", self.silence);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, told));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            };
        }
        let taken = self.rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.rest[..taken]);
        self.rest.drain(..taken);
        Ok(taken)
    }
}

/// Reads to the end.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_from(source: impl Read, largest: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        let reason = format!("expected at most {largest} bytes, got more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected text in UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_has_no_end_is_refused() {
        assert_eq!(read_from(&b"plan"[..], 4).unwrap(), "plan");
        assert!(read_from(&b"plans"[..], 4).unwrap_err().to_string().contains("at most 4 bytes"));
        assert!(read(Path::new("/dev/zero"), 1 << 20).unwrap_err().to_string().contains("at most"));
        assert_eq!(read(Path::new("/dev/null"), 4).unwrap(), "");
        assert_eq!(read(Path::new("/"), 4).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(read_from(&b"\xff"[..], 4).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = read_within(&pipe, 4, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        // The reader that gave up before still has it open; what is written goes to one of the two.
        let fresh = folder.path().join("fresh");
        assert!(std::process::Command::new("mkfifo").arg(&fresh).status().unwrap().success());
        let (to, text) = (fresh.clone(), "plan".repeat(50_000));
        let writing = std::thread::spawn(move || std::fs::write(to, text).unwrap());
        assert_eq!(read(&fresh, 1 << 20).unwrap().len(), 200_000);
        writing.join().unwrap();
    }
}
