//! Memory that is kept and used again: pools on devices, staging on the host.
//!
//! What is free where is decided by bookkeeping that touches no memory ([`BlockAllocator`], [`StagingRing`]); the driver is
//! asked only when a pool grows or shrinks.

mod block_allocator;
mod device_pool;
mod host_transfer;
mod pinned_pool;
mod pool_sizes;
mod size_class;
mod staging_ring;

pub use block_allocator::{Block, BlockAllocator, Grant, PoolStatistics};
pub use device_pool::{DeviceBuffer, DevicePool};
pub use host_transfer::HostTransfer;
pub use pinned_pool::{PinnedMemory, PinnedPool};
pub use pool_sizes::{ParseSizeError, PoolSizes};
pub use size_class::size_class;
pub use staging_ring::{RingRange, StagingRing};
