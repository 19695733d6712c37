//! The driver's functions that are used, with the types that `cuda.h` gives them.
//!
//! Results are numbers here, not an enumeration: a newer driver has codes that no list of ours knows.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::library::function_table;

/// A handle that the driver gave: context, stream or event.
pub(super) type Handle = *mut c_void;

/// The name of another process's memory, passed by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct IpcHandle(pub(super) [u8; 64]);

function_table! {
    /// Functions of the CUDA driver.
    Calls of "the CUDA driver" {
        init: "cuInit" (c_uint);
        driver_version: "cuDriverGetVersion" (*mut c_int);
        device_count: "cuDeviceGetCount" (*mut c_int);
        device_get: "cuDeviceGet" (*mut c_int, c_int);
        device_name: "cuDeviceGetName" (*mut c_char, c_int, c_int);
        device_uuid: "cuDeviceGetUuid_v2" (*mut [u8; 16], c_int);
        device_memory: "cuDeviceTotalMem_v2" (*mut usize, c_int);
        device_attribute: "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
        context_retain: "cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
        context_release: "cuDevicePrimaryCtxRelease_v2" (c_int);
        context_reset: "cuDevicePrimaryCtxReset_v2" (c_int);
        context_set: "cuCtxSetCurrent" (Handle);
        memory_info: "cuMemGetInfo_v2" (*mut usize, *mut usize);
        priorities: "cuCtxGetStreamPriorityRange" (*mut c_int, *mut c_int);
        stream_create: "cuStreamCreateWithPriority" (*mut Handle, c_uint, c_int);
        stream_wait: "cuStreamWaitEvent" (Handle, Handle, c_uint);
        stream_synchronize: "cuStreamSynchronize" (Handle);
        stream_destroy: "cuStreamDestroy_v2" (Handle);
        allocate: "cuMemAlloc_v2" (*mut u64, usize);
        free: "cuMemFree_v2" (u64);
        host_allocate: "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
        host_free: "cuMemFreeHost" (*mut c_void);
        copy_in: "cuMemcpyHtoDAsync_v2" (u64, *const c_void, usize, Handle);
        copy_out: "cuMemcpyDtoHAsync_v2" (*mut c_void, u64, usize, Handle);
        copy_across: "cuMemcpyDtoDAsync_v2" (u64, u64, usize, Handle);
        module_load: "cuModuleLoadData" (*mut Handle, *const c_void);
        module_function: "cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
        module_unload: "cuModuleUnload" (Handle);
        launch: "cuLaunchKernel" (
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
        );
        event_create: "cuEventCreate" (*mut Handle, c_uint);
        event_record: "cuEventRecord" (Handle, Handle);
        event_elapsed: "cuEventElapsedTime" (*mut f32, Handle, Handle);
        event_query: "cuEventQuery" (Handle);
        event_synchronize: "cuEventSynchronize" (Handle);
        event_destroy: "cuEventDestroy_v2" (Handle);
        ipc_open: "cuIpcOpenMemHandle_v2" (*mut u64, IpcHandle, c_uint);
        ipc_close: "cuIpcCloseMemHandle" (u64);
        address_range: "cuMemGetAddressRange_v2" (*mut u64, *mut usize, u64);
    }
}
