//! Sums and differences of numbers that are written as decimal texts in `BYTES` tensors (Triton's `simple_string`).
//!
//! Numbers are signed 64-bit; one that does not fit, and a result that does not, is the client's mistake.

use hanok_backend::ServingError;
use hanok_tensor::{BytesElements, push_bytes_element};

use crate::arithmetic::Operation;

/// Names of the two inputs, for messages.
pub(crate) type InputNames<'a> = [&'a str; 2];

/// The encoded `BYTES` tensor of the results.
pub(crate) fn combine(
    operation: Operation,
    names: InputNames<'_>,
    left: &[u8],
    right: &[u8],
) -> Result<Vec<u8>, ServingError> {
    let mut results = Vec::with_capacity(left.len());
    let mut right = BytesElements::new(right);
    for (index, left) in BytesElements::new(left).enumerate() {
        let left = number(names[0], index, left)?;
        let Some(right) = right.next() else {
            return Err(ServingError::invalid(format!(
                "input `{}` must have as many elements as `{}`",
                names[1], names[0]
            )));
        };
        let right = number(names[1], index, right)?;
        let result = match operation {
            Operation::Sum => left.checked_add(right),
            Operation::Difference => left.checked_sub(right),
        };
        let Some(result) = result else {
            return Err(ServingError::invalid(format!(
                "the result of element `{index}` exceeds a signed 64-bit integer"
            )));
        };
        push_bytes_element(&mut results, result.to_string().as_bytes());
    }
    if right.next().is_some() {
        return Err(ServingError::invalid(format!(
            "input `{}` must have as many elements as `{}`",
            names[1], names[0]
        )));
    }
    Ok(results)
}

fn number(
    name: &str,
    index: usize,
    element: Result<&[u8], hanok_tensor::BytesElementError>,
) -> Result<i64, ServingError> {
    let element = element.map_err(|error| ServingError::invalid(format!("input `{name}`: {error}")))?;
    std::str::from_utf8(element).ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        let shown = element[..element.len().min(32)].escape_ascii();
        ServingError::invalid(format!(
            "element `{index}` of input `{name}` must be a decimal 64-bit integer, got `{shown}`"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn tensor(texts: &[&str]) -> Vec<u8> {
        let mut data = Vec::new();
        for text in texts {
            push_bytes_element(&mut data, text.as_bytes());
        }
        data
    }

    #[test]
    fn texts_are_added_and_subtracted() {
        let (left, right) = (tensor(&["1", "-7", "40"]), tensor(&["2", "7", "-2"]));
        assert_eq!(combine(Operation::Sum, ["A", "B"], &left, &right).unwrap(), tensor(&["3", "0", "38"]));
        assert_eq!(combine(Operation::Difference, ["A", "B"], &left, &right).unwrap(), tensor(&["-1", "-14", "42"]));
    }

    #[test]
    fn what_is_no_number_is_named() {
        let message = |left: &[&str], right: &[&str]| {
            combine(Operation::Sum, ["A", "B"], &tensor(left), &tensor(right)).unwrap_err().message().to_owned()
        };
        assert_eq!(
            message(&["1", "2"], &["1", "1.5"]),
            "element `1` of input `B` must be a decimal 64-bit integer, got `1.5`"
        );
        assert_eq!(
            message(&["\u{1}"], &["1"]),
            "element `0` of input `A` must be a decimal 64-bit integer, got `\\x01`"
        );
        assert_eq!(message(&["1"], &[]), "input `B` must have as many elements as `A`");
        assert_eq!(message(&["1"], &["1", "1"]), "input `B` must have as many elements as `A`");
        assert_eq!(
            message(&["9223372036854775807"], &["1"]),
            "the result of element `0` exceeds a signed 64-bit integer"
        );
    }
}
