//! Copies within a device: one launch of our own kernel for many pieces, or one copy of the driver for each.
//!
//! The kernel is compiled when the first instance on the device is made. Where it cannot be had (no NVRTC), that is said once
//! and pieces are copied one by one: slower where there are many, and otherwise the same.

#![allow(unsafe_code, reason = "device memory is named by address")]

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;

use hanok_devices::{ComputeCapability, Context, DeviceError, Module, ResultCode, Stream};
use hanok_kernels::{
    Architecture, Compiler, CubinCache, Family, KernelError, Launch, LaunchPlan, SegmentCopies, nvrtc_candidates,
};

/// Copies pieces on a stream of one context.
#[derive(Debug, Default)]
pub(crate) struct SegmentCopier {
    module: Option<Module>,
}

/// One copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) bytes: usize,
}

/// The kernel on a stream.
struct OnStream<'a> {
    module: &'a Module,
    stream: &'a Stream,
}

impl Launch for OnStream<'_> {
    unsafe fn launch(&self, plan: &LaunchPlan, arguments: &mut [*mut c_void]) -> Result<(), KernelError> {
        let LaunchPlan { symbol, grid, block, shared_bytes, .. } = plan;
        // SAFETY: by the caller's promise, which is the same.
        unsafe { self.module.launch(symbol.as_str(), *grid, *block, *shared_bytes, self.stream, arguments) }.map_err(
            |error| match error {
                DeviceError::Driver { call, code } => {
                    KernelError::Device { call, code: code.0, name: code.name().unwrap_or_default().to_owned() }
                }
                other => KernelError::Unavailable { what: "the device", reason: other.to_string() },
            },
        )
    }
}

impl SegmentCopier {
    /// A copier with the kernel where it can be had; compiling it takes half a second, once where there is a cache.
    pub(crate) fn new(
        context: &Arc<Context>,
        capability: ComputeCapability,
        library: &Path,
        settings: &BTreeMap<String, String>,
    ) -> Self {
        // The CUDA libraries of Python's packages lie beside those of ONNX Runtime, and a compiler of the project's own beside
        // its library.
        let folders: Vec<_> = library
            .ancestors()
            .skip(1)
            .take(4)
            .flat_map(|folder| ["nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib", "nvrtc"].map(|inner| folder.join(inner)))
            .collect();
        let cache = settings.get("cache-directory").map(|folder| CubinCache::new(&Path::new(folder).join("kernels")));
        let compiler = Compiler::new(nvrtc_candidates(&folders), cache);
        let architecture = Architecture { major: capability.major, minor: capability.minor };
        let loaded = compiler.cubin(Family::Segments, architecture).map_err(|error| error.to_string()).and_then(
            |(image, origin)| {
                tracing::debug!(gpu = context.ordinal(), ?origin, "the kernel that gathers and scatters");
                // SAFETY: the image is the compiler's.
                unsafe { Self::of_image(context, &image) }.map_err(|error| error.to_string())
            },
        );
        loaded.unwrap_or_else(|error| {
            tracing::warn!(gpu = context.ordinal(), %error, "tensors in regions are copied one by one");
            Self::default()
        })
    }

    /// A copier with the kernel in `image`.
    ///
    /// # Safety
    /// `image` is machine code of the family as a compiler gave it.
    pub(crate) unsafe fn of_image(context: &Arc<Context>, image: &[u8]) -> Result<Self, DeviceError> {
        let names: Vec<String> = Family::Segments.symbols().iter().map(|symbol| symbol.as_str().to_owned()).collect();
        // SAFETY: by the caller's promise.
        let module = unsafe { Module::load(context, image, &names) }?;
        Ok(Self { module: Some(module) })
    }

