//! Looks at the repository again and again, in control mode `poll`.
//!
//! A thread and a clock, nothing more: what a look does is [`ModelRepository::poll`].

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ModelRepository;

/// The polling thread; ends when dropped.
#[derive(Debug)]
pub struct Poller {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Poller {
    /// Starts looking at `repository` every `interval`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(repository: &Arc<ModelRepository>, interval: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let repository: Weak<ModelRepository> = Arc::downgrade(repository);
        let thread = std::thread::Builder::new().name("hanok-poll".to_owned()).spawn(move || {
            while matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
                let Some(repository) = repository.upgrade() else { return };
                repository.poll();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its own thread; there is nothing left to do about it.
            drop(thread.join());
        }
    }
}
