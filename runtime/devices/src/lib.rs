//! GPUs: what this machine has, who gets which, and the memory, streams and events of the CUDA driver.
//!
//! **Experimental: no GPU has confirmed what calls the driver.** What is proved without one: the decisions (placement,
//! admission, pool and ring bookkeeping, recovery) are pure functions with property tests; the calls run against a
//! stand-in of the driver in C, over ordinary memory (`tests/stand_in`).
//!
//! Knows no model, request, protocol or framework. Nothing links against CUDA: [`Driver::open`] and [`Nvml::open`] open the
//! system's libraries at run time, and their absence is a typed [`DeviceError::Unavailable`]. The driver is bound here and
//! not through `cudarc`, which the kernels use: it reads results as a Rust enumeration, undefined for the codes of a newer
//! driver, and panics where an older driver lacks a function.
#![allow(unsafe_code, reason = "calls the CUDA driver and NVML")]

mod budget;
mod device;
mod discovery;
mod driver;
mod error;
mod library;
mod memory;
mod nvml;
mod placement;
mod recovery;
mod result_code;

pub use budget::{DeviceBudget, MemoryPromise};
pub use device::{ComputeCapability, Device, DeviceKind};
pub use discovery::{Discovery, DiscoverySettings, discover};
pub use driver::{
    BesideCaptures, Capture, Context, ContextHold, DeviceAddress, Driver, Event, IpcMapping, Module, PinnedBuffer,
    RawEvent, RawStream, Stream, StreamPriority,
};
pub use error::DeviceError;
pub use memory::{
    Block, BlockAllocator, DeviceBuffer, DevicePool, Grant, HostTransfer, ParseSizeError, PinnedMemory, PinnedPool,
    PoolSizes, PoolStatistics, RingRange, StagingRing, size_class,
};
pub use nvml::{GpuReading, Nvml, Part};
pub use placement::{
    DeviceRoom, GroupWish, MemoryEstimate, Place, PlacedGroup, PlacementError, WishKind, parse_load_limit, place,
};
pub use recovery::{RebuildHistory, Recovery, recovery};
pub use result_code::{ResultCode, Severity};
