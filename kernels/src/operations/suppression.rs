//! Non-maximum suppression for a batch of images.
//!
//! Kernels: `cuda/suppression.cu`, three launches on one queue. Floor: `images * (boxes * 24 + boxes^2 / 16) bytes / copy
//! bandwidth` and about `images * 15 * boxes^2 / 2` operations; the last launch adds a chain of one read a kept box.

use crate::Family;
use crate::error::{KernelError, at_most, invalid, not_zero, product};
use crate::launch::{DevicePointer, Launch, LaunchPlan, Symbol, aligned, arguments, grid};

/// Most boxes of an image: what is sorted in shared memory.
pub const LARGEST_BOXES: u32 = 4096;

/// Parts of the workspace start at multiples of this.
const PART_ALIGNMENT: u64 = 256;

/// Greedy suppression: a box is kept when no kept box of a higher score and the same class overlaps it by more than the
/// threshold (intersection over union). Equal scores: the lower index first.
///
/// Scores below the score threshold, and NaN, are no candidates. A box with NaN or without area overlaps nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suppression {
    /// Images; at least 1.
    pub images: u32,
    /// Boxes of every image: 1 to [`LARGEST_BOXES`].
    pub boxes: u32,
    /// Most boxes kept of an image; at least 1.
    pub limit: u32,
    /// Overlap that suppresses when exceeded: 0 to 1.
    pub overlap_threshold: f32,
    /// Lowest score of a candidate; any number, `f32::NEG_INFINITY` for all.
    pub score_threshold: f32,
}

/// Device addresses of a suppression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuppressionOperands {
    /// `f32 [images, boxes, 4]`: left, top, right, bottom; aligned to 16 bytes.
    pub boxes: DevicePointer,
    /// `f32 [images, boxes]`.
    pub scores: DevicePointer,
    /// 32-bit integers `[images, boxes]`, or 0 when all boxes are of one class.
    pub classes: DevicePointer,
    /// [`Suppression::workspace_bytes`] bytes, aligned to 256; contents before and after mean nothing.
    pub workspace: DevicePointer,
    /// 32-bit integers `[images, limit]`, written: indices of kept boxes, highest score first, then -1.
    pub kept: DevicePointer,
    /// 32-bit integers `[images]`, written: how many were kept.
    pub kept_count: DevicePointer,
}

/// Where the parts of the workspace start.
struct Workspace {
    boxes: u64,
    classes: u64,
    order: u64,
    candidates: u64,
    bits: u64,
    end: u64,
}

impl Suppression {
    /// Bytes of workspace.
    ///
    /// # Errors
    /// As [`Suppression::plans`].
    pub fn workspace_bytes(&self) -> Result<u64, KernelError> {
        self.check()?;
        Ok(self.workspace()?.end)
    }

    fn workspace(&self) -> Result<Workspace, KernelError> {
        let all = u64::from(self.images) * u64::from(self.boxes);
        let mut next = 0_u64;
        let mut part = |elements: u64, bytes: u64| {
            let start = next;
            let size = product("bytes of the workspace", &[elements, bytes])?;
            next = start.saturating_add(size).next_multiple_of(PART_ALIGNMENT);
            Ok(start)
        };
        let boxes = part(all, 16)?;
        let classes = part(all, 4)?;
        let order = part(all, 4)?;
        let candidates = part(self.images.into(), 4)?;
        let bits = part(all, 8 * u64::from(self.words()))?;
        Ok(Workspace { boxes, classes, order, candidates, bits, end: next })
    }

    /// 64-bit words of a box's row of overlap bits.
    fn words(&self) -> u32 {
        self.boxes.div_ceil(64)
    }

    fn check(&self) -> Result<(), KernelError> {
        not_zero("images", self.images.into())?;
        at_most("images", 65_535, self.images.into())?;
        not_zero("boxes", self.boxes.into())?;
        at_most("boxes", LARGEST_BOXES.into(), self.boxes.into())?;
        not_zero("limit", self.limit.into())?;
        if !(0.0..=1.0).contains(&self.overlap_threshold) {
            return Err(invalid("overlap threshold", "0 to 1", self.overlap_threshold));
        }
        if self.score_threshold.is_nan() {
            return Err(invalid("score threshold", "a number", self.score_threshold));
        }
        Ok(())
    }

    /// The three launches: order, overlap, sweep.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` or `Misaligned`.
    pub fn plans(&self, operands: &SuppressionOperands) -> Result<[LaunchPlan; 3], KernelError> {
        self.check()?;
        aligned("boxes", operands.boxes, 16)?;
        aligned("workspace", operands.workspace, 256)?;
        let words = [
            ("scores", operands.scores),
            ("classes", operands.classes),
            ("kept", operands.kept),
            ("kept count", operands.kept_count),
        ];
        for (what, address) in words {
            aligned(what, address, 4)?;
        }
        let family = Family::Suppression;
        let named = |name: &str| Symbol::new(format_args!("suppression_{name}"));
        let images = u64::from(self.images);
        let slots = self.slots();
        // Half as many threads as slots: every one compares a pair.
        let order = LaunchPlan::flat(family, named("order"), images, (slots / 2).clamp(32, 1024))?;
        let overlap = LaunchPlan {
            family,
            symbol: named("overlap"),
            grid: [self.words(), self.words(), grid(images)?],
            block: [64, 1, 1],
            shared_bytes: 0,
        };
        let sweep = LaunchPlan::flat(family, named("sweep"), images, 32)?;
        Ok([order.with_shared(slots * 8), overlap, sweep])
    }

    /// Keys that are sorted: a power of two.
    fn slots(&self) -> u32 {
        self.boxes.next_power_of_two()
    }

    /// Queues the three launches.
    ///
    /// # Errors
    /// As [`Suppression::plans`] and [`Launch::launch`].
    ///
    /// # Safety
    /// As [`Launch::launch`]: the operands hold what [`SuppressionOperands`] says and do not overlap.
    pub unsafe fn launch(&self, queue: &impl Launch, operands: &SuppressionOperands) -> Result<(), KernelError> {
        let [order_plan, overlap_plan, sweep_plan] = self.plans(operands)?;
        let parts = self.workspace()?;
        let &SuppressionOperands { boxes, scores, classes, workspace, kept, kept_count } = operands;
        let sorted_boxes = workspace + parts.boxes;
        let sorted_classes = workspace + parts.classes;
        let order = workspace + parts.order;
        let candidates = workspace + parts.candidates;
        let bits = workspace + parts.bits;
        let (slots, words) = (self.slots(), self.words());
        let arguments = arguments![
            boxes,
            scores,
            classes,
            sorted_boxes,
            sorted_classes,
            order,
            candidates,
            self.boxes,
            slots,
            self.score_threshold
        ];
        // SAFETY: these are the parameters of `suppression_order`; the memory is the caller's promise.
        unsafe { queue.launch(&order_plan, arguments) }?;
        let arguments =
            arguments![sorted_boxes, sorted_classes, candidates, bits, self.boxes, words, self.overlap_threshold];
        // SAFETY: these are the parameters of `suppression_overlap`; the workspace was sized for them.
        unsafe { queue.launch(&overlap_plan, arguments) }?;
        let arguments = arguments![order, candidates, bits, kept, kept_count, self.boxes, words, self.limit];
        // SAFETY: these are the parameters of `suppression_sweep`; the memory is the caller's promise.
        unsafe { queue.launch(&sweep_plan, arguments) }
    }
}
