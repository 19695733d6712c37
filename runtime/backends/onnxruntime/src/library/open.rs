//! Opens the shared library, once per process, and sets up its environment.
//!
//! ONNX Runtime allows one environment per process, ever, so it lives until the process ends. Its own log goes to
//! `tracing` under the target `onnxruntime`; without a logger it would print to the standard error output.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hanok_backend::{ErrorCode, ServingError};
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::sys;

use crate::device::DeviceRuntime;
use crate::failure::check;

/// The variable of the environment, and its value, that keep builds since 1.29 from starting their telemetry
/// uploader. The binary sets it first thing in `main`, before any thread starts; [`open`] refuses to go on without.
pub const TELEMETRY_SWITCH: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// Oldest version that works: the interface version that this crate is compiled for.
const OLDEST_VERSION: &str = "1.20";

/// The library that the process has opened.
static OPENED: Mutex<Option<&'static Library>> = Mutex::new(None);

/// The opened library.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
    pub(crate) environment: Environment,
    /// GPUs that may be used; set once, by the composition root.
    pub(crate) devices: OnceLock<Vec<Arc<DeviceRuntime>>>,
    memory_info: NonNull<sys::OrtMemoryInfo>,
    allocator: NonNull<sys::OrtAllocator>,
}

// SAFETY: the memory description is immutable and the default allocator of the processors is thread-safe; both live
// as long as the process.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// Description of ordinary memory.
    pub(crate) fn memory_info(&self) -> *const sys::OrtMemoryInfo {
        self.memory_info.as_ptr()
    }

    /// The default allocator of the processors.
    pub(crate) fn allocator(&self) -> *mut sys::OrtAllocator {
        self.allocator.as_ptr()
    }
}

/// Opens the library at `path`, or gives the one that is open already.
pub(crate) fn open(path: &Path) -> Result<&'static Library, ServingError> {
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = *opened {
        if library.path == path {
            return Ok(library);
        }
        return Err(unavailable("another ONNX Runtime is open in this process").with_operator_detail(format!(
            "open: {}, asked for: {}",
            library.path.display(),
            path.display()
        )));
    }
    // Reading it here checks the state of the process as the library will see it; it is not a setting of ours.
    if std::env::var(TELEMETRY_SWITCH.0).as_deref() != Ok(TELEMETRY_SWITCH.1) {
        return Err(ServingError::internal(format!(
            "`{}={}` must be set before ONNX Runtime is opened",
            TELEMETRY_SWITCH.0, TELEMETRY_SWITCH.1
        )));
    }
    let library = initialise(path)?;
    tracing::info!(version = library.version, path = %path.display(), "ONNX Runtime opened");
    *opened = Some(library);
    Ok(library)
}

fn initialise(path: &Path) -> Result<&'static Library, ServingError> {
    let builder = ort::init_from(path).map_err(|error| load_error(&error))?;
    let environment =
        builder.with_name("hanok").with_telemetry(false).with_logger(Arc::new(log)).build().map_err(|error| {
            unavailable("ONNX Runtime could not be started").with_operator_detail(error.to_string())
        })?;
    environment.set_log_level(wanted_log_level());

    let mut memory_info = std::ptr::null_mut();
    let mut allocator = std::ptr::null_mut();
    let api = ort::api();
    // SAFETY: both calls write one pointer to the place they are given.
    let status = unsafe {
        (api.CreateCpuMemoryInfo)(
            sys::OrtAllocatorType::OrtDeviceAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &raw mut memory_info,
        )
    };
    let failed = |failure: crate::failure::Failure| {
        unavailable("ONNX Runtime could not be started").with_operator_detail(failure.message)
    };
    check(status).map_err(failed)?;
    // SAFETY: as above.
    check(unsafe { (api.GetAllocatorWithDefaultOptions)(&raw mut allocator) }).map_err(failed)?;
    let (Some(memory_info), Some(allocator)) = (NonNull::new(memory_info), NonNull::new(allocator)) else {
        return Err(unavailable("ONNX Runtime could not be started"));
    };
    let version = version(path).unwrap_or_else(|| "unknown".to_owned());
    Ok(Box::leak(Box::new(Library {
        path: path.to_owned(),
        version,
        environment,
        devices: OnceLock::new(),
        memory_info,
        allocator,
    })))
}

fn unavailable(message: &'static str) -> ServingError {
    ServingError::new(ErrorCode::Unavailable, message)
}

fn load_error(error: &LoadDynamicError) -> ServingError {
    match error {
        LoadDynamicError::BadVersion { version_str, path } => ServingError::unavailable(format!(
            "ONNX Runtime must be version {OLDEST_VERSION} or newer, found `{version_str}`: install a newer one, such \
             as `pip install onnxruntime`, or name another with ORT_DYLIB_PATH"
        ))
        .with_operator_detail(path.display().to_string()),
        LoadDynamicError::MissingApi { path } => unavailable("the file given as ONNX Runtime is another library")
            .with_operator_detail(path.display().to_string()),
        LoadDynamicError::Dlopen { error, path } => {
            let detail = format!(
                "{}: {error}{}",
                path.display(),
                std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default()
            );
            unavailable("ONNX Runtime could not be loaded").with_operator_detail(detail)
        }
        LoadDynamicError::InvalidVersionString => unavailable("the ONNX Runtime library tells no version"),
    }
}

/// The version text of the library at `path`, which is loaded already.
fn version(path: &Path) -> Option<String> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: `path` is a C string; with RTLD_NOLOAD only a library that is loaded already gives a handle.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
    if handle.is_null() {
        return None;
    }
    // SAFETY: `handle` is open and the name is a C string.
    let symbol = unsafe { libc::dlsym(handle, c"OrtGetApiBase".as_ptr()) };
    let text = NonNull::new(symbol).map(|symbol| {
        // SAFETY: the symbol of this name is the C function of this type in every version of ONNX Runtime.
        let get: unsafe extern "system" fn() -> *const sys::OrtApiBase =
            unsafe { std::mem::transmute(symbol.as_ptr()) };
        // SAFETY: the function gives a static table whose version function gives a static C string.
        let text = unsafe { CStr::from_ptr(((*get()).GetVersionString)()) };
        text.to_string_lossy().into_owned()
    });
    // SAFETY: `handle` came from `dlopen` and is given back once; `ort` holds its own.
    unsafe { libc::dlclose(handle) };
    text
}

/// ONNX Runtime formats what it logs even when nobody reads it, so it is asked for no more than is wanted at start.
fn wanted_log_level() -> LogLevel {
    if tracing::enabled!(target: "onnxruntime", tracing::Level::TRACE) {
        LogLevel::Verbose
    } else if tracing::enabled!(target: "onnxruntime", tracing::Level::DEBUG) {
        LogLevel::Info
    } else {
        LogLevel::Warning
    }
}

fn log(level: LogLevel, category: &str, session: &str, location: &str, message: &str) {
    match level {
        LogLevel::Verbose => tracing::trace!(target: "onnxruntime", category, session, location, "{message}"),
        LogLevel::Info => tracing::debug!(target: "onnxruntime", category, session, location, "{message}"),
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", category, session, location, "{message}"),
        LogLevel::Error | LogLevel::Fatal => {
            tracing::error!(target: "onnxruntime", category, session, location, "{message}");
        }
    }
}
