//! Which parts of a pool's slabs are free: best fit, neighbours joined when freed. Pure bookkeeping of offsets.
//!
//! A slab is what the driver gave in one piece. The invariants: blocks in use never overlap, free neighbours are always one
//! block, and slabs together never exceed the limit.

use std::collections::BTreeMap;

use super::size_class::size_class;

/// A part of a slab, in use. Not copyable: it is given back by value, once.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    slab: u32,
    offset: u64,
    bytes: u64,
}

impl Block {
    /// Number of the slab.
    #[must_use]
    pub fn slab(&self) -> u32 {
        self.slab
    }

    /// Where it begins within the slab; a multiple of 512.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its size, at least what was asked for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Grant {
    /// Here it is.
    Block(Block),
    /// Nothing fits: give these empty slabs back, add one of so many bytes, and ask again.
    Grow {
        /// Size of the new slab.
        bytes: u64,
        /// Slabs in which nothing is in use, to be removed before.
        remove: Vec<u32>,
    },
    /// The limit leaves no room for it.
    Exhausted,
}

/// What is held and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatistics {
    /// Bytes of all slabs.
    pub held_bytes: u64,
    /// Bytes of blocks in use.
    pub used_bytes: u64,
    /// Largest value of `used_bytes` so far.
    pub peak_bytes: u64,
    /// Largest request that is granted without growing.
    pub largest_free_bytes: u64,
}

#[derive(Debug)]
struct Slab {
    bytes: u64,
    /// Free parts: offset to size.
    free: BTreeMap<u64, u64>,
}

impl Slab {
    fn is_empty(&self) -> bool {
        self.free.get(&0) == Some(&self.bytes)
    }
}

/// The bookkeeping of one pool.
#[derive(Debug)]
pub struct BlockAllocator {
    limit: u64,
    slabs: BTreeMap<u32, Slab>,
    next_slab: u32,
    held: u64,
    used: u64,
    peak: u64,
}

impl BlockAllocator {
    /// Size of a slab that holds small blocks: what the driver's own granularity is.
    pub const SLAB_BYTES: u64 = 2 << 20;

    /// An allocator whose slabs never exceed `limit` bytes together.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit, slabs: BTreeMap::new(), next_slab: 0, held: 0, used: 0, peak: 0 }
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Asks for `bytes`; the block is of their size class, or of their exact size in granules where the limit is that tight.
    pub fn request(&mut self, bytes: u64) -> Grant {
        let class = size_class(bytes);
        if let Some(block) = self.best_fit(class) {
            return Grant::Block(block);
        }
        let empty: Vec<(u32, u64)> =
            self.slabs.iter().filter(|(_, slab)| slab.is_empty()).map(|(&id, slab)| (id, slab.bytes)).collect();
        for grown in [class.max(Self::SLAB_BYTES), class] {
            let mut remove = Vec::new();
            let mut held = self.held;
            let mut rest = empty.iter();
            while held.saturating_add(grown) > self.limit {
                let Some(&(id, bytes)) = rest.next() else { break };
                remove.push(id);
                held -= bytes;
            }
            if held.saturating_add(grown) <= self.limit {
                return Grant::Grow { bytes: grown, remove };
            }
        }
        Grant::Exhausted
    }

    fn best_fit(&mut self, bytes: u64) -> Option<Block> {
        let free = self.slabs.iter().flat_map(|(&id, slab)| slab.free.iter().map(move |(&at, &size)| (size, id, at)));
        let (size, id, offset) = free.filter(|&(size, ..)| size >= bytes).min()?;
        let slab = self.slabs.get_mut(&id)?;
        slab.free.remove(&offset);
        if size > bytes {
            slab.free.insert(offset + bytes, size - bytes);
        }
        self.used += bytes;
        self.peak = self.peak.max(self.used);
        Some(Block { slab: id, offset, bytes })
    }

    /// Adds a slab of `bytes`, as [`Grant::Grow`] said; gives its number.
    pub fn add_slab(&mut self, bytes: u64) -> u32 {
        let id = self.next_slab;
        self.next_slab = self.next_slab.wrapping_add(1);
        self.slabs.insert(id, Slab { bytes, free: BTreeMap::from([(0, bytes)]) });
        self.held += bytes;
        id
    }

    /// Removes a slab in which nothing is in use; `false` when something is, or there is none.
    pub fn remove_slab(&mut self, id: u32) -> bool {
        if !self.slabs.get(&id).is_some_and(Slab::is_empty) {
            return false;
        }
        if let Some(slab) = self.slabs.remove(&id) {
            self.held -= slab.bytes;
        }
        true
    }

