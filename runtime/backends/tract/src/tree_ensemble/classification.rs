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

/// The label of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// The label of the class with this index.
    Class(usize),
    /// Two classes with weights for both, or one class: ONNX Runtime answers 0 or 1, whatever the labels are
    /// (with texts as labels, the text with that index).
    Sign(bool),
}

/// How the second score of two classes is made from the only one (ONNX Runtime's `add_second_class`).
#[derive(Clone, Copy)]
enum SecondScore {
    Complement,
    Negated,
    Absent,
}

/// Scores of one or two classes while they are finished. One that is not present counts as zero in the end.
struct Pair<T> {
    values: [T; 2],
    present: [bool; 2],
}

impl<T: Number> Pair<T> {
    fn singles(&self) -> [f32; 2] {
        [0, 1].map(|class| if self.present[class] { self.values[class].to_single() } else { 0.0 })
    }
}

impl<T: Number> ClassificationEnsemble<T> {
    /// Lays out a forest.
    ///
    /// # Errors
    /// [`InvalidEnsemble`] when the definition is not a forest.
    pub(crate) fn new(
        definition: &EnsembleDefinition,
        post_transform: PostTransform,
        base_values: &[f64],
    ) -> Result<Self, InvalidEnsemble> {
        let classes = definition.targets;
        let only = definition.only_target();
        let binary = classes == 2 && only.is_some();
        let single_class = only.and_then(|class| usize::try_from(class).ok()).filter(|_| classes <= 2);
        let base_values = base_values.iter().map(|&value| T::from_double(value)).collect();
        let layout = Layout::compile(definition, single_class.is_some())?;
        let weights_are_positive = !definition.weights.iter().any(|weight| weight.weight < 0.0);
        Ok(Self { layout, classes, single_class, binary, weights_are_positive, post_transform, base_values })
    }

    /// Columns that a row must have at least.
    pub(crate) const fn columns(&self) -> usize {
        self.layout.columns
    }

    /// Bytes held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.layout.memory_bytes()
    }

    /// Predicts `rows` (`[rows, columns]`): the class into `labels`, scores into `output`
    /// (`[rows, classes]`).
    ///
    /// # Panics
    /// When `columns` is below [`Self::columns`], or an output is shorter than the rows need.
    pub(crate) fn predict(&self, rows: &[T], columns: usize, labels: &mut [Label], output: &mut [f32]) {
        let classes = self.classes;
        self.layout.evaluate::<Add>(rows, columns, |row, scores| {
            let output = &mut output[row * classes..(row + 1) * classes];
            labels[row] =
                if classes > 2 { self.finish_many(&scores, output) } else { self.finish_two(&scores, output) };
        });
    }

    fn finish_many(&self, scores: &RowScores<'_, T>, output: &mut [f32]) -> Label {
        let mut best: Option<(usize, T)> = None;
        for (class, value) in output.iter_mut().enumerate() {
            let mut score = scores.values[class];
            let mut present = scores.present.is_none_or(|present| present[class]);
            if let Some(&base) = self.base_values.get(class) {
                score = if present { score + base } else { base };
                present = true;
            }
            if present && best.is_none_or(|(_, highest)| score > highest) {
                best = Some((class, score));
            }
            *value = if present { score.to_single() } else { 0.0 };
        }
        self.post_transform.apply(output);
        Label::Class(best.map_or(0, |(class, _)| class))
    }

    fn finish_two(&self, scores: &RowScores<'_, T>, output: &mut [f32]) -> Label {
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
        if let [base] | [_, base] = self.base_values[..] {
            pair.values[0] += base;
        }
        pair.present[0] = true;
        1
    }

    /// Adds base values where the operator has two classes; returns the number of scores.
    fn add_base_to_two(&self, pair: &mut Pair<T>) -> usize {
        match self.base_values[..] {
            [_, second] if pair.present[1] => {
                let sum = second + pair.values[0];
                pair.values = [-sum, sum];
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

    /// The label, and how a missing second score is made.
    fn choose(&self, pair: &Pair<T>, count: usize) -> (Label, SecondScore) {
        let weight = match pair.present {
            [_, true] if count == 2 => pair.values[1],
            [true, _] => pair.values[0],
            _ => T::ZERO,
        };
        let positive = weight > T::ZERO;
        if !self.binary {
            let negated = self.classes == 2 && self.base_values.is_empty();
            return (Label::Sign(positive), if negated { SecondScore::Negated } else { SecondScore::Absent });
        }
        if self.weights_are_positive {
            return (Label::Class(usize::from(weight > T::from_single(0.5))), SecondScore::Complement);
        }
        (Label::Class(usize::from(positive)), SecondScore::Negated)
    }

    fn write_two(&self, pair: &Pair<T>, count: usize, second: SecondScore, output: &mut [f32]) {
        let singles = pair.singles();
        if count == 2 {
            output.copy_from_slice(&singles[..output.len()]);
            return self.post_transform.apply(output);
        }
        let score = singles[0];
        let written = match (self.post_transform, second) {
            (PostTransform::Probit, _) => [probit(score), 0.0],
            (PostTransform::Logistic, SecondScore::Complement | SecondScore::Negated) => {
                [logistic(-score), logistic(score)]
            }
            (_, SecondScore::Complement) => [1.0 - score, score],
            (_, SecondScore::Negated) => [-score, score],
            (_, SecondScore::Absent) => [score, 0.0],
        };
        output.copy_from_slice(&written[..output.len()]);
    }
}
