//! `TreeEnsembleClassifier`: a class and the scores of all classes per row.
//!
//! Models with two classes may give weights to one of them only; which label and which second score follow is written
//! nowhere in ONNX, so the rules here are those of ONNX Runtime's kernel.

use super::definition::{EnsembleDefinition, InvalidEnsemble};
use super::layout::Layout;
use super::number::Number;
use super::post_transform::{PostTransform, logistic, probit};
use super::scores::{Add, RowScores};

/// A forest that predicts classes.
#[derive(Debug)]
pub(crate) struct ClassificationEnsemble<T> {
    layout: Layout<T>,
    classes: usize,
    /// The class that all weights belong to, when the layout holds that one only.
    single_class: Option<usize>,
    /// Two classes, weights for one.
    binary: bool,
    weights_are_positive: bool,
    post_transform: PostTransform,
    base_values: Vec<T>,
}

/// How the second score of two classes is made from the only one (ONNX Runtime's `add_second_class`).
#[derive(Clone, Copy)]
enum SecondScore {
    Complement,
    NegatedFirst,
    NegatedSecond,
    Absent,
}

/// Scores of the classes of one row while they are finished: at most two for two classes, else all.
struct Pair<T> {
    values: [T; 2],
    present: [bool; 2],
}

impl<T: Number> ClassificationEnsemble<T> {
    /// Lays out a forest.
    ///
    /// # Errors
    /// [`InvalidEnsemble`] when the definition is not a forest.
    pub(crate) fn new(
        definition: &EnsembleDefinition<T>,
        post_transform: PostTransform,
        base_values: Vec<T>,
    ) -> Result<Self, InvalidEnsemble> {
        let classes = definition.targets;
        let only = definition.only_target();
        let binary = classes == 2 && only.is_some();
        let single_class = only.and_then(|class| usize::try_from(class).ok()).filter(|_| classes <= 2);
        let layout = Layout::compile(definition, single_class.is_some())?;
        let weights_are_positive = !definition.weights.iter().any(|weight| weight.weight < T::ZERO);
        Ok(Self { layout, classes, single_class, binary, weights_are_positive, post_transform, base_values })
    }

    /// Number of classes: the width of the scores.
    pub(crate) const fn classes(&self) -> usize {
        self.classes
    }

    /// Columns that a row must have at least.
    pub(crate) const fn columns(&self) -> usize {
        self.layout.columns
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.layout.memory_bytes()
    }

    /// Predicts `rows` (`[rows, columns]`): the index of the class into `labels`, scores into `output`
    /// (`[rows, classes]`).
    ///
    /// # Panics
    /// When `columns` is below [`Self::columns`], or an output is shorter than the rows need.
    pub(crate) fn predict(&self, rows: &[T], columns: usize, labels: &mut [u32], output: &mut [f32]) {
        let classes = self.classes;
        self.layout.evaluate::<Add>(rows, columns, |row, scores| {
            let output = &mut output[row * classes..(row + 1) * classes];
            labels[row] = if classes > 2 { self.finish_many(&scores, output) } else { self.finish_two(&scores, output) };
        });
    }

    fn finish_many(&self, scores: &RowScores<'_, T>, output: &mut [f32]) -> u32 {
        let mut best: Option<(u32, T)> = None;
        for (class, value) in output.iter_mut().enumerate() {
            let mut score = scores.values[class];
            let mut present = scores.present.is_none_or(|present| present[class]);
            if let Some(&base) = self.base_values.get(class) {
                score = if present { score + base } else { base };
                present = true;
            }
            if present && best.is_none_or(|(_, highest)| score > highest) {
                best = Some((u32::try_from(class).unwrap_or(0), score));
            }
            *value = if present { score.to_single() } else { 0.0 };
        }
        self.post_transform.apply(output);
        best.map_or(0, |(class, _)| class)
    }

    fn finish_two(&self, scores: &RowScores<'_, T>, output: &mut [f32]) -> u32 {
        let mut pair = Pair { values: [T::ZERO; 2], present: [false; 2] };
        match self.single_class {
            Some(class) => (pair.values[class.min(1)], pair.present[class.min(1)]) = (scores.values[0], true),
            None => {
                for (class, &value) in scores.values.iter().enumerate().take(2) {
                    pair.values[class] = value;
                    pair.present[class] = scores.present.is_none_or(|present| present[class]);
                }
            }
        }
        let count = if self.classes == 1 { self.add_base_to_one(&mut pair) } else { self.add_base_to_two(&mut pair) };
        let (label, second) = self.choose(&pair, count);
        self.write_two(&pair, count, second, output);
        label
    }

    /// Adds base values where the operator has one class; returns the number of scores.
    fn add_base_to_one(&self, pair: &mut Pair<T>) -> usize {
        match self.base_values[..] {
            [base] => pair.values[0] += base,
            [_, base] => {
                pair.values[0] += base;
                return 1;
            }
            _ => {}
        }
        pair.present[0] = true;
        1
    }

    /// Adds base values where the operator has two classes; returns the number of scores.
    fn add_base_to_two(&self, pair: &mut Pair<T>) -> usize {
        match self.base_values[..] {
            [_, second] if pair.present[1] => {
                let sum = second + pair.values[0];
                pair.values = [T::ZERO, sum];
                pair.present[1] = true;
                2
            }
            [first, second] => {
                pair.values[0] += first;
                pair.values[1] += second;
                2
            }
            _ => {
                if let [base] = self.base_values[..] {
                    pair.values[0] += base;
                }
                if pair.present[1] { 2 } else { 1 }
            }
        }
    }

    /// Index of the class, and how a missing second score is made.
    fn choose(&self, pair: &Pair<T>, count: usize) -> (u32, SecondScore) {
        let weight = match pair.present {
            [_, true] if count == 2 => pair.values[1],
            [true, _] => pair.values[0],
            _ => T::ZERO,
        };
        let positive = weight > T::ZERO;
        if !self.binary {
            let absent = if self.base_values.is_empty() { SecondScore::NegatedSecond } else { SecondScore::Absent };
            return (u32::from(positive), if self.classes == 1 { SecondScore::Absent } else { absent });
        }
        if self.weights_are_positive {
            return (u32::from(weight > T::from_single(0.5)), SecondScore::Complement);
        }
        (u32::from(positive), if positive { SecondScore::NegatedFirst } else { SecondScore::NegatedSecond })
    }

    fn write_two(&self, pair: &Pair<T>, count: usize, second: SecondScore, output: &mut [f32]) {
        let score = pair.values[0].to_single();
        if count == 2 {
            output.copy_from_slice(&pair.values.map(T::to_single)[..output.len()]);
            return self.post_transform.apply(output);
        }
        let written = if self.post_transform == PostTransform::Probit {
            [probit(score), 0.0]
        } else {
            match second {
                SecondScore::Complement => [1.0 - score, score],
                SecondScore::NegatedFirst | SecondScore::NegatedSecond
                    if self.post_transform == PostTransform::Logistic =>
                {
                    [logistic(-score), logistic(score)]
                }
                SecondScore::NegatedFirst => [-score, score],
                SecondScore::NegatedSecond => [score, -score],
                SecondScore::Absent => [score, 0.0],
            }
        };
        output.copy_from_slice(&written[..output.len()]);
    }
}
