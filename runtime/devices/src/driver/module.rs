//! Machine code in a context, and the launch of one of its functions.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::Arc;

use super::table::Handle;
use super::{Context, Stream, check};
use crate::error::DeviceError;

/// Loaded machine code; unloaded when dropped.
pub struct Module {
    context: Arc<Context>,
    handle: Handle,
    functions: BTreeMap<String, Handle>,
}

// SAFETY: the driver lets any thread use a module whose context it made current.
unsafe impl Send for Module {}
// SAFETY: as above; the handles are never changed.
unsafe impl Sync for Module {}

impl Module {
    /// Loads `image`, machine code for this device, and finds its functions called `names`.
    ///
    /// # Errors
    /// `Driver` with the driver's answer, such as for code of another architecture.
    ///
    /// # Safety
    /// `image` is a whole program as a compiler gave it: the driver does not bound what it reads of it.
    pub unsafe fn load(context: &Arc<Context>, image: &[u8], names: &[String]) -> Result<Self, DeviceError> {
        let driver = context.enter_beside_captures()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: by the caller's promise; writes one handle to a local. The driver copies the image.
        check("cuModuleLoadData", unsafe { (driver.calls.module_load)(&raw mut handle, image.as_ptr().cast()) })?;
        let mut module = Self { context: Arc::clone(context), handle, functions: BTreeMap::new() };
        for name in names {
            let (text, mut function) = (CString::new(name.as_str()).unwrap_or_default(), std::ptr::null_mut());
            // SAFETY: the module is loaded and the text is a C string; writes one handle to a local.
            check("cuModuleGetFunction", unsafe {
                (driver.calls.module_function)(&raw mut function, handle, text.as_ptr())
            })?;
            module.functions.insert(name.clone(), function);
        }
        drop(driver);
        Ok(module)
    }

    /// Puts the function called `name` on `stream`, in a grid of `grid` blocks of `block` threads. Nothing waits.
    ///
    /// # Errors
    /// `Driver` with the driver's answer; `CUDA_ERROR_NOT_FOUND` for a function that was not asked for when loading.
    ///
    /// # Safety
    /// `arguments` point to the function's parameters, in order and of their types, and the memory that these name is used
    /// by nothing else in a way that the function does not allow, until the stream has come here.
    pub unsafe fn launch(
        &self,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        stream: &Stream,
        arguments: &mut [*mut c_void],
    ) -> Result<(), DeviceError> {
        let driver = self.context.enter()?;
        let unknown = DeviceError::Driver { call: "cuLaunchKernel", code: crate::ResultCode::NOT_FOUND };
        let function = *self.functions.get(name).ok_or(unknown)?;
        let ([x, y, z], [width, height, depth]) = (grid, block);
        // SAFETY: by the caller's promise; the module is loaded in this context. The driver copies the parameters.
        check("cuLaunchKernel", unsafe {
            (driver.calls.launch)(
                function,
                x,
                y,
                z,
                width,
                height,
                depth,
                shared_bytes,
                stream.raw(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Ok(driver) = self.context.enter_beside_captures() {
            // SAFETY: loaded here, unloaded once. A context in error refuses, and takes its modules along when it goes.
            let _unloaded = unsafe { (driver.calls.module_unload)(self.handle) };
        }
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Module").field("functions", &self.functions.keys()).finish_non_exhaustive()
    }
}
