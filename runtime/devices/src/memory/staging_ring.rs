//! Which part of a staging buffer is free: taken at the front, given back at the end, in the same order. Pure.
//!
//! Staging is needed until the copy that reads it is done, and copies of one stream are done in order: so a ring suffices,
//! and finding room costs two comparisons. A range is never split at the end of the buffer.

use std::collections::VecDeque;

/// A range of the buffer, in use.
#[derive(Debug, PartialEq, Eq)]
pub struct RingRange {
    start: usize,
    length: usize,
    ticket: u64,
}

impl RingRange {
    /// Where it begins; a multiple of [`StagingRing::ALIGNMENT`].
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes asked for.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

/// The bookkeeping of one staging buffer.
#[derive(Debug)]
pub struct StagingRing {
    capacity: usize,
    /// Ranges in use, oldest first: ticket, start, end.
    taken: VecDeque<(u64, usize, usize)>,
    next_ticket: u64,
}

impl StagingRing {
    /// Alignment of every range.
    pub const ALIGNMENT: usize = 256;

    /// A ring over a buffer of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, taken: VecDeque::new(), next_ticket: 0 }
    }

    /// Size of the buffer.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether nothing is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// A buffer size for batches of `bytes`: two of them, so that the next is gathered while one is copied.
    #[must_use]
    pub fn capacity_for(bytes: usize) -> usize {
        bytes.saturating_mul(2).max(Self::ALIGNMENT).checked_next_power_of_two().unwrap_or(usize::MAX)
    }

    /// Takes `length` bytes; `None` while there is no room.
    pub fn take(&mut self, length: usize) -> Option<RingRange> {
        let needed = length.max(1).checked_next_multiple_of(Self::ALIGNMENT)?;
        let start = match (self.taken.front(), self.taken.back()) {
            (Some(&(_, oldest, _)), Some(&(_, _, end))) if end > oldest => {
                if self.capacity.saturating_sub(end) >= needed {
                    end
                } else if oldest >= needed {
                    0
                } else {
                    return None;
                }
            }
            (Some(&(_, oldest, _)), Some(&(_, _, end))) if oldest.saturating_sub(end) >= needed => end,
            (Some(_), Some(_)) => return None,
            _ if self.capacity >= needed => 0,
            _ => return None,
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.taken.push_back((ticket, start, start + needed));
        Some(RingRange { start, length, ticket })
    }

    /// Gives everything up to and including `range` back: what was taken before it is done as well.
    #[allow(clippy::needless_pass_by_value, reason = "the range is given back, and must not be used afterwards")]
    pub fn release_through(&mut self, range: RingRange) {
        while self.taken.front().is_some_and(|&(ticket, ..)| ticket <= range.ticket) {
            self.taken.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn it_goes_round() {
        let mut ring = StagingRing::new(1024);
        let first = ring.take(512).unwrap();
        let second = ring.take(300).unwrap();
        assert_eq!((first.start(), second.start()), (0, 512));
        assert_eq!(ring.take(1), None);
        ring.release_through(first);
        let third = ring.take(200).unwrap();
        assert_eq!(third.start(), 0);
        assert_eq!(ring.take(512), None);
        ring.release_through(third);
        assert!(ring.is_empty(), "what was taken before is given back with it");
        assert_eq!(ring.take(1025), None);
        assert_eq!(ring.take(1024).unwrap().start(), 0);
    }

    proptest! {
        #[test]
        fn ranges_in_use_never_overlap(
            capacity in 0_usize..8192, steps in proptest::collection::vec((any::<bool>(), 0_usize..2048), 1..200),
        ) {
            let mut ring = StagingRing::new(capacity);
            let mut held: VecDeque<RingRange> = VecDeque::new();
            for (take, length) in steps {
                if !take {
                    if let Some(range) = held.pop_front() {
                        ring.release_through(range);
                    }
                    continue;
                }
                let alone = held.is_empty();
                match ring.take(length) {
                    None => prop_assert!(!alone || length.max(1).next_multiple_of(256) > capacity),
                    Some(range) => {
                        prop_assert!(range.start + length <= capacity && range.start % 256 == 0);
                        let apart = |other: &RingRange| {
                            other.start + other.length <= range.start || range.start + length <= other.start
                        };
                        prop_assert!(held.iter().all(apart));
                        held.push_back(range);
                    }
                }
            }
        }
    }
}
