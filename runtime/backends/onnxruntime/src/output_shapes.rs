//! Which shape an output will have, so that the library can write it straight into memory of ours.
//!
//! Pure bookkeeping. A prediction is either what the configuration fixes, or what the same input shapes gave before.
//! An output whose shape was once predicted wrongly depends on values and is not predicted again.

use hanok_tensor::Shape;
use smallvec::SmallVec;

/// Combinations of input shapes that are remembered, the latest first.
const MAXIMUM_LEARNED: usize = 32;

/// Dimensions of all inputs, each with its rank before it.
pub(crate) type InputShapes = SmallVec<[i64; 16]>;

/// What is known of one model's output shapes.
#[derive(Clone, Debug)]
pub(crate) struct OutputShapes {
    /// Per output: all dimensions after the batch dimension, when the configuration fixes them.
    fixed: Vec<Option<Shape>>,
    batches: bool,
    /// Per output: whether predictions were always right.
    predictable: Vec<bool>,
    learned: Vec<(InputShapes, Vec<Option<Shape>>)>,
}

impl OutputShapes {
    /// Outputs of the given dimensions, without the batch dimension, -1 for any.
    pub(crate) fn new<'a>(dims: impl Iterator<Item = &'a Shape>, batches: bool) -> Self {
        let fixed: Vec<Option<Shape>> =
            dims.map(|dims| dims.iter().all(|&dimension| dimension >= 0).then(|| dims.clone())).collect();
        Self { predictable: vec![true; fixed.len()], fixed, batches, learned: Vec::new() }
    }

    /// The shape that the output at `index` will have, if it can be told.
    pub(crate) fn predict(&self, index: usize, rows: usize, inputs: &InputShapes) -> Option<Shape> {
        if !*self.predictable.get(index)? {
            return None;
        }
        if let Some(dims) = &self.fixed[index] {
            if !self.batches {
                return Some(dims.clone());
            }
            let rows = i64::try_from(rows).ok()?;
            return Some(std::iter::once(rows).chain(dims.iter().copied()).collect());
        }
        let (_, shapes) = self.learned.iter().find(|(known, _)| known == inputs)?;
        shapes[index].clone()
    }

    /// Remembers the `actual` shape of an output that was not predicted.
    pub(crate) fn learn(&mut self, index: usize, inputs: &InputShapes, actual: &Shape) {
        if !self.predictable[index] || self.fixed[index].is_some() {
            return;
        }
        let position = self.learned.iter().position(|(known, _)| known == inputs);
        let mut entry = match position {
            Some(position) => self.learned.remove(position),
            None => (inputs.clone(), vec![None; self.fixed.len()]),
        };
        entry.1[index] = Some(actual.clone());
        self.learned.insert(0, entry);
        self.learned.truncate(MAXIMUM_LEARNED);
    }

    /// Notes that the output at `index` had another shape than predicted.
    pub(crate) fn was_wrong(&mut self, index: usize) {
        self.predictable[index] = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn key(dimensions: &[i64]) -> InputShapes {
        InputShapes::from_slice(dimensions)
    }

    #[test]
    fn fixed_dimensions_need_no_learning() {
        let dims = [Shape::new(&[10]), Shape::new(&[-1, 2])];
        let shapes = OutputShapes::new(dims.iter(), true);
        assert_eq!(shapes.predict(0, 3, &key(&[1])), Some(Shape::new(&[3, 10])));
        assert_eq!(shapes.predict(1, 3, &key(&[1])), None);
        assert_eq!(OutputShapes::new(dims.iter(), false).predict(0, 1, &key(&[1])), Some(Shape::new(&[10])));
    }

    #[test]
    fn a_wrong_prediction_is_not_made_again() {
        let dims = [Shape::new(&[-1]), Shape::new(&[4])];
        let mut shapes = OutputShapes::new(dims.iter(), true);
        shapes.learn(0, &key(&[2, 7]), &Shape::new(&[2, 7]));
        assert_eq!(shapes.predict(0, 2, &key(&[2, 7])), Some(Shape::new(&[2, 7])));
        assert_eq!(shapes.predict(0, 2, &key(&[2, 8])), None);
        shapes.was_wrong(0);
        shapes.was_wrong(1);
        shapes.learn(0, &key(&[2, 7]), &Shape::new(&[2, 7]));
        assert_eq!(shapes.predict(0, 2, &key(&[2, 7])), None);
        assert_eq!(shapes.predict(1, 2, &key(&[2, 7])), None);
    }

    proptest! {
        #[test]
        fn the_latest_are_remembered_and_memory_is_bounded(sizes in proptest::collection::vec(0_i64..100, 1..200)) {
            let dims = [Shape::new(&[-1])];
            let mut shapes = OutputShapes::new(dims.iter(), false);
            for &size in &sizes {
                shapes.learn(0, &key(&[1, size]), &Shape::new(&[size]));
                prop_assert_eq!(shapes.predict(0, 1, &key(&[1, size])), Some(Shape::new(&[size])));
                assert!(shapes.learned.len() <= MAXIMUM_LEARNED);
            }
        }
    }
}
