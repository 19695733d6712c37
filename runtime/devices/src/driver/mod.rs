//! The CUDA driver, opened at run time: devices, contexts, streams, events, pinned memory, memory of other processes.
//!
//! Values here own what they name and give it back when dropped. Every failure is a result; none of them panics. What waits
//! says so. What was made in a context that was destroyed since refuses every call and gives nothing back.

mod captures;
mod context;
mod event;
mod ipc;
mod module;
mod pinned;
mod stream;
mod table;

use std::ffi::{CStr, c_int};
use std::fmt;
use std::path::PathBuf;

use crate::device::ComputeCapability;
use crate::error::DeviceError;
use crate::library::open_first;
use crate::result_code::ResultCode;
use captures::Captures;
use parking_lot::RwLock;
use table::Calls;

pub use captures::{BesideCaptures, Capture};
pub use context::{Context, ContextHold};
pub use event::{Event, RawEvent};
pub use ipc::IpcMapping;
pub use module::Module;
pub use pinned::PinnedBuffer;
pub use stream::{RawStream, Stream, StreamPriority};

/// An address in a device's memory.
pub type DeviceAddress = u64;

const DRIVER: &str = "the CUDA driver";

/// The opened and started driver.
pub struct Driver {
    calls: Calls,
    version: u32,
    devices: u32,
    /// How often the context of each device was destroyed: what was made in an earlier one is gone.
    epochs: Vec<RwLock<u64>>,
    captures: Captures,
}

/// What the driver alone knows of a device.
#[derive(Clone, Debug)]
pub(crate) struct DeviceFacts {
    pub(crate) name: String,
    pub(crate) uuid: [u8; 16],
    pub(crate) memory_bytes: u64,
    pub(crate) capability: ComputeCapability,
}

/// Turns an answer of the driver into a result.
fn check(call: &'static str, answer: c_int) -> Result<(), DeviceError> {
    match u32::try_from(answer).unwrap_or(u32::MAX) {
        0 => Ok(()),
        code => Err(DeviceError::Driver { call, code: ResultCode(code) }),
    }
}

impl Driver {
    /// Opens the first of `candidates` (names or paths of `libcuda.so.1`) that there is, and starts it.
    ///
    /// # Errors
    /// `Unavailable` when there is none, or when it does not start (no device, no kernel module); `TooOld` when it lacks a
    /// function.
    pub fn open(candidates: &[PathBuf]) -> Result<Self, DeviceError> {
        let calls = Calls::bind(open_first(DRIVER, candidates)?)?;
        let unusable = |error: DeviceError| DeviceError::Unavailable { what: DRIVER, reason: error.to_string() };
        // SAFETY: takes no memory of ours.
        check("cuInit", unsafe { (calls.init)(0) }).map_err(unusable)?;
        let (mut version, mut devices) = (0, 0);
        // SAFETY: writes one number to a local.
        check("cuDriverGetVersion", unsafe { (calls.driver_version)(&raw mut version) }).map_err(unusable)?;
        // SAFETY: as above.
        check("cuDeviceGetCount", unsafe { (calls.device_count)(&raw mut devices) }).map_err(unusable)?;
        let number = |value: c_int| u32::try_from(value).unwrap_or(0);
        let epochs = (0..number(devices)).map(|_| RwLock::new(0)).collect();
        Ok(Self { calls, version: number(version), devices: number(devices), epochs, captures: Captures::default() })
    }

    /// The rule of the process's captures of graphs.
    fn captures(&self) -> &Captures {
        &self.captures
    }

    /// The CUDA version that the driver offers, such as (13, 0).
    #[must_use]
    pub fn cuda_version(&self) -> (u32, u32) {
        (self.version / 1000, self.version % 1000 / 10)
    }

    /// Number of visible devices.
    #[must_use]
    pub fn device_count(&self) -> u32 {
        self.devices
    }

    fn handle(&self, ordinal: u32) -> Result<c_int, DeviceError> {
        let mut device = 0;
        let ordinal = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        // SAFETY: writes one number to a local.
        check("cuDeviceGet", unsafe { (self.calls.device_get)(&raw mut device, ordinal) })?;
        Ok(device)
    }

    /// What the instructions of the device at `ordinal` are.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn capability(&self, ordinal: u32) -> Result<ComputeCapability, DeviceError> {
        self.device_facts(ordinal).map(|facts| facts.capability)
    }

    pub(crate) fn device_facts(&self, ordinal: u32) -> Result<DeviceFacts, DeviceError> {
        const MAJOR: c_int = 75;
        const MINOR: c_int = 76;
        let device = self.handle(ordinal)?;
        let mut name = [0; 256];
        // SAFETY: the driver writes at most as many bytes as it is told, with a zero at the end.
        check("cuDeviceGetName", unsafe { (self.calls.device_name)(name.as_mut_ptr(), 256, device) })?;
        name[255] = 0;
        // SAFETY: the array ends with a zero.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        let (mut uuid, mut memory) = ([0; 16], 0_usize);
        // SAFETY: writes the 16 bytes of the array.
        check("cuDeviceGetUuid_v2", unsafe { (self.calls.device_uuid)(&raw mut uuid, device) })?;
        // SAFETY: writes one number to a local.
        check("cuDeviceTotalMem_v2", unsafe { (self.calls.device_memory)(&raw mut memory, device) })?;
        let attribute = |attribute| {
            let mut value = 0;
            // SAFETY: writes one number to a local.
            check("cuDeviceGetAttribute", unsafe { (self.calls.device_attribute)(&raw mut value, attribute, device) })?;
            Ok(u32::try_from(value).unwrap_or(0))
        };
        let capability = ComputeCapability { major: attribute(MAJOR)?, minor: attribute(MINOR)? };
        Ok(DeviceFacts { name, uuid, memory_bytes: memory as u64, capability })
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Driver").field("version", &self.version).field("devices", &self.devices).finish()
    }
}
