//! Mean over the positions that a mask leaves.
//!
//! Kernel: `cuda/mean_pooling.cu` (Sentence-BERT's MEAN strategy). Floor: `((unmasked positions + batch) * width * element
//! bytes + batch * sequence * mask bytes) / copy bandwidth`; 1 operation an element.

use crate::Family;
use crate::element::{ElementType, MaskType};
use crate::error::{KernelError, not_zero, product};
use crate::launch::{DevicePointer, Launch, LaunchPlan, Symbol, aligned, arguments, grid, widest_word};
use crate::operations::rows::check_rows;

/// Threads side by side over columns, and over positions.
const BLOCK: [u32; 3] = [32, 8, 1];

/// Mean over the unmasked positions of `[batch, sequence, width]`, in `f32` whatever the type; `[batch, width]` is written.
///
/// Masked positions are not read, so a NaN there does not count. A sequence without unmasked positions gives zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeanPooling {
    /// Type read and written: a float.
    pub element: ElementType,
    /// Sequences; at least 1.
    pub batch: u64,
    /// Positions of a sequence; at least 1.
    pub sequence: u32,
    /// Values of a position; at least 1.
    pub width: u32,
    /// Type of the mask, `[batch, sequence]`.
    pub mask: MaskType,
}

impl MeanPooling {
    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(
        &self,
        input: DevicePointer,
        mask: DevicePointer,
        output: DevicePointer,
    ) -> Result<LaunchPlan, KernelError> {
        check_rows(self.element, self.batch, self.width)?;
        not_zero("positions of a sequence", self.sequence.into())?;
        aligned("input", input, self.element.size_bytes())?;
        aligned("output", output, self.element.size_bytes())?;
        aligned("mask", mask, self.mask.size_bytes())?;
        let pack = self.pack(input, output);
        let blocks = product("blocks of a launch", &[self.batch, self.tiles(pack).into()])?;
        let symbol = Symbol::new(format_args!("mean_pooling_{}_v{pack}", self.element.name()));
        let family = Family::MeanPooling;
        Ok(LaunchPlan { family, symbol, grid: [grid(blocks)?, 1, 1], block: BLOCK, shared_bytes: 0 })
    }

    fn pack(&self, input: DevicePointer, output: DevicePointer) -> u32 {
        let row_bytes = u64::from(self.width) * u64::from(self.element.size_bytes());
        if widest_word(&[input, output, row_bytes]) == 16 { 16 / self.element.size_bytes() } else { 1 }
    }

    /// Blocks side by side over the columns of one sequence.
    fn tiles(&self, pack: u32) -> u32 {
        self.width.div_ceil(BLOCK[0] * pack)
    }

    /// Queues the pooling.
    ///
    /// # Errors
    /// As [`MeanPooling::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold the shapes said above and do not overlap.
    pub unsafe fn launch(
        &self,
        queue: &impl Launch,
        input: DevicePointer,
        mask: DevicePointer,
        output: DevicePointer,
    ) -> Result<(), KernelError> {
        let plan = self.plan(input, mask, output)?;
        let mask_bytes = self.mask.size_bytes();
        let tiles = self.tiles(self.pack(input, output));
        let arguments = arguments![input, mask, output, self.sequence, self.width, mask_bytes, tiles];
        // SAFETY: these are the parameters of `mean_pooling_*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments) }
    }
}
