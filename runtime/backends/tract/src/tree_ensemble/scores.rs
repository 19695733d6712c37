//! Adds up what the leaves of all trees say about each row.
//!
//! Rows are taken in blocks, trees within a block, so that a tree is read once per block; each row still meets the
//! trees in their order, which keeps sums equal to the last bit whatever the batch.

use super::descend::{LANES, descend};
use super::layout::{Layout, Leaves};
use super::number::Number;

/// Rows whose scores are held at once.
pub(super) const BLOCK: usize = 64;

/// How a leaf's weight joins what is there.
pub(super) trait Accumulate<T> {
    /// Where a score starts.
    const START: T;
    /// Joins one weight.
    fn join(score: &mut T, weight: T);
}

/// Adds weights.
#[derive(Debug)]
pub(super) struct Add;
/// Keeps the lowest weight.
#[derive(Debug)]
pub(super) struct Lowest;
/// Keeps the highest weight.
#[derive(Debug)]
pub(super) struct Highest;

impl<T: Number> Accumulate<T> for Add {
    const START: T = T::ZERO;

    #[inline(always)]
    fn join(score: &mut T, weight: T) {
        *score += weight;
    }
}

impl<T: Number> Accumulate<T> for Lowest {
    const START: T = T::INFINITY;

    #[inline(always)]
    fn join(score: &mut T, weight: T) {
        if weight < *score {
            *score = weight;
        }
    }
}

impl<T: Number> Accumulate<T> for Highest {
    const START: T = T::NEGATIVE_INFINITY;

    #[inline(always)]
    fn join(score: &mut T, weight: T) {
        if weight > *score {
            *score = weight;
        }
    }
}

/// Scores of one row: what was accumulated for each target, and whether any leaf spoke of it.
#[derive(Debug)]
pub(super) struct RowScores<'a, T> {
    /// By target; a single one for [`Leaves::Single`].
    pub(super) values: &'a [T],
    /// By target; `None` when every target has a score.
    pub(super) present: Option<&'a [bool]>,
}

impl<T: Number> Layout<T> {
    /// Evaluates `rows` (`[rows, columns]`, row-major) and hands each row's scores to `finish`, in order.
    ///
    /// # Panics
    /// When `columns` is below what the layout needs.
    pub(super) fn evaluate<A: Accumulate<T>>(
        &self,
        rows: &[T],
        columns: usize,
        finish: impl FnMut(usize, RowScores<'_, T>),
    ) {
        assert!(columns >= self.columns, "rows of {columns} columns, expected at least {}", self.columns);
        match (self.has_missing, self.has_equality) {
            (false, false) => self.evaluate_blocks::<A, false, false>(rows, columns, finish),
            (true, false) => self.evaluate_blocks::<A, true, false>(rows, columns, finish),
            (false, true) => self.evaluate_blocks::<A, false, true>(rows, columns, finish),
            (true, true) => self.evaluate_blocks::<A, true, true>(rows, columns, finish),
        }
    }

    fn evaluate_blocks<A: Accumulate<T>, const MISSING: bool, const EQUALITY: bool>(
        &self,
        rows: &[T],
        columns: usize,
        mut finish: impl FnMut(usize, RowScores<'_, T>),
    ) {
        let count = (rows.len() / columns).min(BLOCK);
        let mut values = vec![A::START; count * self.width];
        let sparse = matches!(self.leaves, Leaves::Sparse { .. });
        let mut present = vec![false; if sparse { count * self.width } else { 0 }];
        for (block, rows) in rows.chunks(BLOCK * columns).enumerate() {
            values.fill(A::START);
            present.fill(false);
            let in_step = rows.len() / columns / LANES * LANES;
            let (several, rest) = rows.split_at(in_step * columns);
            for &root in &self.roots {
                for (group, rows) in several.chunks_exact(LANES * columns).enumerate() {
                    let mut positions = [root; LANES];
                    let row = |lane: usize| &rows[lane * columns..(lane + 1) * columns];
                    descend::<T, MISSING, EQUALITY>(&self.nodes, row, &mut positions);
                    for (lane, &leaf) in positions.iter().enumerate() {
                        self.join::<A>(leaf, group * LANES + lane, &mut values, &mut present);
                    }
                }
            }
            for (index, row) in rest.chunks_exact(columns).enumerate() {
                for roots in self.roots.chunks(LANES) {
                    let mut positions = [roots[0]; LANES];
                    positions[..roots.len()].copy_from_slice(roots);
                    descend::<T, MISSING, EQUALITY>(&self.nodes, |_| row, &mut positions);
                    for &leaf in &positions[..roots.len()] {
                        self.join::<A>(leaf, in_step + index, &mut values, &mut present);
                    }
                }
            }
            for row in 0..rows.len() / columns {
                let range = row * self.width..(row + 1) * self.width;
                let present = sparse.then(|| &present[range.clone()]);
                finish(block * BLOCK + row, RowScores { values: &values[range], present });
            }
        }
    }

    #[inline(always)]
    fn join<A: Accumulate<T>>(&self, leaf: u32, row: usize, values: &mut [T], present: &mut [bool]) {
        let leaf = leaf as usize;
        match &self.leaves {
            Leaves::Single => A::join(&mut values[row], self.nodes[leaf].threshold),
            Leaves::Dense { ordinals, weights } => {
                let start = ordinals[leaf] as usize * self.width;
                let scores = &mut values[row * self.width..(row + 1) * self.width];
                for (score, &weight) in scores.iter_mut().zip(&weights[start..start + self.width]) {
                    A::join(score, weight);
                }
            }
            Leaves::Sparse { ordinals, ranges, weights } => {
                let range = &ranges[ordinals[leaf] as usize];
                for &(target, weight) in &weights[range.start as usize..range.end as usize] {
                    let position = row * self.width + target as usize;
                    A::join(&mut values[position], weight);
                    present[position] = true;
                }
            }
        }
    }
}
