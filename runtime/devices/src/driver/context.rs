//! A device's primary context: shared with every library of this process that uses the runtime API, ONNX Runtime among them.

use std::ffi::c_int;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLockReadGuard;

use super::table::Handle;
use super::{BesideCaptures, Capture, DeviceAddress, Driver, check};
use crate::error::DeviceError;
use crate::result_code::ResultCode;

/// The right to use a device's primary context; given back when dropped.
pub struct Context {
    driver: Arc<Driver>,
    ordinal: u32,
    device: c_int,
    handle: Handle,
    /// How often the device's context had been destroyed when this was retained.
    epoch: u64,
}

/// Keeps a context from being destroyed while it lives.
#[derive(Debug)]
pub struct ContextHold<'a> {
    driver: &'a Driver,
    _epoch: RwLockReadGuard<'a, u64>,
    /// For calls that a capture forbids.
    _beside: Option<BesideCaptures<'a>>,
}

impl Deref for ContextHold<'_> {
    type Target = Driver;

    fn deref(&self) -> &Driver {
        self.driver
    }
}

// SAFETY: the driver lets any thread use a context that it makes current first, which every call here does.
unsafe impl Send for Context {}
// SAFETY: as above; the handle is never changed.
unsafe impl Sync for Context {}

impl Context {
    /// Retains the primary context of the device at `ordinal`; the first one makes it, which takes tenths of seconds and
    /// hundreds of megabytes of the device.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn retain(driver: &Arc<Driver>, ordinal: u32) -> Result<Arc<Self>, DeviceError> {
        let device = driver.handle(ordinal)?;
        let epoch = driver.epochs.get(ordinal as usize).map_or(0, |epoch| *epoch.read_recursive());
        let mut handle = std::ptr::null_mut();
        // SAFETY: writes one handle to a local.
        check("cuDevicePrimaryCtxRetain", unsafe { (driver.calls.context_retain)(&raw mut handle, device) })?;
        Ok(Arc::new(Self { driver: Arc::clone(driver), ordinal, device, handle, epoch }))
    }

    /// The device's ordinal.
    #[must_use]
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Keeps the context from being destroyed by [`Context::reset`] for as long as the hold lives: for those who use what is
    /// in it and are none of its instances.
    ///
    /// # Errors
    /// `Driver` with `CUDA_ERROR_CONTEXT_IS_DESTROYED` when it was destroyed since it was retained.
    pub fn hold(&self) -> Result<ContextHold<'_>, DeviceError> {
        let gone = DeviceError::Driver { call: "cuCtxSetCurrent", code: ResultCode::CONTEXT_IS_DESTROYED };
        // Recursive: a thread that holds it enters it again, and must not wait behind one that wants to destroy it.
        let epoch = self.driver.epochs.get(self.ordinal as usize).ok_or(gone.clone())?.read_recursive();
        if *epoch != self.epoch {
            return Err(gone);
        }
        Ok(ContextHold { driver: &self.driver, _epoch: epoch, _beside: None })
    }

    /// Makes the context the calling thread's, and keeps it for the call.
    pub(super) fn enter(&self) -> Result<ContextHold<'_>, DeviceError> {
        let hold = self.hold()?;
        // SAFETY: the context is retained for as long as `self` lives, and is not destroyed while it is held.
        check("cuCtxSetCurrent", unsafe { (self.driver.calls.context_set)(self.handle) })?;
        Ok(hold)
    }

    /// As [`Context::enter`], for a call that no capture may have beside it: waits for one to end.
    pub(super) fn enter_beside_captures(&self) -> Result<ContextHold<'_>, DeviceError> {
        let beside = self.driver.captures().beside();
        Ok(ContextHold { _beside: Some(beside), ..self.enter()? })
    }

    /// Keeps graphs from being captured meanwhile, for libraries that take memory; waits for a capture to end.
    #[must_use]
    pub fn beside_captures(&self) -> BesideCaptures<'_> {
        self.driver.captures().beside()
    }

    /// The right to capture a graph in this process; `None` while somebody else captures, or makes calls that a capture forbids.
    #[must_use]
    pub fn capture(&self) -> Option<Capture<'_>> {
        self.driver.captures().begin()
    }

    /// As [`Context::capture`], but waits for the others until `deadline`: at load, where nobody waits for an answer.
    #[must_use]
    pub fn capture_by(&self, deadline: Instant) -> Option<Capture<'_>> {
        self.driver.captures().begin_by(deadline)
    }

    /// Free and total memory of the device in bytes.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn memory(&self) -> Result<(u64, u64), DeviceError> {
        let driver = self.enter()?;
        let (mut free, mut total) = (0_usize, 0_usize);
        // SAFETY: writes two numbers to locals.
        check("cuMemGetInfo_v2", unsafe { (driver.calls.memory_info)(&raw mut free, &raw mut total) })?;
        Ok((free as u64, total as u64))
    }

    /// Takes memory of the device from the driver. Slow, and may wait for the device: pools call it, requests do not.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Driver` with the driver's answer.
    pub(crate) fn allocate(&self, bytes: u64) -> Result<DeviceAddress, DeviceError> {
        let driver = self.enter_beside_captures()?;
        let mut address = 0;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        // SAFETY: writes one number to a local.
        let answer = check("cuMemAlloc_v2", unsafe { (driver.calls.allocate)(&raw mut address, size) });
        match answer {
            Ok(()) => Ok(address),
            Err(DeviceError::Driver { code: ResultCode::OUT_OF_MEMORY, .. }) => {
                let limit = self.memory().map_or(0, |(_, total)| total);
                Err(DeviceError::OutOfMemory { ordinal: self.ordinal, wanted: bytes, limit })
            }
            Err(other) => Err(other),
        }
    }

    /// Gives memory back to the driver; a context in error refuses, and takes the memory along when it goes.
    pub(crate) fn free(&self, address: DeviceAddress) -> Result<(), DeviceError> {
        let driver = self.enter_beside_captures()?;
        // SAFETY: the address came from `allocate` and is given back once, by its pool.
        check("cuMemFree_v2", unsafe { (driver.calls.free)(address) })
    }

    /// Destroys everything in the context, whoever made it: the only way on after a failure that sticks. Waits for those who
    /// hold it; what this crate made in it refuses every call from here on.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    ///
    /// # Safety
    /// Nothing that was made in this context by a library or is known by its address alone is used afterwards: sessions of
    /// ONNX Runtime on this device, and copies that name its memory, must have ended.
    pub unsafe fn reset(&self) -> Result<(), DeviceError> {
        let mut epoch = self.driver.epochs.get(self.ordinal as usize).map(|epoch| epoch.write());
        // SAFETY: by the caller's promise; who uses the context through this crate holds it, and none does now.
        check("cuDevicePrimaryCtxReset_v2", unsafe { (self.driver.calls.context_reset)(self.device) })?;
        if let Some(epoch) = &mut epoch {
            **epoch += 1;
        }
        Ok(())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, released once. A failure leaves the context to the end of the process; nobody needs to know.
        let _released = unsafe { (self.driver.calls.context_release)(self.device) };
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("ordinal", &self.ordinal).finish()
    }
}