    /// Puts every copy of `pieces` on `stream`; `list` is scratch space.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    ///
    /// # Safety
    /// Every piece names memory of the stream's device that stays until the stream has come here, what it is copied to is
    /// used by nothing else until then, and no piece is copied to where another is copied from.
    pub(crate) unsafe fn copy(
        &self,
        stream: &Stream,
        list: &mut SegmentCopies,
        pieces: &[Piece],
    ) -> Result<(), DeviceError> {
        if let (Some(module), true) = (&self.module, pieces.len() > 1) {
            list.clear();
            let pushed = pieces.iter().try_for_each(|piece| list.push(piece.from, piece.to, piece.bytes as u64));
            // SAFETY: by the caller's promise; the driver copies the list.
            let launched = pushed.and_then(|()| unsafe { list.launch(&OnStream { module, stream }) });
            return launched.map_err(|error| match error {
                KernelError::Device { call, code, .. } => DeviceError::Driver { call, code: ResultCode(code) },
                other => DeviceError::Unavailable { what: "the kernel that gathers", reason: other.to_string() },
            });
        }
        for piece in pieces.iter().filter(|piece| piece.bytes > 0) {
            // SAFETY: by the caller's promise.
            unsafe { stream.copy_across(piece.to, piece.from, piece.bytes)? };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_devices::{DevicePool, StreamPriority};

    use super::super::tests::{StagedOnHost, workspace};
    use super::*;

    /// Copies three pieces with `copier` and looks at them: in the stand-in, device memory is this process's.
    fn copies(copier: &SegmentCopier, context: &Arc<Context>) {
        let pool = DevicePool::new(context, 1 << 20);
        let (from, to) = (pool.allocate(300).unwrap(), pool.allocate(300).unwrap());
        let stream = Stream::new(context, StreamPriority::Default).unwrap();
        let bytes: Vec<u8> = (0..300).map(|index: u32| u8::try_from(index % 251).unwrap()).collect();
        let mut back = vec![0; 300];
        let piece = |begin: u64, end: u64, target: u64| Piece {
            from: from.address() + begin,
            to: to.address() + target,
            bytes: usize::try_from(end - begin).unwrap(),
        };
        // SAFETY: the pieces are within the two buffers and do not overlap; the stand-in copies at once.
        unsafe {
            stream.copy_in(from.address(), &bytes).unwrap();
            let pieces = [piece(0, 100, 200), piece(100, 100, 0), piece(100, 200, 100), piece(200, 300, 0)];
            copier.copy(&stream, &mut SegmentCopies::new(), &pieces).unwrap();
            stream.copy_out(&mut back, to.address()).unwrap();
        }
        assert_eq!(back, [&bytes[200..], &bytes[100..200], &bytes[..100]].concat());
    }

    #[test]
    fn the_kernel_is_compiled_once_where_there_is_a_compiler_and_missed_by_nobody_elsewhere() {
        let Some((backend, _alone)) = StagedOnHost::open(false, &hanok_devices::PoolSizes::default()) else { return };
        let context = Arc::clone(&backend.device.generation().unwrap().context);
        let capability = backend.device.capability().unwrap();
        let without = SegmentCopier::new(&context, capability, Path::new("/nowhere/lib.so"), &BTreeMap::new());
        copies(&without, &context);
        if !workspace().join(".hanok/nvrtc").exists() {
            eprintln!("skipped: kernels/scripts/install_nvrtc was not run");
            return;
        }
        let cache = std::env::temp_dir().join(format!("hanok_copier_{}", std::process::id()));
        let settings = BTreeMap::from([("cache-directory".to_owned(), cache.display().to_string())]);
        let library = workspace().join(".hanok/lib/libonnxruntime.so");
        for _ in 0..2 {
            let with = SegmentCopier::new(&context, capability, &library, &settings);
            assert!(with.module.is_some());
            copies(&with, &context);
            assert_eq!(std::fs::read_dir(cache.join("kernels")).unwrap().count(), 1, "one program, kept");
        }
        std::fs::remove_dir_all(cache).unwrap();
    }
}
