//! Stretches of a file as the parquet crate reads them, read ahead within their bounds.
//!
//! The crate asks for headers of pages and pages one by one; a storage far away is better asked for more at once. What lies
//! outside of a stretch, the columns that nobody wants above all, is never read.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::OfflineError;
use crate::storage::RandomRead;

/// Bytes at the end of a file that usually hold all of its metadata.
const TAIL: u64 = 64 << 10;

/// A stretch of a file; places are those of the file.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    name: Arc<str>,
    file: Arc<dyn RandomRead>,
    end: u64,
    window: Arc<Mutex<Window>>,
}

/// What was read last.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn slice(&self, start: u64, length: usize) -> Option<Bytes> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(length).filter(|to| *to <= self.bytes.len())?;
        Some(self.bytes.slice(from..to))
    }
}

impl Chunks {
    /// The whole file, its end read already.
    pub(super) fn with_tail(name: &str, file: Arc<dyn RandomRead>) -> io::Result<Self> {
        let end = file.length();
        let start = end.saturating_sub(TAIL);
        let chunks = Self { name: name.into(), file, end, window: Arc::default() };
        let bytes = chunks.asked(start, usize::try_from(end - start).unwrap_or_default())?;
        Ok(Self { window: Arc::new(Mutex::new(Window { start, bytes })), ..chunks })
    }

    /// What of the same file lies before `end`.
    pub(super) fn before(&self, end: u64) -> Self {
        Self { end: end.min(self.file.length()), window: Arc::default(), ..self.clone() }
    }

    /// Reads from the storage. Its errors carry one of this crate, by which they are told from what a damaged file gives.
    fn asked(&self, start: u64, length: usize) -> io::Result<Bytes> {
        self.file.read(start, length).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => error,
            _ => OfflineError::from_storage(&self.name, &error).into(),
        })
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = window.slice(start, length) {
            return Ok(bytes);
        }
        let left = usize::try_from(self.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let ahead = self.file.ahead().min(left).max(length);
        *window = Window { start, bytes: self.asked(start, ahead)? };
        window.slice(start, length).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// What is there of the next bytes, at least one of them.
    fn some(&self, start: u64, most: usize) -> io::Result<Bytes> {
        let known = {
            let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            let end = window.start + window.bytes.len() as u64;
            usize::try_from(end.saturating_sub(start)).ok().filter(|known| *known > 0 && start >= window.start)
        };
        self.read(start, known.unwrap_or(most).min(most))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.file.length()
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Behind>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::with_capacity(8 << 10, Behind { chunks: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.read(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// What is behind a place of a stretch.
#[derive(Debug)]
pub(super) struct Behind {
    chunks: Chunks,
    at: u64,
}

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.chunks.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let bytes = self.chunks.some(self.at, length)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::io::{self, Read as _};
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use parquet::file::reader::ChunkReader as _;
    use proptest::prelude::*;

    use super::Chunks;
    use crate::storage::RandomRead;

    /// A file in memory that notes what was asked for.
    #[derive(Debug)]
    struct Noted {
        bytes: Bytes,
        ahead: usize,
        asked: Mutex<Vec<(u64, usize)>>,
    }

    impl RandomRead for Noted {
        fn length(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn version(&self) -> String {
            String::new()
        }

        fn ahead(&self) -> usize {
            self.ahead
        }

        fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
            self.asked.lock().unwrap().push((start, length));
            let start = usize::try_from(start).unwrap();
            if start + length > self.bytes.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(self.bytes.slice(start..start + length))
        }
    }

    fn noted(length: usize, ahead: usize) -> Arc<Noted> {
        let bytes = (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect::<Vec<_>>();
        Arc::new(Noted { bytes: bytes.into(), ahead, asked: Mutex::new(Vec::new()) })
    }

    #[test]
    fn a_column_is_read_ahead_and_not_beyond_its_end() {
        let file = noted(200_000, 1000);
        let whole = Chunks::with_tail("x", Arc::<Noted>::clone(&file)).unwrap();
        let column = whole.before(3_500);
        let mut read = Vec::new();
        column.get_read(1_000).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, file.bytes[1_000..3_500]);
        let asked = file.asked.lock().unwrap().clone();
        assert_eq!(asked[0], (200_000 - 65_536, 65_536));
        assert_eq!(asked[1..].iter().map(|(_, length)| length).sum::<usize>(), 2_500, "{asked:?}");
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_there(
            length in 1_usize..5_000,
            ahead in 1_usize..800,
            reads in prop::collection::vec((0_u64..6_000, 0_usize..900, any::<bool>()), 1..30),
        ) {
            let file = noted(length, ahead);
            let chunks = Chunks::with_tail("x", Arc::<Noted>::clone(&file)).unwrap().before(length as u64);
            for (start, wanted, streamed) in reads {
                let place = usize::try_from(start).unwrap();
                let there = file.bytes.len().checked_sub(place).is_some_and(|left| left >= wanted);
                if streamed {
                    let mut read = Vec::new();
                    chunks.get_read(start).unwrap().take(wanted as u64).read_to_end(&mut read).unwrap();
                    let from = place.min(length);
                    prop_assert_eq!(&read[..], &file.bytes[from..length.min(from + wanted)]);
                } else {
                    let read = chunks.get_bytes(start, wanted);
                    prop_assert_eq!(read.is_ok(), there || wanted == 0 && read.is_ok());
                    if let (Ok(read), true) = (&read, there) {
                        prop_assert_eq!(&read[..], &file.bytes[place..place + wanted]);
                    }
                }
            }
        }
    }
}
