//! From roots to leaves, several paths in step, without a branch that depends on the data.
//!
//! A path alone waits for memory at each level and guesses half of the turns wrong; eight that do not depend on one
//! another fill those waits. Paths that end early stay on their leaf until the longest one has ended.

use super::layout::Node;
use super::number::Number;

/// Paths followed in step.
pub(super) const LANES: usize = 8;

/// Moves each of `positions` from where it is to a leaf; `row(lane)` gives the features of a lane.
///
/// `MISSING` must be true when any node sends NaN to its first child, `EQUALITY` when any compares for equality.
///
/// # Panics
/// When a row has fewer columns than the layout needs.
#[inline(always)]
pub(super) fn descend<'a, T: Number, const MISSING: bool, const EQUALITY: bool>(
    nodes: &[Node<T>],
    row: impl Fn(usize) -> &'a [T],
    positions: &mut [u32; LANES],
) {
    loop {
        let mut moving = 0;
        for (lane, position) in positions.iter_mut().enumerate() {
            let node = &nodes[*position as usize];
            let value = row(lane)[node.feature()];
            let mut first = value <= node.threshold;
            if EQUALITY {
                first &= !node.equality() | (value >= node.threshold);
            }
            if MISSING {
                first |= node.missing_to_first() & is_nan(value);
            }
            moving |= node.inner();
            *position = node.first_child + (node.inner() & u32::from(!first));
        }
        if moving == 0 {
            return;
        }
    }
}

#[inline(always)]
#[allow(clippy::eq_op, reason = "only NaN differs from itself")]
fn is_nan<T: Number>(value: T) -> bool {
    value != value
}
