//! Where the tensors of a batch lie within one block of memory, and which parts of it are copied. Pure.

use smallvec::SmallVec;

/// Alignment of every tensor: that of the driver's own allocations, which kernels count on.
pub(super) const ALIGNMENT: usize = 512;

/// Gaps up to this size between parts that are copied are copied with them: one copy is cheaper than two.
const GAP: usize = ALIGNMENT;

/// A block that grows tensor by tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    length: usize,
}

impl Layout {
    /// Takes `length` bytes; gives their offset. `None` when the block would be beyond any memory.
    pub(super) fn take(&mut self, length: usize) -> Option<usize> {
        let offset = self.length.checked_next_multiple_of(ALIGNMENT)?;
        self.length = offset.checked_add(length)?;
        Some(offset)
    }

    /// Bytes taken.
    pub(super) fn length(self) -> usize {
        self.length
    }
}

/// Parts of a block, added front to back; neighbours are joined.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// Begin and end.
    runs: SmallVec<[(usize, usize); 4]>,
    /// Nothing is joined across this place.
    barrier: usize,
}

impl Runs {
    /// Adds `[offset, offset + length)`.
    pub(super) fn add(&mut self, offset: usize, length: usize) {
        if length == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some((_, end)) if self.barrier <= *end && offset.saturating_sub(*end) < GAP => *end = offset + length,
            _ => self.runs.push((offset, offset + length)),
        }
    }

    /// Marks that what lies before `offset` and was not added is filled by others.
    pub(super) fn skip_to(&mut self, offset: usize) {
        self.barrier = offset;
    }

    /// Begin and length of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.runs.iter().map(|&(begin, end)| (begin, end - begin))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn neighbours_are_one_copy_and_others_bytes_are_left_alone() {
        let mut runs = Runs::default();
        runs.add(0, 100);
        runs.add(512, 10);
        runs.skip_to(530);
        runs.add(530, 5);
        runs.add(9000, 1);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [(0, 522), (530, 5), (9000, 1)]);
    }

    proptest! {
        #[test]
        fn every_added_byte_is_copied_and_no_skipped_one(parts in proptest::collection::vec((0_usize..2000, any::<bool>()), 0..40)) {
            let (mut layout, mut runs) = (Layout::default(), Runs::default());
            let mut wanted = Vec::new();
            for (length, ours) in parts {
                let offset = layout.take(length).unwrap();
                prop_assert_eq!(offset % ALIGNMENT, 0);
                if ours { runs.add(offset, length) } else { runs.skip_to(offset + length) }
                wanted.push((offset, length, ours));
            }
            let copied = |byte: usize| runs.iter().any(|(begin, length)| (begin..begin + length).contains(&byte));
            for (offset, length, ours) in wanted {
                prop_assert!((offset..offset + length).all(|byte| copied(byte) == ours));
            }
            prop_assert!(runs.iter().all(|(begin, length)| begin + length <= layout.length()));
        }
    }
}
