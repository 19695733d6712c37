//! Conversion between element types.
//!
//! Kernel: `cuda/cast.cu`. Floor: `elements * (input + output bytes) / copy bandwidth`, one conversion an element.

use crate::Family;
use crate::element::ElementType;
use crate::error::{KernelError, invalid, not_zero};
use crate::launch::{
    DevicePointer, Launch, LaunchPlan, Symbol, THREADS, UNITS_PER_BLOCK, aligned, arguments, widest_word,
};

/// `elements` elements of one type to another.
///
/// To floats: nearest, ties to even, infinity beyond the range, NaN stays NaN. To integers: nearest, ties to even,
/// saturating, NaN to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Type read.
    pub from: ElementType,
    /// Type written; another one.
    pub to: ElementType,
    /// Elements; at least 1.
    pub elements: u64,
}

impl Cast {
    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(&self, input: DevicePointer, output: DevicePointer) -> Result<LaunchPlan, KernelError> {
        if self.from == self.to {
            return Err(invalid("type of the output", "another than the input's", self.to.name()));
        }
        not_zero("elements", self.elements)?;
        aligned("input", input, self.from.size_bytes())?;
        aligned("output", output, self.to.size_bytes())?;
        let pack = self.pack(input, output);
        let symbol = Symbol::new(format_args!("cast_{}_{}_v{pack}", self.from.name(), self.to.name()));
        // At least one block, which also converts what does not fill a pack.
        let packs = (self.elements / u64::from(pack)).max(1);
        LaunchPlan::flat(Family::Cast, symbol, packs.div_ceil(UNITS_PER_BLOCK), THREADS)
    }

    /// Elements that a thread moves at once.
    #[must_use]
    pub fn pack(&self, input: DevicePointer, output: DevicePointer) -> u32 {
        let pack = 16 / self.from.size_bytes().max(self.to.size_bytes());
        let fits = |address, element: ElementType| widest_word(&[address]) >= pack * element.size_bytes();
        if fits(input, self.from) && fits(output, self.to) { pack } else { 1 }
    }

    /// Queues the conversion.
    ///
    /// # Errors
    /// As [`Cast::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: both operands hold `elements` elements and do not overlap.
    pub unsafe fn launch(
        &self,
        queue: &impl Launch,
        input: DevicePointer,
        output: DevicePointer,
    ) -> Result<(), KernelError> {
        let plan = self.plan(input, output)?;
        // SAFETY: these are the parameters of `cast_*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments![input, output, self.elements]) }
    }
}
