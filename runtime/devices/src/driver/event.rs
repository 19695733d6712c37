//! Events: marks on a stream that can be waited for and whose distance in time can be told.

use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::table::Handle;
use super::{Context, Stream, check};
use crate::error::DeviceError;
use crate::result_code::ResultCode;

/// An event in the form in which libraries take it.
pub type RawEvent = *mut c_void;

/// A mark on a stream.
pub struct Event {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the driver lets any thread use an event whose context it made current.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// A new event with timing. Waiting for it lets the processor do other things rather than look again and again.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        const BLOCKING_SYNC: u32 = 1;
        let driver = context.enter()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: writes one handle to a local.
        check("cuEventCreate", unsafe { (driver.calls.event_create)(&raw mut handle, BLOCKING_SYNC) })?;
        Ok(Self { context: Arc::clone(context), handle })
    }

    /// The event, for libraries; valid for as long as `self`.
    #[must_use]
    pub fn raw(&self) -> RawEvent {
        self.handle
    }

    /// Puts the mark behind everything that is on `stream`.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn record(&self, stream: &Stream) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: event and stream are alive.
        check("cuEventRecord", unsafe { (driver.calls.event_record)(self.handle, stream.raw()) })
    }

    /// Whether the stream has come to the mark.
    ///
    /// # Errors
    /// `Driver` with the driver's answer, which may be that of earlier work.
    pub fn is_reached(&self) -> Result<bool, DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: the event is alive.
        match check("cuEventQuery", unsafe { (driver.calls.event_query)(self.handle) }) {
            Ok(()) => Ok(true),
            Err(DeviceError::Driver { code: ResultCode::NOT_READY, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until the stream has come to the mark.
    ///
    /// # Errors
    /// `Driver` with the driver's answer, which may be that of earlier work.
    pub fn wait(&self) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        // SAFETY: the event is alive.
        check("cuEventSynchronize", unsafe { (driver.calls.event_synchronize)(self.handle) })
    }

    /// Time on the device from `start` to this mark; both were reached.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn since(&self, start: &Self) -> Result<Duration, DeviceError> {
        let driver = self.context.enter()?;
        let mut milliseconds = 0.0_f32;
        // SAFETY: both events are alive; writes one number to a local.
        check("cuEventElapsedTime", unsafe {
            (driver.calls.event_elapsed)(&raw mut milliseconds, start.handle, self.handle)
        })?;
        Ok(Duration::try_from_secs_f64(f64::from(milliseconds) / 1000.0).unwrap_or_default())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(driver) = self.context.enter() {
            // SAFETY: created here, destroyed once. A context in error refuses, and takes its events along when it goes.
            let _destroyed = unsafe { (driver.calls.event_destroy)(self.handle) };
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Event").finish_non_exhaustive()
    }
}
