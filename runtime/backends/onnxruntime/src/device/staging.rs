//! Pinned memory of one instance, through which its tensors go to the device and come back.

use std::sync::Arc;

use hanok_devices::{Context, DeviceError, PinnedMemory, PinnedPool, RingRange, StagingRing};

/// A ring of pinned memory; grows to twice the largest batch seen.
#[derive(Debug)]
pub(crate) struct Staging {
    context: Arc<Context>,
    pool: Arc<PinnedPool>,
    memory: Option<PinnedMemory>,
    ring: StagingRing,
}

impl Staging {
    pub(crate) fn new(context: &Arc<Context>, pool: &Arc<PinnedPool>) -> Self {
        Self { context: Arc::clone(context), pool: Arc::clone(pool), memory: None, ring: StagingRing::new(0) }
    }

    /// Makes room for a batch of `bytes` in pieces of the ring's alignment. Pins memory only when a batch is larger than
    /// any before, and only while nothing is in use, when the batch is `alone`: beside another, there may be no room.
    pub(crate) fn reserve(&mut self, bytes: usize, alone: bool) -> Result<(), DeviceError> {
        if alone {
            // What batches took that could not be started beside another is nobody's any more.
            self.clear();
        }
        if bytes == 0 || !alone || (self.ring.capacity() >= bytes && self.memory.is_some()) {
            return Ok(());
        }
        // The old one first: both together may be beyond the limit.
        self.memory = None;
        let wished = StagingRing::capacity_for(bytes);
        let (memory, capacity) = match self.pool.allocate(&self.context, wished) {
            Ok(memory) => (memory, wished),
            Err(_) => (self.pool.allocate(&self.context, bytes)?, bytes),
        };
        self.memory = Some(memory);
        self.ring = StagingRing::new(capacity);
        Ok(())
    }

    /// Takes a piece for writing or reading.
    pub(crate) fn take(&mut self, length: usize) -> Option<RingRange> {
        self.ring.take(length)
    }

    /// The bytes of a piece.
    pub(crate) fn bytes(&mut self, range: &RingRange) -> &mut [u8] {
        // Copies of another batch may be under way elsewhere in the memory.
        self.memory.as_mut().and_then(|memory| memory.part(range.start(), range.length())).unwrap_or_default()
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self) {
        self.ring = StagingRing::new(self.ring.capacity());
    }

    /// Gives everything up to `range` back.
    pub(crate) fn release_through(&mut self, range: RingRange) {
        self.ring.release_through(range);
    }
}
