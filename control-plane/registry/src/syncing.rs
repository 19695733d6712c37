//! Makes files durable beside whoever writes the next ones: a disk that is asked by one at a time mostly waits.
//!
//! Each file is synchronised through the descriptor that it was written through: one that is opened later may miss an error
//! (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Most files that are synchronised at the same time; as many more may wait.
const MOST: usize = 16;

/// Threads that synchronise files. Dropping it waits for them.
#[derive(Debug)]
pub(crate) struct Syncing {
    waiting: Option<SyncSender<File>>,
    taken: Arc<Mutex<Receiver<File>>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Syncing {
    pub(crate) fn new() -> Self {
        let (waiting, taken) = sync_channel(MOST);
        Self { waiting: Some(waiting), taken: Arc::new(Mutex::new(taken)), threads: Vec::new() }
    }

    /// Has a complete file synchronised; waits while too many are under way. What fails is told by [`finish`](Self::finish).
    pub(crate) fn add(&mut self, file: File) -> io::Result<()> {
        if self.threads.len() < MOST {
            let taken = Arc::clone(&self.taken);
            let thread =
                std::thread::Builder::new().name("hanok-sync".to_owned()).spawn(move || synchronise(&taken))?;
            self.threads.push(thread);
        }
        if let Some(waiting) = &self.waiting {
            waiting.send(file).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Waits until everything is durable.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.waiting = None;
        let ended = self.threads.drain(..).map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread that synchronises files ended by a panic")))
        });
        ended.fold(Ok(()), Result::and)
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        // Whoever drops it without finishing throws the files away.
        drop(self.join());
    }
}

/// Goes on after a failure, so that nobody waits for a thread that is gone; tells the first.
fn synchronise(taken: &Mutex<Receiver<File>>) -> io::Result<()> {
    let mut outcome = Ok(());
    loop {
        let next = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(file) => outcome = outcome.and(file.sync_all()),
            Err(_closed) => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_file_that_cannot_be_synchronised_is_told_and_blocks_nobody() {
        let mut syncing = Syncing::new();
        for _ in 0..10 * MOST {
            syncing.add(tempfile::tempfile().unwrap()).unwrap();
            // A device has nothing to synchronise, and says so.
            syncing.add(File::open("/dev/null").unwrap()).unwrap();
        }
        syncing.finish().unwrap_err();
        let mut syncing = Syncing::new();
        syncing.add(tempfile::tempfile().unwrap()).unwrap();
        syncing.finish().unwrap();
        Syncing::new().finish().unwrap();
    }
}
