//! NVRTC, NVIDIA's run-time compiler, opened by path: a library, no device and no toolkit.
//!
//! Bound by hand rather than through `cudarc`, because that one searches by name alone and gives up by panicking: here the
//! caller says which file, any major version will do, and absence is an error. Also used by the build script, so it
//! depends on nothing else of this crate.
#![allow(unsafe_code, reason = "calls a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::Library;

type Program = *mut c_void;

/// Why nothing was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvrtcError {
    /// No library, or one without the functions that are needed. The text names what was tried.
    Missing(String),
    /// The compiler's log.
    Refused(String),
}

impl fmt::Display for NvrtcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(tried) => write!(formatter, "no usable NVRTC library: {tried}"),
            Self::Refused(log) => write!(formatter, "{log}"),
        }
    }
}

impl std::error::Error for NvrtcError {}

/// What to compile to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Machine code for an architecture such as `sm_90`.
    Cubin(&'a str),
    /// Portable assembly for one such as `compute_90`; ends with a zero byte, as the driver wants it.
    Ptx(&'a str),
}

/// A compiled program.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Machine code or PTX.
    pub image: Vec<u8>,
    /// Warnings and, for machine code, the assembler's report of resources.
    pub log: String,
}

/// An opened library.
pub struct Nvrtc {
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    sizes: [unsafe extern "C" fn(Program, *mut usize) -> c_int; 3],
    contents: [unsafe extern "C" fn(Program, *mut c_char) -> c_int; 3],
    error_text: unsafe extern "C" fn(c_int) -> *const c_char,
    version: (u32, u32),
    path: PathBuf,
    // Last: the functions above are valid as long as these are open.
    _libraries: Vec<Library>,
}

const LOG: usize = 0;
const CUBIN: usize = 1;
const PTX: usize = 2;

impl Nvrtc {
    /// Opens the first library of `candidates` that works: files, or names for the system's loader.
    ///
    /// # Errors
    /// `Missing` with a line for each candidate.
    pub fn open(candidates: &[PathBuf]) -> Result<Self, NvrtcError> {
        let mut tried = Vec::new();
        for candidate in candidates {
            match Self::open_one(candidate) {
                Ok(library) => return Ok(library),
                Err(error) => tried.push(format!("`{}`: {error}", candidate.display())),
            }
        }
        Err(NvrtcError::Missing(if tried.is_empty() { "nowhere to look".to_owned() } else { tried.join("; ") }))
    }

    fn open_one(path: &Path) -> Result<Self, libloading::Error> {
        let mut libraries = Vec::new();
        // NVRTC opens its builtins by name alone: found when they are loaded already.
        for builtins in builtins_beside(path) {
            // SAFETY: a vendor library whose initialisers only set up its own state.
            if let Ok(library) = unsafe { Library::new(&builtins) } {
                libraries.push(library);
            }
        }
        // SAFETY: as above.
        let library = unsafe { Library::new(path) }?;
        // SAFETY: the types below are those of nvrtc.h, unchanged since CUDA 11.1, where cubins were added.
        unsafe {
            let mut version = (0, 0);
            let read_version =
                *library.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(b"nvrtcVersion")?;
            let (mut major, mut minor) = (0, 0);
            if read_version(&raw mut major, &raw mut minor) == 0 {
                version = (major.unsigned_abs(), minor.unsigned_abs());
            }
            Ok(Self {
                create: *library.get(b"nvrtcCreateProgram")?,
                compile: *library.get(b"nvrtcCompileProgram")?,
                destroy: *library.get(b"nvrtcDestroyProgram")?,
                sizes: [
                    *library.get(b"nvrtcGetProgramLogSize")?,
                    *library.get(b"nvrtcGetCUBINSize")?,
                    *library.get(b"nvrtcGetPTXSize")?,
                ],
                contents: [
                    *library.get(b"nvrtcGetProgramLog")?,
                    *library.get(b"nvrtcGetCUBIN")?,
                    *library.get(b"nvrtcGetPTX")?,
                ],
                error_text: *library.get(b"nvrtcGetErrorString")?,
                version,
                path: path.to_owned(),
                _libraries: {
                    libraries.push(library);
                    libraries
                },
            })
        }
    }

