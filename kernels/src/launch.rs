//! What one launch is: a kernel's name and the shape of its grid; and whoever can carry it out.
//!
//! Pure except for the trait. Invariant: a plan that exists is one that the hardware takes (grid and shared memory within
//! the limits that every supported architecture has), and it covers its operands exactly once.

use std::ffi::c_void;
use std::fmt::{self, Write};

use crate::Family;
use crate::error::{KernelError, at_most};

/// Address in the memory of the device that a kernel runs on. 0 stands for "not given" where an operand is optional.
pub type DevicePointer = u64;

/// Blocks in the first dimension of a grid.
const LARGEST_GRID: u64 = (1 << 31) - 1;

/// Shared memory that every architecture gives to a block without asking, less what kernels hold statically.
pub const LARGEST_SHARED_BYTES: u32 = 46 * 1024;

/// Threads of a block, unless a kernel says otherwise.
pub const THREADS: u32 = 256;

/// Words or packs that a block of a flat kernel moves: four a thread, a block's width apart.
pub const UNITS_PER_BLOCK: u64 = 4 * THREADS as u64;

/// Longest name of a kernel in bytes.
const LONGEST_NAME: usize = 47;

/// Name of a kernel, held in place: planning a launch allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol {
    bytes: [u8; LONGEST_NAME],
    length: u8,
}

impl Symbol {
    /// The name that `text` formats to; what does not fit is cut, and then names no kernel.
    #[must_use]
    pub fn new(text: fmt::Arguments<'_>) -> Self {
        let mut symbol = Self { bytes: [0; LONGEST_NAME], length: 0 };
        // Cannot fail: `write_str` below never does.
        let written = symbol.write_fmt(text);
        debug_assert!(written.is_ok());
        symbol
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Write for Symbol {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if usize::from(self.length) < LONGEST_NAME {
                self.bytes[usize::from(self.length)] = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One launch, decided but not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchPlan {
    /// Family whose source holds the kernel.
    pub family: Family,
    /// The kernel.
    pub symbol: Symbol,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
}

impl LaunchPlan {
    /// A one-dimensional launch of `blocks` blocks.
    pub(crate) fn flat(family: Family, symbol: Symbol, blocks: u64, threads: u32) -> Result<Self, KernelError> {
        Ok(Self { family, symbol, grid: [grid(blocks)?, 1, 1], block: [threads, 1, 1], shared_bytes: 0 })
    }

    pub(crate) fn with_shared(mut self, bytes: u32) -> Self {
        self.shared_bytes = bytes;
        self
    }
}

/// `blocks` as a grid's first dimension.
pub(crate) fn grid(blocks: u64) -> Result<u32, KernelError> {
    at_most("blocks of a launch", LARGEST_GRID, blocks)?;
    u32::try_from(blocks).map_err(|_| KernelError::TooLarge {
        what: "blocks of a launch",
        limit: LARGEST_GRID,
        actual: blocks,
    })
}

/// Widest word of 1, 2, 4, 8 or 16 bytes that divides every one of `addresses_and_sizes`.
#[must_use]
pub fn widest_word(addresses_and_sizes: &[u64]) -> u32 {
    let together = addresses_and_sizes.iter().fold(16, |all, &value| all | value);
    1 << together.trailing_zeros()
}

/// Refuses an address that is no multiple of its elements' size.
pub(crate) fn aligned(what: &'static str, address: DevicePointer, alignment: u32) -> Result<(), KernelError> {
    let alignment = u64::from(alignment);
    if address.is_multiple_of(alignment) { Ok(()) } else { Err(KernelError::Misaligned { what, alignment, address }) }
}

/// Carries launches out, in order, on one queue of work (a CUDA stream).
pub trait Launch {
    /// Queues the launch and returns without waiting for it.
    ///
    /// # Errors
    /// `Unavailable` or `Compile` when the kernel cannot be had, `Device` when the driver refuses the launch.
    ///
    /// # Safety
    /// `arguments` are the addresses of the kernel's parameters, in order and of its types; the memory that they name
    /// stays valid, and is not used in conflict, until the work queued here has run.
    unsafe fn launch(&self, plan: &LaunchPlan, arguments: &mut [*mut c_void]) -> Result<(), KernelError>;
}

/// Addresses of a kernel's parameters, as the driver takes them.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { &mut [$(std::ptr::from_ref(&$value).cast_mut().cast::<std::ffi::c_void>()),*] };
}
pub(crate) use arguments;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn words_are_as_wide_as_everything_allows() {
        assert_eq!(widest_word(&[]), 16);
        assert_eq!(widest_word(&[0x1000, 64]), 16);
        assert_eq!(widest_word(&[0x1000, 24]), 8);
        assert_eq!(widest_word(&[0x1004, 32]), 4);
        assert_eq!(widest_word(&[0x1002]), 2);
        assert_eq!(widest_word(&[7, 16]), 1);
    }

    #[test]
    fn names_are_kept_whole() {
        let symbol = Symbol::new(format_args!("cast_{}_{}_v{}", "bf16", "f32", 8));
        assert_eq!(symbol.as_str(), "cast_bf16_f32_v8");
        assert_eq!(format!("{symbol:?}"), "cast_bf16_f32_v8");
    }

    #[test]
    fn grids_beyond_the_hardware_are_refused() {
        assert_eq!(grid(LARGEST_GRID), Ok(2_147_483_647));
        assert!(matches!(grid(1 << 31), Err(KernelError::TooLarge { actual: 2_147_483_648, .. })));
    }
}
