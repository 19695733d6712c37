//! A file from a place to its end, as a stream.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use super::RandomRead;

/// What is behind a place of a file.
#[derive(Debug)]
pub(crate) struct FileStream {
    file: Arc<dyn RandomRead>,
    at: u64,
}

impl FileStream {
    /// From `at` on, as much at once as the file's storage likes to give.
    pub(crate) fn buffered(file: Arc<dyn RandomRead>, at: u64) -> BufReader<Self> {
        BufReader::with_capacity(file.ahead(), Self { file, at })
    }
}

impl Read for FileStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.length().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        if length > 0 {
            buffer[..length].copy_from_slice(&self.file.read(self.at, length)?);
            self.at += length as u64;
        }
        Ok(length)
    }
}
