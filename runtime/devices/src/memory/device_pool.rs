//! A pool of a device's memory that keeps what it took: the driver's own allocation waits for the device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::block_allocator::{Block, BlockAllocator, Grant, PoolStatistics};
use crate::driver::{Context, DeviceAddress};
use crate::error::DeviceError;

/// Memory of one device, handed out in blocks, never more than its limit. Shared by the device's instances.
pub struct DevicePool {
    context: Arc<Context>,
    state: Mutex<State>,
}

struct State {
    allocator: BlockAllocator,
    slabs: BTreeMap<u32, DeviceAddress>,
}

/// A block of a pool; given back when dropped.
///
/// The next owner may write to it at once: drop it only when the work that uses it is done (its event was waited for).
#[derive(Debug)]
pub struct DeviceBuffer {
    pool: Arc<DevicePool>,
    block: Option<Block>,
    address: DeviceAddress,
    length: usize,
}

impl DevicePool {
    /// An empty pool that holds at most `limit` bytes.
    #[must_use]
    pub fn new(context: &Arc<Context>, limit: u64) -> Arc<Self> {
        let state = State { allocator: BlockAllocator::new(limit), slabs: BTreeMap::new() };
        Arc::new(Self { context: Arc::clone(context), state: Mutex::new(state) })
    }

    /// The context that the memory belongs to.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Takes `length` bytes, aligned to 512. Calls the driver only when the pool must grow.
    ///
    /// # Errors
    /// `OutOfMemory` when the limit or the device leaves no room: nothing else is harmed, and a later call may succeed.
    pub fn allocate(self: &Arc<Self>, length: usize) -> Result<DeviceBuffer, DeviceError> {
        let wanted = length as u64;
        let mut state = self.state.lock();
        let limit = state.allocator.limit();
        // Once to find out that the pool must grow, once to take from the new slab.
        for _ in 0..2 {
            match state.allocator.request(wanted) {
                Grant::Block(block) => {
                    let address = state.slabs.get(&block.slab()).map_or(0, |slab| slab + block.offset());
                    return Ok(DeviceBuffer { pool: Arc::clone(self), block: Some(block), address, length });
                }
                Grant::Grow { bytes, remove } => {
                    for id in remove {
                        self.remove(&mut state, id)?;
                    }
                    let address = match self.context.allocate(bytes) {
                        // The device is fuller than the limit says: what lies idle here goes first.
                        Err(DeviceError::OutOfMemory { .. }) => {
                            for id in state.allocator.empty_slabs() {
                                self.remove(&mut state, id)?;
                            }
                            self.context.allocate(bytes).map_err(|error| match error {
                                DeviceError::OutOfMemory { ordinal, limit, .. } => {
                                    DeviceError::OutOfMemory { ordinal, wanted, limit }
                                }
                                other => other,
                            })?
                        }
                        other => other?,
                    };
                    let id = state.allocator.add_slab(bytes);
                    state.slabs.insert(id, address);
                }
                Grant::Exhausted => break,
            }
        }
        Err(DeviceError::OutOfMemory { ordinal: self.context.ordinal(), wanted, limit })
    }

    /// Gives what is not in use back to the driver: when a model was unloaded.
    ///
    /// # Errors
    /// `Driver` with the driver's answer.
    pub fn trim(&self) -> Result<(), DeviceError> {
        let mut state = self.state.lock();
        state.allocator.empty_slabs().into_iter().try_for_each(|id| self.remove(&mut state, id))
    }

    fn remove(&self, state: &mut State, id: u32) -> Result<(), DeviceError> {
        match state.slabs.get(&id).copied() {
            Some(address) if state.allocator.remove_slab(id) => {
                state.slabs.remove(&id);
                self.context.free(address)
            }
            _ => Ok(()),
        }
    }

    /// What is held and used.
    #[must_use]
    pub fn statistics(&self) -> PoolStatistics {
        self.state.lock().allocator.statistics()
    }
}

impl Drop for DevicePool {
    fn drop(&mut self) {
        for &address in self.state.get_mut().slabs.values() {
            // A context in error refuses, and takes its memory along when it goes.
            if let Err(error) = self.context.free(address) {
                drop(error);
            }
        }
    }
}

impl fmt::Debug for DevicePool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DevicePool").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl DeviceBuffer {
    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> DeviceAddress {
        self.address
    }

    /// Bytes asked for.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes that it has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |block| usize::try_from(block.bytes()).unwrap_or(usize::MAX))
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.state.lock().allocator.release(block);
        }
    }
}