    /// Major and minor of the library, such as (13, 0).
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Where it was found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compiles CUDA C++; takes tenths of seconds to seconds. `name` is used in messages.
    ///
    /// # Errors
    /// `Refused` with the compiler's log.
    pub fn compile(&self, name: &str, source: &str, target: Target<'_>) -> Result<Compiled, NvrtcError> {
        let (Ok(source), Ok(name)) = (CString::new(source), CString::new(name)) else {
            return Err(NvrtcError::Refused("the source holds a zero byte".to_owned()));
        };
        let (architecture, content) = match target {
            Target::Cubin(architecture) => (architecture, CUBIN),
            Target::Ptx(architecture) => (architecture, PTX),
        };
        // 177: a function of the common part that this family does not call.
        let mut options = vec!["--std=c++17".to_owned(), "--diag-suppress=177".to_owned()];
        options.push(format!("--gpu-architecture={architecture}"));
        if content == CUBIN {
            options.push("--ptxas-options=-v".to_owned());
        }
        let options: Vec<CString> = options.into_iter().filter_map(|option| CString::new(option).ok()).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = ptr::null_mut();
        // SAFETY: the strings outlive the call; the program is destroyed below on every path.
        let created =
            unsafe { (self.create)(&raw mut program, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null()) };
        if created != 0 {
            return Err(NvrtcError::Refused(self.text(created)));
        }
        let count = c_int::try_from(pointers.len()).unwrap_or(0);
        // SAFETY: the program exists and the options outlive the call.
        let compiled = unsafe { (self.compile)(program, count, pointers.as_ptr()) };
        let log = String::from_utf8_lossy(&self.fetch(program, LOG)).trim_end_matches('\0').to_owned();
        let image = if compiled == 0 { self.fetch(program, content) } else { Vec::new() };
        // SAFETY: the program exists and is not used again. Nothing can be done about a failure to free it.
        unsafe { (self.destroy)(&raw mut program) };
        if compiled == 0 && !image.is_empty() {
            Ok(Compiled { image, log })
        } else {
            Err(NvrtcError::Refused(format!("{}: {log}", self.text(compiled))))
        }
    }

    /// One of a program's contents; empty when the library has none.
    fn fetch(&self, program: Program, content: usize) -> Vec<u8> {
        let mut size = 0;
        // SAFETY: the program exists, and the size is written to a local.
        if unsafe { (self.sizes[content])(program, &raw mut size) } != 0 {
            return Vec::new();
        }
        let mut bytes = vec![0_u8; size];
        // SAFETY: the library writes as many bytes as it said, into a buffer of that size.
        if unsafe { (self.contents[content])(program, bytes.as_mut_ptr().cast()) } != 0 {
            return Vec::new();
        }
        bytes
    }

    fn text(&self, code: c_int) -> String {
        // SAFETY: takes any number and gives a static string, or null.
        let text = unsafe { (self.error_text)(code) };
        if text.is_null() {
            return format!("error {code}");
        }
        // SAFETY: not null, static, ends with zero.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

impl fmt::Debug for Nvrtc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Nvrtc").field("path", &self.path).field("version", &self.version).finish()
    }
}

/// The builtins library of the same folder, if `path` names a file in one.
fn builtins_beside(path: &Path) -> Vec<PathBuf> {
    let Some(entries) = path.parent().and_then(|folder| folder.read_dir().ok()) else {
        return Vec::new();
    };
    let is_builtins =
        |name: &str| name.starts_with("libnvrtc-builtins") && name.contains(".so") && !name.contains(".alt.");
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_builtins))
        .map(|entry| entry.path())
        .collect()
}

/// Where NVRTC is looked for: in each of `folders`, then where toolkits install it, then by name with the system's loader.
///
/// Newest major version first. `folders` are, for instance, that of the program, or `nvidia/cu13/lib` and
/// `nvidia/cuda_nvrtc/lib` within a Python environment's packages.
#[must_use]
pub fn nvrtc_candidates(folders: &[PathBuf]) -> Vec<PathBuf> {
    const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
    let toolkits = ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib", "/usr/lib/x86_64-linux-gnu"];
    let all = folders.iter().cloned().chain(toolkits.map(PathBuf::from));
    let files = all.flat_map(|folder| NAMES.map(|name| folder.join(name)));
    files.filter(|file| file.exists()).chain(NAMES.map(PathBuf::from)).collect()
}
