//! A queue that runs the CUDA sources on the processor: the launchers' own plans and arguments, the kernels' own text.
//!
//! Compiles `cuda_on_host.hpp` with each family's source by the system's C++ compiler, once a test process. Tests run
//! every case with the threads in both orders. Alignment, shifts and overflows are checked by the compiler's
//! undefined-behaviour traps, writes outside an operand by canaries.
#![allow(unsafe_code, reason = "launches take addresses")]

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::{env, fs, process};

use hanok_kernels::{Family, KernelError, Launch, LaunchPlan};
use libloading::Library;

type HostLaunch =
    unsafe extern "C" fn(*const c_char, *const c_uint, *const c_uint, c_uint, *mut *mut c_void, c_int) -> c_int;

struct Emulator {
    launches: HashMap<Family, HostLaunch>,
    _libraries: Vec<Library>,
}

/// One launch at a time: the emulated device has global state.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Why there is no emulator.
enum Missing {
    Compiler(String),
    Refused(String),
}

static EMULATOR: OnceLock<Result<Emulator, Missing>> = OnceLock::new();

/// Threads first to last, or last to first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadOrder {
    Forward,
    Backward,
}

pub(crate) struct HostQueue {
    order: ThreadOrder,
    _guard: MutexGuard<'static, ()>,
}

impl HostQueue {
    /// The queue, or `None` (said once a test) where there is no C++ compiler.
    pub(crate) fn open(order: ThreadOrder) -> Option<Self> {
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match EMULATOR.get_or_init(build) {
            Ok(_) => Some(Self { order, _guard: guard }),
            Err(Missing::Compiler(reason)) => {
                eprintln!("SKIPPED: {reason}");
                None
            }
            // A compiler that is there and refuses is a failure, not a reason to skip.
            Err(Missing::Refused(log)) => panic!("{log}"),
        }
    }
}

impl Launch for HostQueue {
    unsafe fn launch(&self, plan: &LaunchPlan, arguments: &mut [*mut c_void]) -> Result<(), KernelError> {
        let emulator = EMULATOR.get().and_then(|built| built.as_ref().ok()).expect("opened before");
        let name = CString::new(plan.symbol.as_str()).unwrap();
        let launch = emulator.launches[&plan.family];
        let backward = c_int::from(self.order == ThreadOrder::Backward);
        // SAFETY: the arguments are those of the kernel: the launcher under test says so.
        let outcome = unsafe {
            launch(
                name.as_ptr(),
                plan.grid.as_ptr(),
                plan.block.as_ptr(),
                plan.shared_bytes,
                arguments.as_mut_ptr(),
                backward,
            )
        };
        match outcome {
            0 => Ok(()),
            1 => panic!("`{:?}` is no kernel of `{}`", plan.symbol, plan.family.name()),
            2 => panic!("`{:?}`: threads wait for one another for ever", plan.symbol),
            _ => panic!("`{:?}`: a warp operation misses a lane that has ended", plan.symbol),
        }
    }
}

fn build() -> Result<Emulator, Missing> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cuda-on-host-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let children: Vec<_> = Family::ALL.iter().map(|&family| (family, start_compiler(family, &folder))).collect();
    let mut emulator = Emulator { launches: HashMap::new(), _libraries: Vec::new() };
    for (family, child) in children {
        let child = child.map_err(|error| Missing::Compiler(format!("no C++ compiler (`c++`): {error}")))?;
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr);
            return Err(Missing::Refused(format!("{}: {log}", family.name())));
        }
        // SAFETY: made a moment ago; its initialisers do nothing.
        let library = unsafe { Library::new(folder.join(format!("{}.so", family.name()))) }.unwrap();
        // SAFETY: the type is that of the definition in `start_compiler`.
        let launch = unsafe { *library.get::<HostLaunch>(b"host_launch").unwrap() };
        emulator.launches.insert(family, launch);
        emulator._libraries.push(library);
    }
    // Open libraries stay readable without their files.
    drop(fs::remove_dir_all(&folder));
    Ok(emulator)
}

fn start_compiler(family: Family, folder: &std::path::Path) -> std::io::Result<process::Child> {
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/on_host/emulator/cuda_on_host.hpp");
    let mut text = format!("#include \"{header}\"\n{}\nstatic const host::Entry entries[] = {{\n", family.source());
    for symbol in family.symbols() {
        writeln!(text, "  HOST_ENTRY({})", symbol.as_str()).unwrap();
    }
    text.push_str(
        "};\nextern \"C\" int host_launch(const char* name, const unsigned* grid, const unsigned* block, unsigned shared,\n\
         void** arguments, int backward) {\n  for (const host::Entry& entry : entries)\n    if (strcmp(entry.name, name) \
         == 0) return host::launch(entry, grid, block, shared, arguments, backward != 0);\n  return \
         host::UNKNOWN_KERNEL;\n}\n",
    );
    let source = folder.join(format!("{}.cpp", family.name()));
    fs::write(&source, text)?;
    Command::new("c++")
        .args(["-std=c++17", "-O1", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off"])
        .args(["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-fno-sanitize=vptr"])
        .args(["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-clobbered", "-Werror", "-o"])
        .arg(folder.join(format!("{}.so", family.name())))
        .arg(&source)
        .stderr(process::Stdio::piped())
        .spawn()
}

/// Host memory that stands for device memory: aligned as the device's allocator does, `offset` bytes into it, and with
/// canaries on both sides.
pub(crate) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

const CANARY: u8 = 0xc5;
const MARGIN: usize = 512;

impl Buffer {
    pub(crate) fn new(bytes: &[u8], offset: usize) -> Self {
        let mut memory = vec![CANARY; bytes.len() + 2 * MARGIN + 256 + offset];
        let start = memory.as_ptr().align_offset(256) + MARGIN + offset;
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        Self { memory, start, length: bytes.len() }
    }

    /// An output that nothing was written to yet.
    pub(crate) fn poisoned(length: usize, offset: usize) -> Self {
        Self::new(&vec![0xa5; length], offset)
    }

    pub(crate) fn of<T: Plain>(values: &[T]) -> Self {
        Self::new(&T::bytes(values), 0)
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory[self.start..].as_ptr() as u64
    }

    /// The contents, after a look at the canaries.
    pub(crate) fn bytes(&self) -> &[u8] {
        let end = self.start + self.length;
        let margins = self.memory[..self.start].iter().chain(&self.memory[end..]);
        assert!(margins.clone().all(|&byte| byte == CANARY), "a kernel wrote outside its operand");
        // The kernel writes behind the compiler's back.
        std::hint::black_box(&self.memory[self.start..end])
    }

    pub(crate) fn values<T: Plain>(&self) -> Vec<T> {
        T::values(self.bytes())
    }
}

/// Numbers as their bytes.
pub(crate) trait Plain: Copy {
    fn bytes(values: &[Self]) -> Vec<u8>;
    fn values(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! plain {
    ($($kind:ty),*) => {$(
        impl Plain for $kind {
            fn bytes(values: &[Self]) -> Vec<u8> {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
            fn values(bytes: &[u8]) -> Vec<Self> {
                bytes.chunks_exact(size_of::<Self>()).map(|part| Self::from_le_bytes(part.try_into().unwrap())).collect()
            }
        }
    )*};
}
plain!(i32, i64, u32, u64, f32, f64);
