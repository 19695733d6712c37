//! Memory of the host that the device reads and writes by itself.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Context, check};
use crate::error::DeviceError;
use crate::result_code::ResultCode;

/// Pinned memory, usable from every context; zeroed. Taking and giving it back is slow: made once, used again and again.
pub struct PinnedBuffer {
    context: Arc<Context>,
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is owned exclusively and handed out only by borrowing.
unsafe impl Send for PinnedBuffer {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// Pins `length` bytes.
    ///
    /// # Errors
    /// `OutOfMemory` when the host gives none, or `Driver` with the driver's answer.
    pub fn new(context: &Arc<Context>, length: usize) -> Result<Self, DeviceError> {
        const PORTABLE: u32 = 1;
        if length == 0 {
            return Ok(Self { context: Arc::clone(context), start: NonNull::dangling(), length });
        }
        let driver = context.enter_beside_captures()?;
        let mut start: *mut c_void = std::ptr::null_mut();
        // SAFETY: writes one address to a local.
        let answer = check("cuMemHostAlloc", unsafe { (driver.calls.host_allocate)(&raw mut start, length, PORTABLE) });
        let exhausted = DeviceError::OutOfMemory { ordinal: u32::MAX, wanted: length as u64, limit: 0 };
        match (answer, NonNull::new(start.cast::<u8>())) {
            (Ok(()), Some(start)) => {
                // SAFETY: the driver gave that many bytes there; they are ours, and uninitialised until now.
                unsafe { std::ptr::write_bytes(start.as_ptr(), 0, length) };
                Ok(Self { context: Arc::clone(context), start, length })
            }
            (Ok(()), None) | (Err(DeviceError::Driver { code: ResultCode::OUT_OF_MEMORY, .. }), _) => Err(exhausted),
            (Err(error), _) => Err(error),
        }
    }
}

impl PinnedBuffer {
    /// The `length` bytes from `start` on, and no others: the device may be writing to those meanwhile. `None` where there
    /// are not so many.
    pub(crate) fn part(&mut self, start: usize, length: usize) -> Option<&mut [u8]> {
        if start.checked_add(length)? > self.length {
            return None;
        }
        // SAFETY: the part is within the buffer, initialised, and borrowed exclusively; a slice of the whole is not made.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(start), length) })
    }
}

impl std::ops::Deref for PinnedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` initialised bytes start there; dangling is allowed for length 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl std::ops::DerefMut for PinnedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        if self.length > 0
            && let Ok(driver) = self.context.enter_beside_captures()
        {
            // SAFETY: pinned here, freed once. A context in error refuses, and the memory stays until the process ends.
            let _freed = unsafe { (driver.calls.host_free)(self.start.as_ptr().cast()) };
        }
    }
}

impl fmt::Debug for PinnedBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PinnedBuffer").field("length", &self.length).finish()
    }
}
