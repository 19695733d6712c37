//! Streams: work of one instance, in order, beside the work of others.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::Arc;

use super::table::Handle;
use super::{Context, DeviceAddress, Event, check};
use crate::error::DeviceError;

/// A stream in the form in which libraries take it.
pub type RawStream = *mut c_void;

/// Which streams the device prefers when it has the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamPriority {
    /// Before others (`optimization.priority: PRIORITY_MAX`).
    High,
    /// As the driver has it.
    #[default]
    Default,
    /// After others (`PRIORITY_MIN`).
    Low,
}

impl StreamPriority {
    /// The driver's number within its range: smaller is preferred, and 0 is the default where the range has it.
    pub(crate) fn within(self, least: c_int, greatest: c_int) -> c_int {
        match self {
            Self::High => greatest,
            Self::Default => 0.clamp(greatest.min(least), least.max(greatest)),
            Self::Low => least,
        }
    }
}

/// A stream of one device; does not wait for the default stream.
pub struct Stream {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the driver lets any thread use a stream whose context it made current.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver orders what several threads put on it.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new stream in `context`.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn new(context: &Arc<Context>, priority: StreamPriority) -> Result<Self, DeviceError> {
        const NON_BLOCKING: u32 = 1;
        let driver = context.enter()?;
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: writes two numbers to locals.
        check("cuCtxGetStreamPriorityRange", unsafe { (driver.calls.priorities)(&raw mut least, &raw mut greatest) })?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: writes one handle to a local.
        check("cuStreamCreateWithPriority", unsafe {
            (driver.calls.stream_create)(&raw mut handle, NON_BLOCKING, priority.within(least, greatest))
        })?;
        Ok(Self { context: Arc::clone(context), handle })
    }

    /// The stream, for libraries that put work on it; valid for as long as `self`.
    #[must_use]
    pub fn raw(&self) -> RawStream {
        self.handle
    }

    /// The context that it belongs to.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Copies `bytes` to the device behind everything that is on the stream; returns before it is done.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    ///
    /// # Safety
    /// `bytes` stays as it is, and `to` is memory of that length on this device that nothing else uses, until the stream
    /// has come here.
    pub unsafe fn copy_in(&self, to: DeviceAddress, bytes: &[u8]) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: by the caller's promise.
        check("cuMemcpyHtoDAsync_v2", unsafe {
            (driver.calls.copy_in)(to, bytes.as_ptr().cast(), bytes.len(), self.handle)
        })
    }

    /// Copies from the device into `bytes`, likewise.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    ///
    /// # Safety
    /// As for [`Stream::copy_in`], the other way: nobody reads or writes `bytes` until the stream has come here.
    pub unsafe fn copy_out(&self, bytes: &mut [u8], from: DeviceAddress) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: by the caller's promise.
        check("cuMemcpyDtoHAsync_v2", unsafe {
            (driver.calls.copy_out)(bytes.as_mut_ptr().cast(), from, bytes.len(), self.handle)
        })
    }

    /// Copies within the device, likewise.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    ///
    /// # Safety
    /// As for [`Stream::copy_in`], for both places.
    pub unsafe fn copy_across(&self, to: DeviceAddress, from: DeviceAddress, bytes: usize) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: by the caller's promise.
        check("cuMemcpyDtoDAsync_v2", unsafe { (driver.calls.copy_across)(to, from, bytes, self.handle) })
    }

    /// Lets what is put on the stream from now on wait for `event`; the caller does not wait.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn wait_for(&self, event: &Event) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: stream and event are alive.
        check("cuStreamWaitEvent", unsafe { (driver.calls.stream_wait)(self.handle, event.raw(), 0) })
    }

    /// Waits until everything on the stream is done: at the end of a stream's life, not for requests.
    ///
    /// # Errors
    /// `Driver` with the driver's answer, which may be that of earlier work.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: the stream is alive.
        check("cuStreamSynchronize", unsafe { (driver.calls.stream_synchronize)(self.handle) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Ok(driver) = self.context.enter() {
            // SAFETY: created here, destroyed once. A context in error refuses, and takes its streams along when it goes.
            let _destroyed = unsafe { (driver.calls.stream_destroy)(self.handle) };
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").field("context", &self.context).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_stay_within_the_drivers_range() {
        let of = |priority: StreamPriority| priority.within(0, -5);
        assert_eq!((of(StreamPriority::High), of(StreamPriority::Default), of(StreamPriority::Low)), (-5, 0, 0));
        // A device without priorities has an empty range.
        assert_eq!(StreamPriority::High.within(0, 0), 0);
    }
}
