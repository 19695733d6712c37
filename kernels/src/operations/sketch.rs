//! Sketches of columns for drift: histograms and moments that add up from batch to batch.
//!
//! Kernels: `cuda/sketch.cu`. Floor: `rows * columns * 4 bytes / read bandwidth`; log2(bins) comparisons, or about 10
//! operations, an element.

use crate::Family;
use crate::error::{KernelError, at_most, not_zero, product};
use crate::launch::{DevicePointer, LARGEST_SHARED_BYTES, Launch, LaunchPlan, Symbol, THREADS, aligned, arguments};

/// Most edges of a column's histogram.
pub const LARGEST_EDGES: u32 = 4096;

/// Numbers of a column's moments: count, sums of z, z^2, z^3 and z^4, lowest, highest, values that are not finite.
pub const MOMENT_FIELDS: usize = 8;

/// Rows of one launch: the threads' counts stay exact in `f32`.
const LARGEST_ROWS: u64 = 1 << 27;

/// Rows that a thread should have before another block is worth it.
const ROWS_PER_THREAD: u64 = 16;

/// Blocks that fill every known device several times over.
const BLOCKS_AIMED_AT: u64 = 1056;

/// Counts per column of `f32 [rows, columns]`: the bin of `x` is the number of edges that are at most `x`
/// (`numpy.digitize`), NaN has a bin of its own at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Rows; 1 to 2^27.
    pub rows: u64,
    /// Columns; at least 1.
    pub columns: u32,
    /// Edges of every column, ascending: 1 to [`LARGEST_EDGES`].
    pub edges: u32,
}

/// Sums of powers per column of `f32 [rows, columns]`, with `z = (x - centre) / scale` (Gan et al. 2018, section 3).
///
/// Values that are not finite only add to their own count. Centre and scale are the caller's baseline: moments near them
/// lose nothing to cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// Rows; 1 to 2^27.
    pub rows: u64,
    /// Columns; at least 1.
    pub columns: u32,
}

/// How the threads of a sketch lie over the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SketchTiling {
    /// Neighbouring columns of a block: a power of two up to 32.
    pub wide: u32,
    /// Blocks side by side over the columns.
    pub tiles: u32,
    /// Blocks over the rows.
    pub row_blocks: u32,
}

impl SketchTiling {
    fn new(rows: u64, columns: u32, widest: u32) -> Self {
        let wide = columns.next_power_of_two().min(32).min(widest);
        let tiles = columns.div_ceil(wide);
        let stripes = u64::from(THREADS / wide);
        let most = (BLOCKS_AIMED_AT / u64::from(tiles)).max(1);
        let row_blocks = rows.div_ceil(stripes * ROWS_PER_THREAD).clamp(1, most);
        // At most `BLOCKS_AIMED_AT`.
        Self { wide, tiles, row_blocks: u32::try_from(row_blocks).unwrap_or(1) }
    }

    fn blocks(self) -> u64 {
        u64::from(self.tiles) * u64::from(self.row_blocks)
    }
}

fn check(rows: u64, columns: u32) -> Result<(), KernelError> {
    not_zero("rows", rows)?;
    at_most("rows", LARGEST_ROWS, rows)?;
    not_zero("columns", columns.into())?;
    at_most("columns", 1 << 28, columns.into())
}

impl Histogram {
    /// Bins of a column: one more than edges, and one for NaN.
    #[must_use]
    pub const fn bins(&self) -> u32 {
        self.edges + 2
    }

    /// How the threads lie.
    ///
    /// # Errors
    /// `InvalidArgument` or `TooLarge`.
    pub fn tiling(&self) -> Result<SketchTiling, KernelError> {
        check(self.rows, self.columns)?;
        not_zero("edges", self.edges.into())?;
        at_most("edges", LARGEST_EDGES.into(), self.edges.into())?;
        let fitting = LARGEST_SHARED_BYTES / self.column_bytes();
        // Largest power of two that fits; one column of the most edges does.
        let widest = 1 << fitting.max(1).ilog2();
        Ok(SketchTiling::new(self.rows, self.columns, widest))
    }

    /// Shared memory of one column: its edges and its counts.
    const fn column_bytes(&self) -> u32 {
        4 * (2 * self.edges + 2)
    }

