//! CUDA kernels for batching, pre- and post-processing and drift sketches, with a CPU reference for each.
//!
//! **Experimental: no GPU has confirmed these kernels yet.** What is proved without one: every kernel compiles to PTX and to
//! machine code without spills; the very same sources, run thread by thread on the processor through the launchers below,
//! agree with the references; the references agree with NumPy and SciPy. `examples/kernel_check` is the check on a GPU.
//!
//! Knows device addresses, dimensions and a queue; no model, request or protocol. Every operation is a plain value of its
//! dimensions with three faces: `plan` (the launch, a pure function), `launch` (asynchronous; no device memory is
//! allocated, nothing waits) and `reference` (the meaning, on host memory). Invariant: without a CUDA driver everything
//! builds and runs but `launch` on a device, and that is a typed [`KernelError::Unavailable`], never a panic.
//!
//! ```no_run
//! # fn main() -> Result<(), hanok_kernels::KernelError> {
//! use std::sync::Arc;
//! use hanok_kernels::{Compiler, CubinCache, ElementType, Kernels, Softmax, context, nvrtc_candidates};
//!
//! let cache = CubinCache::new("cache/kernels".as_ref());
//! let compiler = Arc::new(Compiler::new(nvrtc_candidates(&[]), Some(cache)));
//! let kernels = Kernels::new(context(0)?, compiler)?;
//! let softmax = Softmax { element: ElementType::F16, rows: 64, columns: 1000 };
//! # let (input, output, stream) = (0, 0, std::ptr::null_mut());
//! // SAFETY: the caller owns both buffers of 64 x 1000 halves, and the stream.
//! unsafe { softmax.launch(&kernels.on(stream), input, output)? };
//! # Ok(())
//! # }
//! ```
#![allow(unsafe_code, reason = "launchers pass device addresses on")]

mod compile;
mod device;
mod element;
mod error;
mod family;
mod launch;
mod operations;
mod reference;

pub use compile::{
    Architecture, CacheKey, Compiled, Compiler, CubinCache, KernelResources, Lookup, Nvrtc, NvrtcError, Origin, Target,
    embedded_architectures, kernel_resources, nvrtc_candidates,
};
pub use device::{Kernels, StreamQueue, context, driver};
pub use element::{ElementType, IndexType, MaskType};
pub use error::KernelError;
pub use family::Family;
pub use launch::{
    DevicePointer, LARGEST_SHARED_BYTES, Launch, LaunchPlan, Symbol, THREADS, UNITS_PER_BLOCK, widest_word,
};
pub use operations::cast::Cast;
pub use operations::embedding::{Embedding, EmbeddingOperands};
pub use operations::image::{IMAGES_PER_LAUNCH, ImageLayout, ImageNormalise, ImageSource};
pub use operations::layer_norm::{LayerNorm, LayerNormOperands};
pub use operations::mean_pooling::MeanPooling;
pub use operations::padding::{PadValue, Padding};
pub use operations::segments::{SEGMENT_TILE_BYTES, SEGMENTS_PER_LAUNCH, SegmentCopies, SegmentEntry};
pub use operations::sketch::{Histogram, LARGEST_EDGES, MOMENT_FIELDS, MomentOperands, Moments, SketchTiling};
pub use operations::softmax::Softmax;
pub use operations::suppression::{LARGEST_BOXES, Suppression, SuppressionOperands};
pub use operations::top_k::{LARGEST_K, TopK};
