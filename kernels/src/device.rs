//! Kernels on a real device: the driver's absence as an error, modules loaded once, launches on a CUDA stream.
//!
//! Not a device runtime: contexts, streams, memory and waiting belong to the caller. Invariant: no call here reaches the
//! driver before [`driver`] has seen that there is one.
#![allow(unsafe_code, reason = "calls the CUDA driver")]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::{self, CUfunction, CUmodule, CUstream};
use cudarc::driver::{CudaContext, DriverError, result};

use crate::Family;
use crate::compile::{Architecture, Compiler, Origin};
use crate::error::KernelError;
use crate::launch::{Launch, LaunchPlan, Symbol};

/// Sees whether the CUDA driver is there and has a device; safe to call anywhere, any number of times.
///
/// # Errors
/// `Unavailable` without a driver library or without a device.
pub fn driver() -> Result<(), KernelError> {
    let unavailable = |reason: String| KernelError::Unavailable { what: "the CUDA driver", reason };
    // SAFETY: only tries to open the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(unavailable("`libcuda.so` was not found".to_owned()));
    }
    result::init().map_err(|error| unavailable(name_of(error)))?;
    match result::device::get_count() {
        Ok(count) if count > 0 => Ok(()),
        Ok(_) => Err(unavailable("it has no device".to_owned())),
        Err(error) => Err(unavailable(name_of(error))),
    }
}

/// Opens device `ordinal`'s primary context.
///
/// # Errors
/// `Unavailable` without driver or device, `Device` when the driver refuses.
pub fn context(ordinal: usize) -> Result<Arc<CudaContext>, KernelError> {
    driver()?;
    CudaContext::new(ordinal).map_err(|error| failed("cuDevicePrimaryCtxRetain", error))
}

fn name_of(error: DriverError) -> String {
    error.error_name().map_or_else(|_| format!("error {}", error.0 as u32), |name| name.to_string_lossy().into_owned())
}

fn failed(call: &'static str, error: DriverError) -> KernelError {
    KernelError::Device { call, code: error.0 as u32, name: name_of(error) }
}

/// One family's module on one device.
struct LoadedFamily {
    module: CUmodule,
    functions: HashMap<Symbol, CUfunction>,
    origin: Origin,
}

/// All kernels on one device, each family loaded when it is first used or by [`Kernels::load`].
pub struct Kernels {
    context: Arc<CudaContext>,
    architecture: Architecture,
    compiler: Arc<Compiler>,
    families: [OnceLock<Result<LoadedFamily, KernelError>>; Family::ALL.len()],
}

// SAFETY: modules and functions are handles that the driver lets any thread use; nothing here changes after loading.
unsafe impl Send for Kernels {}
// SAFETY: as above; loading is guarded by the `OnceLock`s.
unsafe impl Sync for Kernels {}

impl Kernels {
    /// Kernels for `context`'s device. Loads nothing yet.
    ///
    /// # Errors
    /// `Device` when the driver does not tell the architecture.
    pub fn new(context: Arc<CudaContext>, compiler: Arc<Compiler>) -> Result<Self, KernelError> {
        let (major, minor) = context.compute_capability().map_err(|error| failed("cuDeviceGetAttribute", error))?;
        let architecture = Architecture { major: major.unsigned_abs(), minor: minor.unsigned_abs() };
        Ok(Self { context, architecture, compiler, families: [const { OnceLock::new() }; Family::ALL.len()] })
    }

    /// The device's architecture.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Loads `family` and says where its machine code came from; blocks for seconds when it must be compiled.
    ///
    /// Call it for every family in use before the first request: a launch would otherwise pay for it.
    ///
    /// # Errors
    /// `Unavailable`, `Compile` or `Device`; the same again on every later call.
    pub fn load(&self, family: Family) -> Result<Origin, KernelError> {
        self.family(family).map(|loaded| loaded.origin.clone())
    }

    fn family(&self, family: Family) -> Result<&LoadedFamily, KernelError> {
        self.families[family as usize].get_or_init(|| self.load_now(family)).as_ref().map_err(Clone::clone)
    }

    fn load_now(&self, family: Family) -> Result<LoadedFamily, KernelError> {
        let (image, origin) = self.compiler.cubin(family, self.architecture)?;
        self.context.bind_to_thread().map_err(|error| failed("cuCtxSetCurrent", error))?;
        // SAFETY: the image is machine code as the compiler gave it, and is copied by the call.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map_err(|error| failed("cuModuleLoadData", error))?;
        let mut functions = HashMap::new();
        for symbol in family.symbols() {
            let name = CString::new(symbol.as_str()).unwrap_or_default();
            // SAFETY: the module was loaded above and is unloaded only when `self` is dropped.
            let function = unsafe { result::module::get_function(module, name) }
                .map_err(|error| failed("cuModuleGetFunction", error))?;
            functions.insert(symbol, function);
        }
        Ok(LoadedFamily { module, functions, origin })
    }

    /// The queue that launches on `stream`.
    ///
    /// # Safety
    /// `stream` is a stream of this context (null for its default stream) and outlives the queue.
    #[must_use]
    pub unsafe fn on(&self, stream: CUstream) -> StreamQueue<'_> {
        StreamQueue { kernels: self, stream }
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        // A context that is gone took its modules along: nothing is left to do, and nobody to tell.
        if self.context.bind_to_thread().is_err() {
            return;
        }
        for loaded in self.families.iter().filter_map(OnceLock::get).flatten() {
            // SAFETY: loaded here, unloaded once; queues borrow `self`, so none can launch any more.
            // A context in error refuses even this, and takes its modules along when it goes: nobody needs to know.
            unsafe { result::module::unload(loaded.module) }.unwrap_or_default();
        }
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loaded = Family::ALL.iter().zip(&self.families).filter(|(_, loaded)| loaded.get().is_some());
        let names: Vec<&str> = loaded.map(|(family, _)| family.name()).collect();
        formatter.debug_struct("Kernels").field("architecture", &self.architecture).field("loaded", &names).finish()
    }
}

/// A CUDA stream with the kernels of its device: launches go there, in order, and nothing waits.
#[derive(Clone, Copy, Debug)]
pub struct StreamQueue<'a> {
    kernels: &'a Kernels,
    stream: CUstream,
}

impl Launch for StreamQueue<'_> {
    unsafe fn launch(&self, plan: &LaunchPlan, arguments: &mut [*mut c_void]) -> Result<(), KernelError> {
        let loaded = self.kernels.family(plan.family)?;
        let Some(&function) = loaded.functions.get(&plan.symbol) else {
            return Err(crate::error::invalid("kernel", "one of its family's", plan.symbol.as_str()));
        };
        self.kernels.context.bind_to_thread().map_err(|error| failed("cuCtxSetCurrent", error))?;
        let [x, y, z] = plan.grid;
        let [width, height, depth] = plan.block;
        // SAFETY: the function is loaded; arguments and memory are the caller's promise, the stream that of `on`.
        unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (width, height, depth),
                plan.shared_bytes,
                self.stream,
                arguments,
            )
        }
        .map_err(|error| failed("cuLaunchKernel", error))
    }
}
