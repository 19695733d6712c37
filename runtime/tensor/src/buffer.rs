//! A growable byte buffer whose start is aligned for every element type and for vector loads.
//!
//! Not a general vector: contents are not preserved by [`AlignedBuffer::resize_for_overwrite`], because a batch
//! buffer is always written whole. Turning it into [`Bytes`] hands the memory over without a copy.

#![allow(unsafe_code, reason = "over-aligned allocation has no safe form in std")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use bytes::Bytes;

/// Bytes aligned to [`AlignedBuffer::ALIGNMENT`]; always initialised.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    length: usize,
    capacity: usize,
}

// SAFETY: the buffer owns its allocation exclusively and hands out references only through `&self` and `&mut self`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above; shared access is read-only.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// Alignment of the first byte: one cache line, enough for AVX-512 loads.
    pub const ALIGNMENT: usize = 64;

    /// An empty buffer; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { start: NonNull::dangling(), length: 0, capacity: 0 }
    }

    /// A buffer of `length` zero bytes.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let mut buffer = Self::new();
        buffer.resize_for_overwrite(length);
        buffer
    }

    /// Makes the buffer `length` bytes long for a caller that overwrites all of it.
    ///
    /// Contents afterwards are initialised but unspecified. Memory is kept when it suffices.
    pub fn resize_for_overwrite(&mut self, length: usize) {
        if length > self.capacity {
            let capacity = length.next_multiple_of(Self::ALIGNMENT);
            *self = Self::new();
            self.start = Self::allocate(capacity);
            self.capacity = capacity;
        }
        self.length = length;
    }

    fn allocate(capacity: usize) -> NonNull<u8> {
        let layout = Self::layout(capacity);
        // SAFETY: `capacity` is above zero here, since it exceeds the current capacity.
        let start = unsafe { alloc_zeroed(layout) };
        NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
    }

    fn layout(capacity: usize) -> Layout {
        match Layout::from_size_align(capacity, Self::ALIGNMENT) {
            Ok(layout) => layout,
            // A length above isize::MAX cannot be allocated by anybody.
            Err(_) => handle_alloc_error(Layout::new::<u8>()),
        }
    }

    /// Hands the memory over as [`Bytes`], without copying it.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.length == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: `start` came from `alloc_zeroed` with this very layout and is freed once.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
        }
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length <= capacity` initialised bytes start there; dangling is allowed for length 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AlignedBuffer").field("length", &self.length).field("capacity", &self.capacity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_aligned_and_keeps_memory() {
        let mut buffer = AlignedBuffer::new();
        assert!(buffer.is_empty());
        for length in [1, 63, 64, 65, 10_000, 12] {
            buffer.resize_for_overwrite(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr() as usize % AlignedBuffer::ALIGNMENT, 0);
            buffer.fill(7);
        }
        assert_eq!(buffer.capacity, 10_048);
    }

    #[test]
    fn becomes_bytes_in_place() {
        let mut buffer = AlignedBuffer::zeroed(100);
        buffer[99] = 9;
        let address = buffer.as_ptr();
        let bytes = buffer.into_bytes();
        assert_eq!(bytes.as_ptr(), address);
        assert_eq!(bytes[99], 9);
        assert!(AlignedBuffer::new().into_bytes().is_empty());
    }
}
