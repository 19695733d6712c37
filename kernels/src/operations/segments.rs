//! Many byte ranges copied by one launch: requests gathered into a batch, a batch scattered back.
//!
//! Kernel: `cuda/segments.cu`. Floor: `2 * bytes / copy bandwidth`, no arithmetic.

use std::fmt;

use crate::Family;
use crate::error::{KernelError, invalid};
use crate::launch::{DevicePointer, Launch, LaunchPlan, Symbol, THREADS, arguments};

/// Ranges that one launch carries in its parameters.
pub const SEGMENTS_PER_LAUNCH: usize = 168;

/// Bytes that one block copies.
pub const SEGMENT_TILE_BYTES: u32 = 16_384;

/// Longer ranges are entered as several; a multiple of the tile, so that no tile is cut.
const LONGEST_ENTRY: u64 = 1 << 30;

/// One range as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentEntry {
    /// First byte read.
    pub source: DevicePointer,
    /// First byte written.
    pub destination: DevicePointer,
    /// Length.
    pub bytes: u32,
    /// Tiles of all entries before this one.
    pub first_tile: u32,
}

/// The kernel's parameter: at most [`SEGMENTS_PER_LAUNCH`] ranges.
#[repr(C)]
#[derive(Clone)]
struct SegmentTable {
    count: u32,
    tiles: u32,
    entries: [SegmentEntry; SEGMENTS_PER_LAUNCH],
}

/// A list of byte ranges to copy; empty ranges cost nothing.
///
/// The list is kept between batches by [`SegmentCopies::clear`], so that the hot path allocates nothing. Destinations must
/// not overlap one another or any source: which copy would win is not defined.
#[derive(Clone)]
pub struct SegmentCopies {
    tables: Vec<SegmentTable>,
    used: usize,
}

impl SegmentCopies {
    /// Nothing to copy.
    #[must_use]
    pub const fn new() -> Self {
        Self { tables: Vec::new(), used: 0 }
    }

    /// Copies each `(address, bytes)` of `slices` to its place in `batch`, one after another without gaps.
    ///
    /// # Errors
    /// As [`SegmentCopies::push`].
    pub fn gather(
        batch: DevicePointer,
        slices: impl IntoIterator<Item = (DevicePointer, u64)>,
    ) -> Result<Self, KernelError> {
        let mut copies = Self::new();
        let mut place = batch;
        for (address, bytes) in slices {
            copies.push(address, place, bytes)?;
            place = place.checked_add(bytes).ok_or_else(|| invalid("bytes of a batch", "less than 2^64", bytes))?;
        }
        Ok(copies)
    }

    /// The reverse of [`SegmentCopies::gather`]: `batch` is taken apart into `slices`.
    ///
    /// # Errors
    /// As [`SegmentCopies::push`].
    pub fn scatter(
        batch: DevicePointer,
        slices: impl IntoIterator<Item = (DevicePointer, u64)>,
    ) -> Result<Self, KernelError> {
        let mut copies = Self::gather(batch, slices)?;
        for entry in copies.tables.iter_mut().flat_map(|table| &mut table.entries) {
            (entry.source, entry.destination) = (entry.destination, entry.source);
        }
        Ok(copies)
    }

    /// Forgets all ranges and keeps the space.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Adds one range.
    ///
    /// # Errors
    /// `InvalidArgument` when an address would pass the end of the address space.
    pub fn push(&mut self, source: DevicePointer, destination: DevicePointer, bytes: u64) -> Result<(), KernelError> {
        let ends = source.checked_add(bytes).and(destination.checked_add(bytes));
        if ends.is_none() {
            return Err(invalid("bytes of a range", "a range that ends within the address space", bytes));
        }
        let mut done = 0;
        while done < bytes {
            let part = (bytes - done).min(LONGEST_ENTRY);
            self.push_entry(source + done, destination + done, part);
            done += part;
        }
        Ok(())
    }

    fn push_entry(&mut self, source: DevicePointer, destination: DevicePointer, bytes: u64) {
        // At most 2^30 bytes; 168 entries of them make less than 2^24 tiles.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let full = self.used == 0
            || self.tables.get(self.used - 1).is_some_and(|table| table.count as usize == SEGMENTS_PER_LAUNCH);
        if full {
            if self.used == self.tables.len() {
                let entries = [SegmentEntry::default(); SEGMENTS_PER_LAUNCH];
                self.tables.push(SegmentTable { count: 0, tiles: 0, entries });
            }
            self.tables[self.used].count = 0;
            self.tables[self.used].tiles = 0;
            self.used += 1;
        }
        let table = &mut self.tables[self.used - 1];
        table.entries[table.count as usize] = SegmentEntry { source, destination, bytes, first_tile: table.tiles };
        table.count += 1;
        table.tiles += bytes.div_ceil(SEGMENT_TILE_BYTES);
    }

    /// The ranges of every launch.
    pub fn entries(&self) -> impl Iterator<Item = &[SegmentEntry]> {
        self.tables[..self.used].iter().map(|table| &table.entries[..table.count as usize])
    }

    /// Every launch, in order: one for up to [`SEGMENTS_PER_LAUNCH`] ranges.
    ///
    /// # Errors
    /// None today: the signature is that of every plan.
    pub fn plans(&self) -> Result<Vec<LaunchPlan>, KernelError> {
        self.tables[..self.used].iter().map(plan).collect()
    }

    /// Queues the copies.
    ///
    /// # Errors
    /// As [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`], for every range entered.
    pub unsafe fn launch(&self, queue: &impl Launch) -> Result<(), KernelError> {
        for table in &self.tables[..self.used] {
            // SAFETY: the kernel's one parameter is a table of this layout; the ranges are the caller's promise.
            unsafe { queue.launch(&plan(table)?, arguments![*table]) }?;
        }
        Ok(())
    }
}

fn plan(table: &SegmentTable) -> Result<LaunchPlan, KernelError> {
    let symbol = Symbol::new(format_args!("copy_segments"));
    LaunchPlan::flat(Family::Segments, symbol, u64::from(table.tiles), THREADS)
}

impl Default for SegmentCopies {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SegmentCopies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.entries().flatten()).finish()
    }
}
