//! From the dimensions that clients use to those that a model uses, and back (Triton's `reshape`).
//!
//! Only dimensions change; the bytes stay as they are, so nothing is copied. The rule is Triton's: the -1 of the one
//! form stand, in order, for the -1 of the other (documentation of the model configuration, section "Reshape").

use hanok_model_config::{InputSpec, OutputSpec};
use hanok_tensor::Shape;

/// The shape in which the model wants an input that a client sent as `shape`.
///
/// That is `shape` itself where there is no `reshape`. `None` when `shape` does not fit the contract's dimensions.
#[must_use]
pub fn model_input_shape(input: &InputSpec, shape: &Shape, batches: bool) -> Option<Shape> {
    match &input.reshape {
        Some(reshape) => reshaped(shape, &input.dims, reshape, batches),
        None => Some(shape.clone()),
    }
}

/// The shape in which a client sees an output that the model gave as `shape`.
///
/// That is `shape` itself where there is no `reshape`. `None` when `shape` does not fit the contract's dimensions.
#[must_use]
pub fn client_output_shape(output: &OutputSpec, shape: &Shape, batches: bool) -> Option<Shape> {
    match &output.reshape {
        Some(reshape) => reshaped(shape, reshape, &output.dims, batches),
        None => Some(shape.clone()),
    }
}

fn reshaped(shape: &[i64], from: &[i64], to: &[i64], batches: bool) -> Option<Shape> {
    let outer = usize::from(batches);
    let (batch_dimension, inner) = shape.split_at_checked(outer)?;
    if inner.len() != from.len() {
        return None;
    }
    let mut variable = Vec::new();
    for (&actual, &declared) in inner.iter().zip(from) {
        if declared == -1 {
            variable.push(actual);
        } else if declared != actual {
            return None;
        }
    }
    let mut variable = variable.into_iter();
    let mut result = Shape::new(batch_dimension);
    for &declared in to {
        result.push(if declared == -1 { variable.next()? } else { declared });
    }
    variable.next().is_none().then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_dimensions_keep_their_order() {
        let shape = Shape::new(&[7, 1, 5, 2, 9]);
        assert_eq!(reshaped(&shape, &[1, -1, 2, -1], &[-1, 2, -1, 1], true), Some(Shape::new(&[7, 5, 2, 9, 1])));
        assert_eq!(reshaped(&Shape::new(&[4]), &[], &[1], true), Some(Shape::new(&[4, 1])));
        assert_eq!(reshaped(&Shape::new(&[4]), &[4], &[2, 2], false), Some(Shape::new(&[2, 2])));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(reshaped(&Shape::new(&[4, 3]), &[4], &[4], true), None);
        assert_eq!(reshaped(&Shape::new(&[4]), &[-1], &[4], false), None);
        assert_eq!(reshaped(&Shape::new(&[]), &[1], &[1], true), None);
    }
}
