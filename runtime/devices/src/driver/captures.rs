//! One capture of a CUDA graph at a time, and nobody who takes or gives back memory beside it.
//!
//! While a stream is captured in the driver's global mode, as ONNX Runtime captures, calls that may wait for a device (taking
//! and giving back memory, opening that of others, loading code) fail in every thread of the process, and spoil the capture.
//! So they wait for it here. While requests are served a capture never waits: whoever cannot have one now computes without. At
//! load it may, for a bounded time.

use std::time::Instant;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The rule.
#[derive(Debug, Default)]
pub(super) struct Captures(RwLock<()>);

/// The right to capture a graph.
#[derive(Debug)]
pub struct Capture<'a> {
    _alone: RwLockWriteGuard<'a, ()>,
}

/// Keeps others from capturing, for calls that a capture forbids.
#[derive(Debug)]
pub struct BesideCaptures<'a> {
    _shared: RwLockReadGuard<'a, ()>,
}

impl Captures {
    /// The right to capture, unless somebody has it or makes calls that it forbids.
    pub(super) fn begin(&self) -> Option<Capture<'_>> {
        self.0.try_write().map(|alone| Capture { _alone: alone })
    }

    /// As [`Captures::begin`], but waits for the others until `deadline`.
    pub(super) fn begin_by(&self, deadline: Instant) -> Option<Capture<'_>> {
        self.0.try_write_until(deadline).map(|alone| Capture { _alone: alone })
    }

    /// Waits for the end of a capture, if there is one. May be held more than once by a thread.
    pub(super) fn beside(&self) -> BesideCaptures<'_> {
        BesideCaptures { _shared: self.0.read_recursive() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_alone_and_never_waits() {
        let captures = Captures::default();
        let (first, again) = (captures.beside(), captures.beside());
        assert!(captures.begin().is_none(), "somebody takes memory");
        drop((first, again));
        let capture = captures.begin();
        assert!(capture.is_some() && captures.begin().is_none());
        assert!(captures.0.try_read_recursive().is_none(), "others wait");
        drop(capture);
        drop(captures.beside());
    }

    #[test]
    fn a_capture_at_load_waits_for_the_others_and_not_for_ever() {
        let captures = Captures::default();
        let beside = captures.beside();
        assert!(captures.begin_by(Instant::now()).is_none(), "somebody takes memory, and the time is over");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let far = Instant::now() + std::time::Duration::from_secs(600);
                sender.send(captures.begin_by(far).is_some())
            });
            drop(beside);
            assert_eq!(receiver.recv(), Ok(true));
        });
    }
}
