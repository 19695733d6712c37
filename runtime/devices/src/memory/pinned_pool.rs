//! How much memory of the host is pinned, over all devices and instances, within Triton's limit.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver::{Context, PinnedBuffer};
use crate::error::DeviceError;

/// The right to pin memory.
#[derive(Debug)]
pub struct PinnedPool {
    limit: u64,
    used: AtomicU64,
}

/// Pinned memory, counted; given back when dropped.
#[derive(Debug)]
pub struct PinnedMemory {
    buffer: PinnedBuffer,
    pool: Arc<PinnedPool>,
}

impl PinnedPool {
    /// A pool from which at most `limit` bytes are pinned at a time.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// Pins `length` bytes.
    ///
    /// # Errors
    /// `OutOfMemory` when the limit leaves no room or the host gives none.
    pub fn allocate(self: &Arc<Self>, context: &Arc<Context>, length: usize) -> Result<PinnedMemory, DeviceError> {
        let wanted = length as u64;
        let within = |used: u64| used.checked_add(wanted).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).map_err(|_| DeviceError::OutOfMemory {
            ordinal: u32::MAX,
            wanted,
            limit: self.limit,
        })?;
        match PinnedBuffer::new(context, length) {
            Ok(buffer) => Ok(PinnedMemory { buffer, pool: Arc::clone(self) }),
            Err(error) => {
                self.used.fetch_sub(wanted, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Bytes that are pinned.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl PinnedMemory {
    /// The `length` bytes from `start` on, and no others: while the device reads or writes elsewhere in the memory. `None`
    /// where there are not so many.
    pub fn part(&mut self, start: usize, length: usize) -> Option<&mut [u8]> {
        self.buffer.part(start, length)
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.buffer.len() as u64, Ordering::Relaxed);
    }
}

impl Deref for PinnedMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for PinnedMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}