    /// The launch, given the operands' addresses.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plan(
        &self,
        input: DevicePointer,
        edges: DevicePointer,
        counts: DevicePointer,
    ) -> Result<LaunchPlan, KernelError> {
        let tiling = self.tiling()?;
        aligned("input", input, 4)?;
        aligned("edges", edges, 4)?;
        aligned("counts", counts, 8)?;
        let symbol = Symbol::new(format_args!("histogram"));
        let plan = LaunchPlan::flat(Family::Sketch, symbol, tiling.blocks(), THREADS)?;
        Ok(plan.with_shared(tiling.wide * self.column_bytes()))
    }

    /// Queues the counting; `edges` are `f32 [columns, edges]`, `counts` unsigned 64-bit `[columns, bins]` and added to.
    ///
    /// # Errors
    /// As [`Histogram::plan`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold what is said above and do not overlap.
    pub unsafe fn launch(
        &self,
        queue: &impl Launch,
        input: DevicePointer,
        edges: DevicePointer,
        counts: DevicePointer,
    ) -> Result<(), KernelError> {
        let plan = self.plan(input, edges, counts)?;
        let SketchTiling { wide, tiles, row_blocks } = self.tiling()?;
        let arguments = arguments![input, edges, counts, self.rows, self.columns, self.edges, wide, tiles, row_blocks];
        // SAFETY: these are the parameters of `histogram`; the memory is the caller's promise.
        unsafe { queue.launch(&plan, arguments) }
    }
}

/// Device addresses of moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MomentOperands {
    /// `f32 [rows, columns]`.
    pub input: DevicePointer,
    /// `f32 [columns]`.
    pub centres: DevicePointer,
    /// `f32 [columns]`, none of them 0.
    pub scales: DevicePointer,
    /// [`Moments::workspace_bytes`] bytes, aligned to 8; contents before and after mean nothing.
    pub workspace: DevicePointer,
    /// `f64 [MOMENT_FIELDS, columns]`, added to; at first [`Moments::empty_state`].
    pub state: DevicePointer,
}

impl Moments {
    /// How the threads lie.
    ///
    /// # Errors
    /// `InvalidArgument` or `TooLarge`.
    pub fn tiling(&self) -> Result<SketchTiling, KernelError> {
        check(self.rows, self.columns)?;
        Ok(SketchTiling::new(self.rows, self.columns, 32))
    }

    /// Bytes of workspace.
    ///
    /// # Errors
    /// As [`Moments::tiling`].
    pub fn workspace_bytes(&self) -> Result<u64, KernelError> {
        let row_blocks = u64::from(self.tiling()?.row_blocks);
        product("bytes of the workspace", &[row_blocks, MOMENT_FIELDS as u64, self.columns.into(), 8])
    }

    /// The state of columns of which nothing was seen: zeros, and infinities as lowest and highest.
    #[must_use]
    pub fn empty_state(columns: usize) -> Vec<f64> {
        let field = |field| match field {
            5 => f64::INFINITY,
            6 => f64::NEG_INFINITY,
            _ => 0.0,
        };
        (0..MOMENT_FIELDS).flat_map(|place| std::iter::repeat_n(field(place), columns)).collect()
    }

    /// The two launches: parts, sum.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plans(&self, operands: &MomentOperands) -> Result<[LaunchPlan; 2], KernelError> {
        let tiling = self.tiling()?;
        for (what, address) in [("input", operands.input), ("centres", operands.centres), ("scales", operands.scales)] {
            aligned(what, address, 4)?;
        }
        aligned("workspace", operands.workspace, 8)?;
        aligned("state", operands.state, 8)?;
        let family = Family::Sketch;
        let threads = THREADS;
        let part = LaunchPlan::flat(family, Symbol::new(format_args!("moments_part")), tiling.blocks(), threads)?;
        let numbers = u64::from(self.columns) * MOMENT_FIELDS as u64;
        let blocks = numbers.div_ceil(threads.into());
        let add = LaunchPlan::flat(family, Symbol::new(format_args!("moments_add")), blocks, threads)?;
        Ok([part, add])
    }

    /// Queues both launches.
    ///
    /// # Errors
    /// As [`Moments::plans`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold what [`MomentOperands`] says and do not overlap.
    pub unsafe fn launch(&self, queue: &impl Launch, operands: &MomentOperands) -> Result<(), KernelError> {
        let [part, add] = self.plans(operands)?;
        let SketchTiling { wide, tiles, row_blocks } = self.tiling()?;
        let &MomentOperands { input, centres, scales, workspace, state } = operands;
        let arguments = arguments![input, centres, scales, workspace, self.rows, self.columns, wide, tiles, row_blocks];
        // SAFETY: these are the parameters of `moments_part`; the workspace was sized for them.
        unsafe { queue.launch(&part, arguments) }?;
        // SAFETY: these are the parameters of `moments_add`; the memory is the caller's promise.
        unsafe { queue.launch(&add, arguments![workspace, state, self.columns, row_blocks]) }
    }
}
