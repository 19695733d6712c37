//! References of histograms and moments.

use crate::operations::sketch::{Histogram, MOMENT_FIELDS, Moments};

impl Histogram {
    /// What [`Histogram::launch`] does.
    pub fn reference(&self, input: &[f32], edges: &[f32], counts: &mut [u64]) {
        let (columns, per_column, bins) = (self.columns as usize, self.edges as usize, self.bins() as usize);
        for row in input.chunks_exact(columns) {
            for (column, value) in row.iter().enumerate() {
                let limits = &edges[column * per_column..(column + 1) * per_column];
                let bin = if value.is_nan() { bins - 1 } else { limits.iter().filter(|&edge| edge <= value).count() };
                counts[column * bins + bin] += 1;
            }
        }
    }
}

impl Moments {
    /// What [`Moments::launch`] does; there is no workspace.
    pub fn reference(&self, input: &[f32], centres: &[f32], scales: &[f32], state: &mut [f64]) {
        let columns = self.columns as usize;
        assert_eq!(state.len(), MOMENT_FIELDS * columns, "the state holds eight numbers a column");
        for row in input.chunks_exact(columns) {
            for (column, &value) in row.iter().enumerate() {
                let at = |field: usize| field * columns + column;
                if !value.is_finite() {
                    state[at(7)] += 1.0;
                    continue;
                }
                let z = (f64::from(value) - f64::from(centres[column])) / f64::from(scales[column]);
                state[at(0)] += 1.0;
                for power in 1..=4_i32 {
                    state[at(power.unsigned_abs() as usize)] += z.powi(power);
                }
                state[at(5)] = state[at(5)].min(value.into());
                state[at(6)] = state[at(6)].max(value.into());
            }
        }
    }
}
