//! Room that is kept for making room: on a full disk, evicting has to write first what it is about to remove.
//!
//! Best effort: a disk that has no room for the reserve is as good as full already.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use crate::folder::{Folder, open_private};

/// Room for what evicting thousands of versions writes.
const BYTES: usize = 4 << 20;
/// Bytes written at once.
const BLOCK: usize = 1 << 16;

impl Folder {
    /// Takes the room, unless it is taken. The caller holds the registry's lock.
    pub(crate) fn keep_reserve(&self, _held: &File) {
        if fs::metadata(self.reserve()).is_ok_and(|found| found.len() == BYTES as u64) {
            return;
        }
        if let Err(_full) = self.fill_reserve() {
            // What little it took is others'.
            drop(fs::remove_file(self.reserve()));
        }
    }

    /// Gives the room back; `false`: there was none.
    pub(crate) fn release_reserve(&self) -> io::Result<bool> {
        match fs::remove_file(self.reserve()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fill_reserve(&self) -> io::Result<()> {
        let mut file = open_private(&self.reserve())?;
        // No zeros: some file systems keep no room for those.
        let mut word = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..BYTES / BLOCK {
            let mut block = Vec::with_capacity(BLOCK);
            while block.len() < BLOCK {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                block.extend_from_slice(&word.to_le_bytes());
            }
            file.write_all(&block)?;
        }
        Ok(())
    }

    fn reserve(&self) -> PathBuf {
        self.path().join("reserve")
    }
}
