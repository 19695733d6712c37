//! Takes replaced versions out of service without losing their last requests.
//!
//! Dropping a scheduler joins its threads, which may take as long as a batch; so the last holder must not be a thread
//! that serves. Retired versions are kept here, on a thread of their own, until nobody else holds them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ReadyVersion;

/// How often held versions are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A version on its way out, and what to do once it is gone.
struct Retiring {
    version: Arc<ReadyVersion>,
    gone: Box<dyn FnOnce() + Send>,
}

/// The thread that waits for the last holders.
pub(crate) struct Retirement {
    sender: Option<Sender<Retiring>>,
    thread: Option<JoinHandle<()>>,
}

impl Retirement {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("hanok-retire".to_owned()).spawn(move || run(&receiver))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands over a version that is in no snapshot any more; `gone` runs when its memory is free.
    pub(crate) fn retire(&self, version: Arc<ReadyVersion>, gone: impl FnOnce() + Send + 'static) {
        if let Some(sender) = &self.sender {
            // A closed channel means that the process is ending; dropping the version here is right then.
            drop(sender.send(Retiring { version, gone: Box::new(gone) }));
        }
    }
}

fn run(receiver: &Receiver<Retiring>) {
    let mut held: Vec<Retiring> = Vec::new();
    loop {
        let received = if held.is_empty() {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(LOOK_INTERVAL)
        };
        match received {
            Ok(retiring) => held.push(retiring),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let mut index = 0;
        while index < held.len() {
            if Arc::strong_count(&held[index].version) > 1 {
                index += 1;
                continue;
            }
            let Retiring { version, gone } = held.swap_remove(index);
            drop(version);
            gone();
        }
    }
}

impl Drop for Retirement {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by its own thread; there is nothing left to do about it.
            drop(thread.join());
        }
    }
}

impl std::fmt::Debug for Retirement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Retirement")
    }
}
