//! NVML, the library behind `nvidia-smi`, opened at run time: what metrics and admission want to know of a device.
//!
//! A value that a device does not tell (parts of GPUs tell few) is absent, never zero.

mod table;

use std::ffi::{CString, c_char, c_int, c_uint};
use std::fmt;
use std::path::PathBuf;

use crate::error::DeviceError;
use crate::library::open_first;
use table::{Calls, Handle, Memory, Utilization};

const NVML: &str = "NVML";

/// NVML, opened and started; ended when dropped.
pub struct Nvml {
    calls: Calls,
    driver_version: String,
}

/// What a device tells at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GpuReading {
    /// Part of the last moments in which a kernel was executed, from 0 to 1.
    pub utilization: Option<f64>,
    /// Memory in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory in use, by whomever.
    pub memory_used_bytes: Option<u64>,
    /// Power drawn, in watts.
    pub power_watts: Option<f64>,
    /// Power that it may draw, in watts.
    pub power_limit_watts: Option<f64>,
    /// Energy since the driver was loaded, in joules.
    pub energy_joules: Option<f64>,
}

/// A part of a GPU (MIG).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `MIG-...`, by which `CUDA_VISIBLE_DEVICES` names it.
    pub uuid: String,
    /// Name of the product and size of the part; empty when it is not told.
    pub name: String,
}

/// The text that `write` writes, given a place and its length; `None` when it answers with a failure.
fn text(write: impl FnOnce(*mut c_char, c_uint) -> c_int) -> Option<String> {
    let mut bytes = [0_u8; 96];
    if write(bytes.as_mut_ptr().cast(), 96) != 0 {
        return None;
    }
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

impl Nvml {
    /// Opens the first of `candidates` (names or paths of `libnvidia-ml.so.1`) that there is, and starts it.
    ///
    /// # Errors
    /// `Unavailable` when there is none or it does not start; `TooOld` when it lacks a function.
    pub fn open(candidates: &[PathBuf]) -> Result<Self, DeviceError> {
        let calls = Calls::bind(open_first(NVML, candidates)?)?;
        // SAFETY: takes no memory of ours.
        let answer = unsafe { (calls.init)() };
        if answer != 0 {
            // NVML's numbers are not the driver's; only the number is told.
            return Err(DeviceError::Unavailable { what: NVML, reason: format!("it does not start: code {answer}") });
        }
        let mut nvml = Self { calls, driver_version: String::new() };
        // SAFETY: NVML writes at most as many bytes as it is told.
        let version = text(|bytes, length| unsafe { (nvml.calls.driver_version)(bytes, length) });
        nvml.driver_version = version.unwrap_or_default();
        Ok(nvml)
    }

    /// The driver's version, such as `580.65.06`; empty when it is not told.
    #[must_use]
    pub fn driver_version(&self) -> &str {
        &self.driver_version
    }

    fn handle(&self, uuid: &str) -> Option<Handle> {
        let uuid = CString::new(uuid).ok()?;
        let mut handle = Handle(std::ptr::null_mut());
        // SAFETY: the text ends with a zero; writes one handle to a local.
        (unsafe { (self.calls.handle_by_uuid)(uuid.as_ptr(), &raw mut handle) } == 0).then_some(handle)
    }

    /// Whether there is a device of this UUID (`GPU-...` or `MIG-...`).
    #[must_use]
    pub fn knows(&self, uuid: &str) -> bool {
        self.handle(uuid).is_some()
    }

    /// The parts (MIG) of all GPUs of this machine, also of those that this process may not use.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut gpus = 0;
        // SAFETY: writes one number to a local.
        if unsafe { (self.calls.count)(&raw mut gpus) } != 0 {
            return Vec::new();
        }
        (0..gpus).flat_map(|gpu| self.parts_of(gpu)).collect()
    }

    fn parts_of(&self, gpu: u32) -> Vec<Part> {
        let (mut handle, mut most) = (Handle(std::ptr::null_mut()), 0);
        // SAFETY: writes one handle to a local.
        let found = unsafe { (self.calls.handle_by_index)(gpu, &raw mut handle) } == 0;
        // SAFETY: the handle is NVML's; writes one number to a local.
        if !found || unsafe { (self.calls.most_parts)(handle, &raw mut most) } != 0 {
            return Vec::new();
        }
        let part = |index| {
            let mut part = Handle(std::ptr::null_mut());
            // SAFETY: the handle is NVML's; writes one handle to a local.
            if unsafe { (self.calls.part_by_index)(handle, index, &raw mut part) } != 0 {
                return None;
            }
            // SAFETY: the handle is NVML's, which writes at most as many bytes as it is told.
            let uuid = text(|bytes, length| unsafe { (self.calls.uuid)(part, bytes, length) })?;
            // SAFETY: as above.
            let name = text(|bytes, length| unsafe { (self.calls.name)(part, bytes, length) });
            Some(Part { uuid, name: name.unwrap_or_default() })
        };
        (0..most).filter_map(part).collect()
    }

    /// Total and used memory in bytes.
    #[must_use]
    pub fn memory(&self, uuid: &str) -> Option<(u64, u64)> {
        let mut memory = Memory::default();
        let handle = self.handle(uuid)?;
        // SAFETY: the handle is NVML's; writes one structure to a local.
        let answer = unsafe { (self.calls.memory)(handle, &raw mut memory) };
        (answer == 0).then_some((memory.total, memory.used))
    }

    /// Everything that metrics tell of a device; `None` when there is no device of this UUID.
    #[must_use]
    pub fn read(&self, uuid: &str) -> Option<GpuReading> {
        let handle = self.handle(uuid)?;
        let milliwatts = |call: unsafe extern "C" fn(Handle, *mut u32) -> c_int| {
            let mut value = 0;
            // SAFETY: the handle is NVML's; writes one number to a local.
            (unsafe { call(handle, &raw mut value) } == 0).then(|| f64::from(value) / 1000.0)
        };
        let mut utilization = Utilization::default();
        // SAFETY: as above, one structure.
        let told = unsafe { (self.calls.utilization)(handle, &raw mut utilization) } == 0;
        let mut millijoules = 0_u64;
        // SAFETY: as above, one number.
        let energy = unsafe { (self.calls.energy)(handle, &raw mut millijoules) } == 0;
        let memory = self.memory(uuid);
        Some(GpuReading {
            utilization: told.then(|| f64::from(utilization.gpu) / 100.0),
            memory_total_bytes: memory.map(|(total, _)| total),
            memory_used_bytes: memory.map(|(_, used)| used),
            power_watts: milliwatts(self.calls.power),
            power_limit_watts: milliwatts(self.calls.power_limit),
            #[allow(clippy::cast_precision_loss, reason = "a counter of joules for people")]
            energy_joules: energy.then(|| millijoules as f64 / 1000.0),
        })
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: started once, ended once. Nobody needs to know of a failure.
        let _ended = unsafe { (self.calls.shutdown)() };
    }
}

impl fmt::Debug for Nvml {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Nvml").field("driver_version", &self.driver_version).finish_non_exhaustive()
    }
}
