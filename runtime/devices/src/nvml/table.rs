//! NVML's functions that are used, with the types that `nvml.h` gives them.

use std::ffi::{c_char, c_uint, c_void};

use crate::library::function_table;

/// A device, in NVML's form.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Handle(pub(super) *mut c_void);

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) used: u64,
}

/// `nvmlUtilization_t`, in percent.
#[repr(C)]
#[derive(Default)]
pub(super) struct Utilization {
    pub(super) gpu: c_uint,
    pub(super) memory: c_uint,
}

function_table! {
    /// Functions of NVML.
    Calls of "NVML" {
        init: "nvmlInit_v2" ();
        shutdown: "nvmlShutdown" ();
        driver_version: "nvmlSystemGetDriverVersion" (*mut c_char, c_uint);
        handle_by_uuid: "nvmlDeviceGetHandleByUUID" (*const c_char, *mut Handle);
        count: "nvmlDeviceGetCount_v2" (*mut c_uint);
        handle_by_index: "nvmlDeviceGetHandleByIndex_v2" (c_uint, *mut Handle);
        most_parts: "nvmlDeviceGetMaxMigDeviceCount" (Handle, *mut c_uint);
        part_by_index: "nvmlDeviceGetMigDeviceHandleByIndex" (Handle, c_uint, *mut Handle);
        uuid: "nvmlDeviceGetUUID" (Handle, *mut c_char, c_uint);
        name: "nvmlDeviceGetName" (Handle, *mut c_char, c_uint);
        memory: "nvmlDeviceGetMemoryInfo" (Handle, *mut Memory);
        utilization: "nvmlDeviceGetUtilizationRates" (Handle, *mut Utilization);
        power: "nvmlDeviceGetPowerUsage" (Handle, *mut c_uint);
        power_limit: "nvmlDeviceGetEnforcedPowerLimit" (Handle, *mut c_uint);
        energy: "nvmlDeviceGetTotalEnergyConsumption" (Handle, *mut u64);
    }
}
