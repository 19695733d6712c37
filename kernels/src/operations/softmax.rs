//! Softmax over the last dimension.
//!
//! Kernel: `cuda/softmax.cu` (one-pass normaliser: Milakov and Gimelshein 2018, algorithm 3). Floor: `2 * rows * columns *
//! element bytes / copy bandwidth`; about 4 operations and 2 exponentials an element.

use crate::Family;
use crate::element::ElementType;
use crate::error::KernelError;
use crate::launch::{DevicePointer, Launch, LaunchPlan, arguments};
use crate::operations::rows::plan_rows;

/// `exp(x - max) / sum(exp(x - max))` over each row of `[rows, columns]`, in `f32` whatever the type.
///
/// A NaN or +infinity anywhere in a row, and a row of -infinity alone, make the whole row NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Type read and written: a float.
    pub element: ElementType,
    /// Rows; at least 1.
    pub rows: u64,
    /// Columns; at least 1.
    pub columns: u32,
}

impl Softmax {
    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(&self, input: DevicePointer, output: DevicePointer) -> Result<LaunchPlan, KernelError> {
        Ok(self.plan_and_kept(input, output)?.0)
    }

    fn plan_and_kept(&self, input: DevicePointer, output: DevicePointer) -> Result<(LaunchPlan, u32), KernelError> {
        plan_rows(Family::Softmax, self.element, self.rows, self.columns, &[("input", input), ("output", output)])
    }

    /// Queues the softmax.
    ///
    /// # Errors
    /// As [`Softmax::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: both operands hold `rows * columns` elements and do not overlap.
    pub unsafe fn launch(
        &self,
        queue: &impl Launch,
        input: DevicePointer,
        output: DevicePointer,
    ) -> Result<(), KernelError> {
        let (plan, kept) = self.plan_and_kept(input, output)?;
        // SAFETY: these are the parameters of `softmax_*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments![input, output, self.rows, self.columns, kept]) }
    }
}
