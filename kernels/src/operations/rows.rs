//! How kernels that reduce rows share the threads: a warp for a short row, a block for a long one.
//!
//! Pure. Invariant: a row is kept in shared memory only where all rows of a block fit.

use crate::Family;
use crate::element::ElementType;
use crate::error::{KernelError, at_most, invalid, not_zero};
use crate::launch::{DevicePointer, LARGEST_SHARED_BYTES, LaunchPlan, Symbol, aligned, widest_word};

/// Rows of up to this many columns get a warp.
const LONGEST_WARP_ROW: u32 = 1024;

/// Warps, and so rows, of a block of the warp kind.
const WARPS: u32 = 4;

/// Threads of a block of the block kind.
const BLOCK_THREADS: u32 = 256;

/// Columns that 32-bit positions within a row can count, with room for one stride.
const LARGEST_COLUMNS: u64 = 1 << 31;

/// Launch of a kernel over the rows of `[rows, columns]`, and its last parameter: whether rows are kept (0 or 1).
pub(crate) fn plan_rows(
    family: Family,
    element: ElementType,
    rows: u64,
    columns: u32,
    operands: &[(&'static str, DevicePointer)],
) -> Result<(LaunchPlan, u32), KernelError> {
    check_rows(element, rows, columns)?;
    for &(what, address) in operands {
        aligned(what, address, element.size_bytes())?;
    }
    let row_bytes = u64::from(columns) * u64::from(element.size_bytes());
    let all = operands.iter().fold(row_bytes, |all, (_, address)| all | address);
    let pack = if widest_word(&[all]) == 16 { 16 / element.size_bytes() } else { 1 };
    let warp = columns <= LONGEST_WARP_ROW;
    let kind = if warp { "warp" } else { "block" };
    let symbol = Symbol::new(format_args!("{}_{}_v{pack}_{kind}", family.name(), element.name()));
    let (blocks, threads, kept_rows) =
        if warp { (rows.div_ceil(WARPS.into()), 32 * WARPS, WARPS) } else { (rows, BLOCK_THREADS, 1) };
    let shared = u32::try_from(row_bytes * u64::from(kept_rows)).ok().filter(|&bytes| bytes <= LARGEST_SHARED_BYTES);
    let plan = LaunchPlan::flat(family, symbol, blocks, threads)?.with_shared(shared.unwrap_or(0));
    Ok((plan, u32::from(shared.is_some())))
}

/// What every operation over rows of floats refuses.
pub(crate) fn check_rows(element: ElementType, rows: u64, columns: u32) -> Result<(), KernelError> {
    if !element.is_float() {
        return Err(invalid("type of the elements", "a float", element.name()));
    }
    not_zero("rows", rows)?;
    not_zero("columns", columns.into())?;
    at_most("columns", LARGEST_COLUMNS, columns.into())
}
