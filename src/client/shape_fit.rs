//! How the shape that a person gave becomes the shape that a model wants.
//!
//! A pure function; it guesses only when one reading is possible. In a contract -1 is a dimension that the request
//! chooses, and a leading -1 is usually the batch.

use hanok_tensor::Shape;

/// Fits `given` (the dimensions of the lists or of the file) to `contract`.
///
/// Accepts, in this order: a shape that agrees; one that lacks only the leading batch dimension; a flat list or scalar
/// whose element count leaves one reading, where a variable leading dimension counts as batch 1 if others vary too.
/// The error says what was expected.
pub(crate) fn fit_shape(given: &[i64], contract: &[i64]) -> Result<Shape, String> {
    if agrees(given, contract) {
        return Ok(Shape::new(given));
    }
    if let [-1, row @ ..] = contract
        && agrees(given, row)
    {
        return Ok([1].into_iter().chain(given.iter().copied()).collect());
    }
    if given.len() <= 1 {
        let elements = given.first().copied().unwrap_or(1);
        if let Some(shape) = shape_of_elements(elements, contract) {
            return Ok(shape);
        }
    }
    Err(format!("expected shape {}, actual {}", Shape::new(contract), Shape::new(given)))
}

/// The one shape within `contract` that holds `elements`; `None` when there is none, or more than one.
pub(crate) fn shape_of_elements(elements: i64, contract: &[i64]) -> Option<Shape> {
    let fixed = contract.iter().filter(|&&dimension| dimension >= 0).try_fold(1_i64, |a, &b| a.checked_mul(b))?;
    let variable = contract.iter().filter(|&&dimension| dimension < 0).count();
    let free = match variable {
        0 if fixed == elements => return Some(Shape::new(contract)),
        0 => return None,
        _ if fixed == 0 || elements % fixed != 0 => return None,
        _ => elements / fixed,
    };
    match (variable, contract) {
        (1, _) => Some(contract.iter().map(|&dimension| if dimension < 0 { free } else { dimension }).collect()),
        (2, [-1, rest @ ..]) => {
            let row = rest.iter().map(|&dimension| if dimension < 0 { free } else { dimension });
            Some([1].into_iter().chain(row).collect())
        }
        _ => None,
    }
}

fn agrees(given: &[i64], contract: &[i64]) -> bool {
    given.len() == contract.len() && given.iter().zip(contract).all(|(&have, &want)| want < 0 || have == want)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_reading_or_an_error() {
        let fits = |given: &[i64], contract: &[i64]| fit_shape(given, contract).map(|shape| shape.to_vec());
        assert_eq!(fits(&[2, 4], &[-1, 4]).unwrap(), [2, 4]);
        assert_eq!(fits(&[4], &[-1, 4]).unwrap(), [1, 4]);
        assert_eq!(fits(&[8], &[-1, 4]).unwrap(), [2, 4]);
        assert_eq!(fits(&[], &[-1, 1]).unwrap(), [1, 1]);
        assert_eq!(fits(&[], &[1]).unwrap(), [1]);
        assert_eq!(fits(&[64], &[-1, 1, 8, 8]).unwrap(), [1, 1, 8, 8]);
        assert_eq!(fits(&[8, 8], &[8, 8]).unwrap(), [8, 8]);
        assert_eq!(fits(&[7], &[-1, -1]).unwrap(), [1, 7]);
        assert_eq!(fits(&[7], &[-1]).unwrap(), [7]);
        assert_eq!(fits(&[8, 8], &[-1, 1, 8, 8]).unwrap_err(), "expected shape [-1,1,8,8], actual [8,8]");
        assert!(fits(&[5], &[-1, 4]).is_err());
        assert!(fits(&[12], &[-1, 3, -1, -1]).is_err());
        assert!(fits(&[3], &[-1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn elements_are_never_lost(
            given in proptest::collection::vec(0_i64..5, 0..4),
            contract in proptest::collection::vec(-1_i64..5, 0..5),
        ) {
            if let Ok(shape) = fit_shape(&given, &contract) {
                prop_assert_eq!(shape.iter().product::<i64>(), given.iter().product::<i64>());
                prop_assert!(agrees(&shape, &contract));
            }
        }
    }
}
