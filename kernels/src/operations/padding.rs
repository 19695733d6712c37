//! Ragged rows padded to one length, and the padding taken away.
//!
//! Kernel: `cuda/padding.cu`. Floor: `(packed + padded bytes) / copy bandwidth` to pad, `2 * packed bytes / copy
//! bandwidth` to unpad.

use crate::Family;
use crate::error::{KernelError, at_most, invalid, not_zero, product};
use crate::launch::{
    DevicePointer, Launch, LaunchPlan, Symbol, THREADS, UNITS_PER_BLOCK, aligned, arguments, widest_word,
};

/// Words of a padded row that one 32-bit division can take apart.
const LARGEST_ROW_WORDS: u64 = 1 << 31;

/// One element's bytes, repeated over what a packed row does not fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PadValue {
    pattern: Pattern,
    element_bytes: u32,
}

#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pattern([u8; 16]);

impl PadValue {
    /// The bytes of one element: 1, 2, 4, 8 or 16 of them.
    ///
    /// # Errors
    /// `InvalidArgument` for other lengths.
    pub fn new(element: &[u8]) -> Result<Self, KernelError> {
        if !matches!(element.len(), 1 | 2 | 4 | 8 | 16) {
            return Err(invalid("bytes of the pad value", "1, 2, 4, 8 or 16", element.len()));
        }
        let mut pattern = [0; 16];
        for (place, byte) in pattern.iter_mut().enumerate() {
            *byte = element[place % element.len()];
        }
        let element_bytes = if element.len() == 16 { 16 } else { u32::try_from(element.len()).unwrap_or(16) };
        Ok(Self { pattern: Pattern(pattern), element_bytes })
    }

    /// Sixteen bytes of the repeated element.
    #[must_use]
    pub const fn pattern(&self) -> &[u8; 16] {
        &self.pattern.0
    }
}

/// Packed rows `[offsets[rows], item]` and padded rows `[rows, columns, item]`.
///
/// Row `r` owns the items `offsets[r] .. offsets[r + 1]` of the packed side (`rows + 1` values of 64-bit integers, on the
/// device). A row longer than `columns` loses what is beyond; descending offsets make an empty row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Rows; at least 1.
    pub rows: u64,
    /// Items of a padded row; at least 1.
    pub columns: u32,
    /// Bytes of an item (all inner dimensions together); at least 1.
    pub item_bytes: u32,
}

impl Padding {
    /// The launch that pads, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`, by operand.
    pub fn plan_pad(
        &self,
        packed: DevicePointer,
        padded: DevicePointer,
        offsets: DevicePointer,
        value: &PadValue,
    ) -> Result<LaunchPlan, KernelError> {
        if !self.item_bytes.is_multiple_of(value.element_bytes) {
            return Err(invalid("bytes of an item", "a multiple of the pad value's", self.item_bytes));
        }
        aligned("packed rows", packed, value.element_bytes)?;
        aligned("padded rows", padded, value.element_bytes)?;
        self.plan("pad", packed, padded, offsets)
    }

    /// The launch that takes the padding away, given the operands' addresses.
    ///
    /// # Errors
    /// As [`Padding::plan_pad`].
    pub fn plan_unpad(
        &self,
        padded: DevicePointer,
        packed: DevicePointer,
        offsets: DevicePointer,
    ) -> Result<LaunchPlan, KernelError> {
        self.plan("unpad", packed, padded, offsets)
    }

    fn plan(
        &self,
        kind: &str,
        packed: DevicePointer,
        padded: DevicePointer,
        offsets: DevicePointer,
    ) -> Result<LaunchPlan, KernelError> {
        not_zero("rows", self.rows)?;
        not_zero("columns", self.columns.into())?;
        not_zero("bytes of an item", self.item_bytes.into())?;
        aligned("offsets", offsets, 8)?;
        let word = self.word(packed, padded);
        let row_words = u64::from(self.columns) * u64::from(self.item_bytes / word);
        at_most("words of a padded row", LARGEST_ROW_WORDS, row_words)?;
        let words = product("words of the padded rows", &[self.rows, row_words])?;
        let symbol = Symbol::new(format_args!("{kind}_w{word}"));
        LaunchPlan::flat(Family::Padding, symbol, words.div_ceil(UNITS_PER_BLOCK), THREADS)
    }

    fn word(&self, packed: DevicePointer, padded: DevicePointer) -> u32 {
        widest_word(&[packed, padded, self.item_bytes.into()])
    }

    /// Queues `padded = pad(packed)`: every byte of `padded` is written.
    ///
    /// # Errors
    /// As [`Padding::plan_pad`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: `packed` holds `offsets[rows]` items, `padded` `rows * columns`, `offsets` `rows + 1`
    /// values that stay within the packed items.
    pub unsafe fn launch_pad(
        &self,
        queue: &impl Launch,
        packed: DevicePointer,
        padded: DevicePointer,
        offsets: DevicePointer,
        value: &PadValue,
    ) -> Result<(), KernelError> {
        let plan = self.plan_pad(packed, padded, offsets, value)?;
        let words = self.item_bytes / self.word(packed, padded);
        let arguments = arguments![packed, padded, offsets, self.rows, self.columns, words, value.pattern];
        // SAFETY: these are the parameters of `pad_w*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments) }
    }

    /// Queues `packed = unpad(padded)`: items beyond `columns` of a longer row are left as they were.
    ///
    /// # Errors
    /// As [`Padding::plan_pad`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Padding::launch_pad`].
    pub unsafe fn launch_unpad(
        &self,
        queue: &impl Launch,
        padded: DevicePointer,
        packed: DevicePointer,
        offsets: DevicePointer,
    ) -> Result<(), KernelError> {
        let plan = self.plan_unpad(padded, packed, offsets)?;
        let words = self.item_bytes / self.word(packed, padded);
        // SAFETY: these are the parameters of `unpad_w*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments![padded, packed, offsets, self.rows, self.columns, words]) }
    }
}
