//! Device memory of another process on this machine, opened by the handle that it gave (CUDA IPC).

use std::fmt;
use std::sync::Arc;

use super::table::IpcHandle;
use super::{Context, DeviceAddress, check};
use crate::error::DeviceError;

/// Memory of another process; closed when dropped.
pub struct IpcMapping {
    context: Arc<Context>,
    address: DeviceAddress,
    length: u64,
}

impl IpcMapping {
    /// Bytes of a handle.
    pub const HANDLE_BYTES: usize = 64;

    /// Opens the memory that `handle` names.
    ///
    /// The driver checks the handle; the memory's owner may write to it at any time, so what is read from it is never
    /// trusted to stay as it was.
    ///
    /// # Errors
    /// `Driver` with the driver's answer, such as for a handle of this very process, of another device, or of memory that
    /// is gone.
    pub fn open(context: &Arc<Context>, handle: [u8; Self::HANDLE_BYTES]) -> Result<Self, DeviceError> {
        const LAZY_PEER_ACCESS: u32 = 1;
        let driver = context.enter_beside_captures()?;
        let mut address = 0;
        // SAFETY: the handle is passed by value; writes one number to a local.
        check("cuIpcOpenMemHandle_v2", unsafe {
            (driver.calls.ipc_open)(&raw mut address, IpcHandle(handle), LAZY_PEER_ACCESS)
        })?;
        let mut mapping = Self { context: Arc::clone(context), address, length: 0 };
        let (mut base, mut length) = (0, 0_usize);
        // SAFETY: the address was opened above; writes two numbers to locals.
        check("cuMemGetAddressRange_v2", unsafe {
            (driver.calls.address_range)(&raw mut base, &raw mut length, mapping.address)
        })?;
        mapping.length = (base + length as u64).saturating_sub(mapping.address);
        Ok(mapping)
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> DeviceAddress {
        self.address
    }

    /// Bytes from there to the end of the other process's allocation.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The context that it was opened in.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Drop for IpcMapping {
    fn drop(&mut self) {
        if let Ok(driver) = self.context.enter_beside_captures() {
            // SAFETY: opened here, closed once; whoever copies from it holds `self`.
            let _closed = unsafe { (driver.calls.ipc_close)(self.address) };
        }
    }
}

impl fmt::Debug for IpcMapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IpcMapping").field("length", &self.length).finish_non_exhaustive()
    }
}
