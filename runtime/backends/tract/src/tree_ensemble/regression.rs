//! `TreeEnsembleRegressor`: one value per row and target.

use super::definition::{AggregateFunction, EnsembleDefinition, InvalidEnsemble};
use super::layout::Layout;
use super::number::Number;
use super::post_transform::{PostTransform, probit};
use super::scores::{Add, Highest, Lowest, RowScores};

/// A forest that predicts numbers.
#[derive(Debug)]
pub(crate) struct RegressionEnsemble<T> {
    layout: Layout<T>,
    targets: usize,
    aggregate: AggregateFunction,
    post_transform: PostTransform,
    base_values: Vec<T>,
}

impl<T: Number> RegressionEnsemble<T> {
    /// Lays out a forest.
    ///
    /// # Errors
    /// [`InvalidEnsemble`] when the definition is not a forest.
    pub(crate) fn new(
        definition: &EnsembleDefinition,
        aggregate: AggregateFunction,
        post_transform: PostTransform,
        base_values: &[f64],
    ) -> Result<Self, InvalidEnsemble> {
        let targets = definition.targets;
        let base_values = base_values.iter().map(|&value| T::from_double(value)).collect();
        let layout = Layout::compile(definition, targets == 1)?;
        Ok(Self { layout, targets, aggregate, post_transform, base_values })
    }

    /// Columns that a row must have at least.
    pub(crate) const fn columns(&self) -> usize {
        self.layout.columns
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.layout.memory_bytes()
    }

    /// Predicts `rows` (`[rows, columns]`) into `output` (`[rows, targets]`).
    ///
    /// # Panics
    /// When `columns` is below [`Self::columns`], or `output` is shorter than the rows need.
    pub(crate) fn predict(&self, rows: &[T], columns: usize, output: &mut [f32]) {
        let targets = self.targets;
        let finish = |row: usize, scores: RowScores<'_, T>| {
            self.finish(&scores, &mut output[row * targets..(row + 1) * targets]);
        };
        match self.aggregate {
            AggregateFunction::Sum | AggregateFunction::Average => self.layout.evaluate::<Add>(rows, columns, finish),
            AggregateFunction::Min => self.layout.evaluate::<Lowest>(rows, columns, finish),
            AggregateFunction::Max => self.layout.evaluate::<Highest>(rows, columns, finish),
        }
    }

    fn finish(&self, scores: &RowScores<'_, T>, output: &mut [f32]) {
        let with_base = self.base_values.len() == self.targets;
        for (target, value) in output.iter_mut().enumerate() {
            let present = scores.present.is_none_or(|present| present[target]);
            let mut score = if present { scores.values[target] } else { T::ZERO };
            if self.aggregate == AggregateFunction::Average {
                score = score.divided_by(self.layout.roots.len());
            }
            if with_base {
                score += self.base_values[target];
            }
            *value = score.to_single();
        }
        match output {
            // With one target, ONNX Runtime knows no other transform.
            [only] if self.post_transform == PostTransform::Probit => *only = probit(*only),
            [_] => {}
            several => self.post_transform.apply(several),
        }
    }
}
