//! Rows of a table by index.
//!
//! Kernel: `cuda/embedding.cu`. Floor: `(2 * count * row bytes + count * index bytes) / copy bandwidth` when no row is
//! wanted twice; no arithmetic.

use crate::Family;
use crate::element::IndexType;
use crate::error::{KernelError, at_most, not_zero, product};
use crate::launch::{
    DevicePointer, Launch, LaunchPlan, Symbol, THREADS, UNITS_PER_BLOCK, aligned, arguments, widest_word,
};

/// Words of a row that one 32-bit division can take apart.
const LARGEST_ROW_WORDS: u64 = 1 << 31;

/// `output[i] = table[indices[i]]`, bytes as they are.
///
/// An index below 0 or past the table gives a row of zeros and adds 1 to the counter of refused indices, where one is
/// given: a launch cannot fail afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Rows of the table.
    pub table_rows: u64,
    /// Bytes of a row; at least 1.
    pub row_bytes: u32,
    /// Indices; at least 1.
    pub count: u64,
    /// Type of the indices.
    pub index: IndexType,
}

/// Device addresses of an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingOperands {
    /// `[table_rows, row_bytes]`, read.
    pub table: DevicePointer,
    /// `[count]`, read.
    pub indices: DevicePointer,
    /// `[count, row_bytes]`, written.
    pub output: DevicePointer,
    /// One unsigned 32-bit counter that is added to, or 0.
    pub refused: DevicePointer,
}

impl Embedding {
    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(&self, operands: &EmbeddingOperands) -> Result<LaunchPlan, KernelError> {
        not_zero("bytes of a row", self.row_bytes.into())?;
        not_zero("indices", self.count)?;
        at_most("rows of the table", i64::MAX as u64, self.table_rows)?;
        aligned("indices", operands.indices, self.index.size_bytes())?;
        aligned("counter of refused indices", operands.refused, 4)?;
        let word = self.word(operands);
        let words = u64::from(self.row_bytes / word);
        at_most("words of a row", LARGEST_ROW_WORDS, words)?;
        let total = product("words of the output", &[self.count, words])?;
        let symbol = Symbol::new(format_args!("embedding_w{word}_{}", self.index.name()));
        LaunchPlan::flat(Family::Embedding, symbol, total.div_ceil(UNITS_PER_BLOCK), THREADS)
    }

    fn word(&self, operands: &EmbeddingOperands) -> u32 {
        widest_word(&[operands.table, operands.output, self.row_bytes.into()])
    }

    /// Queues the look-ups.
    ///
    /// # Errors
    /// As [`Embedding::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold what [`EmbeddingOperands`] says and do not overlap.
    pub unsafe fn launch(&self, queue: &impl Launch, operands: &EmbeddingOperands) -> Result<(), KernelError> {
        let plan = self.plan(operands)?;
        let words = self.row_bytes / self.word(operands);
        let &EmbeddingOperands { table, indices, output, refused } = operands;
        let arguments = arguments![table, indices, output, self.table_rows, self.count, words, refused];
        // SAFETY: these are the parameters of `embedding_*`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments) }
    }
}
