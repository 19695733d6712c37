//! The highest elements of each row, with their columns.
//!
//! Kernel: `cuda/top_k.cu` (radix selection). Floor: `rows * (columns * element bytes + k * 8) / copy bandwidth`; about 10
//! operations an element. What label a column has is the caller's to look up.

use crate::Family;
use crate::element::ElementType;
use crate::error::{KernelError, at_most, not_zero};
use crate::launch::{DevicePointer, Launch, LaunchPlan, Symbol, THREADS, aligned, arguments};
use crate::operations::rows::check_rows;

/// Largest `k`: what is chosen is sorted in shared memory.
pub const LARGEST_K: u32 = 1024;

/// The `k` highest of each row of `[rows, columns]`, highest first; of equal values the lower column comes first, -0 equals
/// +0, and NaN ranks below everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    /// Type read: a float.
    pub element: ElementType,
    /// Rows; at least 1.
    pub rows: u64,
    /// Columns; at least 1.
    pub columns: u32,
    /// How many: 1 to [`LARGEST_K`] and at most `columns`.
    pub k: u32,
}

impl TopK {
    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(
        &self,
        input: DevicePointer,
        values: DevicePointer,
        indices: DevicePointer,
    ) -> Result<LaunchPlan, KernelError> {
        check_rows(self.element, self.rows, self.columns)?;
        not_zero("k", self.k.into())?;
        at_most("k", LARGEST_K.min(self.columns).into(), self.k.into())?;
        aligned("input", input, self.element.size_bytes())?;
        aligned("values", values, 4)?;
        aligned("indices", indices, 4)?;
        let symbol = Symbol::new(format_args!("top_k_{}", self.element.name()));
        let plan = LaunchPlan::flat(Family::TopK, symbol, self.rows, THREADS)?;
        Ok(plan.with_shared(self.slots() * 8))
    }

    /// Places that are sorted: a power of two.
    fn slots(&self) -> u32 {
        self.k.next_power_of_two()
    }

    /// Queues the selection; `values` are `f32 [rows, k]`, `indices` 32-bit integers `[rows, k]`.
    ///
    /// # Errors
    /// As [`TopK::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold what is said above and do not overlap.
    pub unsafe fn launch(
        &self,
        queue: &impl Launch,
        input: DevicePointer,
        values: DevicePointer,
        indices: DevicePointer,
    ) -> Result<(), KernelError> {
        let plan = self.plan(input, values, indices)?;
        let slots = self.slots();
        // SAFETY: these are the parameters of `top_k_*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments![input, values, indices, self.columns, self.k, slots]) }
    }
}
