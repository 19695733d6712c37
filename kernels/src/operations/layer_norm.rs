//! Layer normalisation over the last dimension.
//!
//! Kernel: `cuda/layer_norm.cu` (Ba, Kiros and Hinton 2016, equation 4). Floor: `(2 * rows + 2) * columns * element bytes /
//! copy bandwidth`; about 7 operations an element.

use crate::Family;
use crate::element::ElementType;
use crate::error::{KernelError, invalid};
use crate::launch::{DevicePointer, Launch, LaunchPlan, arguments};
use crate::operations::rows::plan_rows;

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over each row of `[rows, columns]`.
///
/// Mean and then variance (of all columns, not `columns - 1`) in `f32` whatever the type. A NaN or infinity in a row makes
/// the whole row NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Type of all operands: a float.
    pub element: ElementType,
    /// Rows; at least 1.
    pub rows: u64,
    /// Columns; at least 1.
    pub columns: u32,
    /// Added to the variance; finite, 0 or more.
    pub epsilon: f32,
}

/// Device addresses of a layer normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerNormOperands {
    /// `[rows, columns]`, read.
    pub input: DevicePointer,
    /// `[rows, columns]`, written.
    pub output: DevicePointer,
    /// `[columns]`, or 0 for ones.
    pub gamma: DevicePointer,
    /// `[columns]`, or 0 for zeros.
    pub beta: DevicePointer,
}

impl LayerNorm {
    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(&self, operands: &LayerNormOperands) -> Result<LaunchPlan, KernelError> {
        Ok(self.plan_and_kept(operands)?.0)
    }

    fn plan_and_kept(&self, operands: &LayerNormOperands) -> Result<(LaunchPlan, u32), KernelError> {
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(invalid("epsilon", "finite, 0 or more", self.epsilon));
        }
        let &LayerNormOperands { input, output, gamma, beta } = operands;
        let addresses = [("input", input), ("output", output), ("gamma", gamma), ("beta", beta)];
        plan_rows(Family::LayerNorm, self.element, self.rows, self.columns, &addresses)
    }

    /// Queues the normalisation.
    ///
    /// # Errors
    /// As [`LayerNorm::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold what [`LayerNormOperands`] says and do not overlap.
    pub unsafe fn launch(&self, queue: &impl Launch, operands: &LayerNormOperands) -> Result<(), KernelError> {
        let (plan, kept) = self.plan_and_kept(operands)?;
        let &LayerNormOperands { input, output, gamma, beta } = operands;
        let arguments = arguments![input, output, gamma, beta, self.rows, self.columns, self.epsilon, kept];
        // SAFETY: these are the parameters of `layer_norm_*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments) }
    }
}