    /// Slabs in which nothing is in use.
    #[must_use]
    pub fn empty_slabs(&self) -> Vec<u32> {
        self.slabs.iter().filter(|(_, slab)| slab.is_empty()).map(|(&id, _)| id).collect()
    }

    /// Takes a block back and joins it with its free neighbours.
    #[allow(clippy::needless_pass_by_value, reason = "the block is given back, and must not be used afterwards")]
    pub fn release(&mut self, block: Block) {
        let Block { slab, mut offset, mut bytes } = block;
        self.used = self.used.saturating_sub(bytes);
        let Some(slab) = self.slabs.get_mut(&slab) else { return };
        if let Some((&before, &size)) = slab.free.range(..offset).next_back()
            && before + size == offset
        {
            slab.free.remove(&before);
            offset = before;
            bytes += size;
        }
        if let Some(size) = slab.free.remove(&(offset + bytes)) {
            bytes += size;
        }
        slab.free.insert(offset, bytes);
    }

    /// What is held and used.
    #[must_use]
    pub fn statistics(&self) -> PoolStatistics {
        let largest = self.slabs.values().flat_map(|slab| slab.free.values()).max().copied().unwrap_or(0);
        PoolStatistics {
            held_bytes: self.held,
            used_bytes: self.used,
            peak_bytes: self.peak,
            largest_free_bytes: largest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    /// What a pool does with the answer.
    fn take(allocator: &mut BlockAllocator, bytes: u64) -> Option<Block> {
        for _ in 0..2 {
            match allocator.request(bytes) {
                Grant::Block(block) => return Some(block),
                Grant::Grow { bytes, remove } => {
                    assert!(remove.into_iter().all(|id| allocator.remove_slab(id)));
                    allocator.add_slab(bytes);
                }
                Grant::Exhausted => return None,
            }
        }
        None
    }

    #[test]
    fn neighbours_are_joined() {
        let mut allocator = BlockAllocator::new(2 << 20);
        let blocks: Vec<Block> = (0..4).filter_map(|_| take(&mut allocator, 512 << 10)).collect();
        assert_eq!(blocks.len(), 4);
        assert_eq!(take(&mut allocator, 1), None);
        for (index, block) in blocks.into_iter().enumerate() {
            if index != 1 {
                allocator.release(block);
            }
        }
        assert_eq!(allocator.statistics().largest_free_bytes, 1 << 20);
        assert!(take(&mut allocator, 1 << 20).is_some());
    }

    #[test]
    fn empty_slabs_make_room_for_a_larger_one() {
        let mut allocator = BlockAllocator::new(8 << 20);
        let small: Vec<Block> = (0..3).filter_map(|_| take(&mut allocator, 2 << 20)).collect();
        small.into_iter().for_each(|block| allocator.release(block));
        assert_eq!(allocator.statistics().held_bytes, 6 << 20);
        assert!(take(&mut allocator, 8 << 20).is_some());
        assert_eq!(allocator.statistics().held_bytes, 8 << 20);
        assert_eq!(allocator.request(512), Grant::Exhausted);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64),
        Release(usize),
        Trim,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u64..4 << 20).prop_map(Step::Take),
            3 => any::<usize>().prop_map(Step::Release),
            1 => proptest::strategy::Just(Step::Trim),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn blocks_never_overlap_and_limits_hold(steps in steps(), limit in 0_u64..32 << 20) {
            let mut allocator = BlockAllocator::new(limit);
            let mut held: Vec<Block> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(bytes) => {
                        if let Some(block) = take(&mut allocator, bytes) {
                            prop_assert!(block.bytes >= bytes && block.offset % 512 == 0);
                            let apart = |other: &Block| other.slab != block.slab
                                || other.offset + other.bytes <= block.offset
                                || block.offset + block.bytes <= other.offset;
                            prop_assert!(held.iter().all(apart));
                            held.push(block);
                        } else {
                            prop_assert!(size_class(bytes) + held.iter().map(|block| block.bytes).sum::<u64>() > limit
                                || !held.is_empty());
                        }
                    }
                    Step::Release(index) if !held.is_empty() => {
                        let block = held.swap_remove(index % held.len());
                        allocator.release(block);
                    }
                    Step::Release(_) => {}
                    Step::Trim => {
                        for id in allocator.empty_slabs() {
                            prop_assert!(allocator.remove_slab(id));
                        }
                    }
                }
                let statistics = allocator.statistics();
                prop_assert!(statistics.held_bytes <= limit);
                prop_assert_eq!(statistics.used_bytes, held.iter().map(|block| block.bytes).sum::<u64>());
            }
            held.into_iter().for_each(|block| allocator.release(block));
            prop_assert!(allocator.slabs.values().all(Slab::is_empty), "everything is joined again");
        }
    }
}
