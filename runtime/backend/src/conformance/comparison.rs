//! Whether outputs are those expected: equal, or near enough where they are floating-point numbers.

use half::{bf16, f16};
use hanok_tensor::DataType;

use super::execution::Outcome;
use super::fixture::{Sample, Tolerance};
use crate::OutputTensor;

/// Compares what a request got with all of a sample's expected outputs.
pub(super) fn outcome_matches(outcome: &Outcome, sample: &Sample) -> Result<(), String> {
    let outputs = outcome.outputs()?;
    if outcome.sent_after_end > 0 {
        return Err("something was sent after the final response".to_owned());
    }
    if outputs.len() != sample.expected.len() {
        return Err(format!("expected {} outputs, got {}", sample.expected.len(), outputs.len()));
    }
    for (index, (actual, expected)) in outputs.into_iter().zip(&sample.expected).enumerate() {
        let actual = actual.ok_or_else(|| format!("output {index} is missing"))?;
        tensor_matches(actual, expected, sample.tolerance).map_err(|error| format!("output {index}: {error}"))?;
    }
    Ok(())
}

pub(super) fn tensor_matches(
    actual: &OutputTensor,
    expected: &OutputTensor,
    tolerance: Tolerance,
) -> Result<(), String> {
    if actual.data_type != expected.data_type {
        return Err(format!("expected data type {}, got {}", expected.data_type, actual.data_type));
    }
    if actual.shape != expected.shape {
        return Err(format!("expected shape {}, got {}", expected.shape, actual.shape));
    }
    if actual.data.len() != expected.data.len() {
        return Err(format!("expected {} bytes, got {}", expected.data.len(), actual.data.len()));
    }
    let Some(read) = float_reader(expected.data_type) else {
        if actual.data == expected.data {
            return Ok(());
        }
        let position = actual.data.iter().zip(&expected.data).position(|(left, right)| left != right).unwrap_or(0);
        return Err(format!("bytes differ first at {position}"));
    };
    let size = expected.data_type.element_size().unwrap_or(1);
    let pairs = actual.data.chunks_exact(size).zip(expected.data.chunks_exact(size));
    for (index, (actual, expected)) in pairs.enumerate() {
        let (value, wanted) = (read(actual), read(expected));
        let near = (value - wanted).abs() <= tolerance.absolute + tolerance.relative * wanted.abs();
        if !(near || actual == expected || (value.is_nan() && wanted.is_nan())) {
            return Err(format!("element {index}: expected {wanted}, got {value}"));
        }
    }
    Ok(())
}

fn float_reader(data_type: DataType) -> Option<fn(&[u8]) -> f64> {
    fn fixed<const SIZE: usize>(bytes: &[u8]) -> [u8; SIZE] {
        bytes.first_chunk().copied().unwrap_or([0; SIZE])
    }
    match data_type {
        DataType::Fp16 => Some(|bytes| f16::from_le_bytes(fixed(bytes)).to_f64()),
        DataType::Bf16 => Some(|bytes| bf16::from_le_bytes(fixed(bytes)).to_f64()),
        DataType::Fp32 => Some(|bytes| f64::from(f32::from_le_bytes(fixed(bytes)))),
        DataType::Fp64 => Some(|bytes| f64::from_le_bytes(fixed(bytes))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hanok_tensor::Shape;

    use super::*;

    fn floats(values: &[f32]) -> OutputTensor {
        OutputTensor {
            data_type: DataType::Fp32,
            shape: Shape::new(&[i64::try_from(values.len()).unwrap_or(0)]),
            data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
        }
    }

    #[test]
    fn only_what_is_near_matches() {
        let tolerance = Tolerance { absolute: 0.01, relative: 0.1 };
        let expected = floats(&[1.0, -10.0, f32::NAN]);
        assert_eq!(tensor_matches(&floats(&[1.1, -9.0, f32::NAN]), &expected, tolerance), Ok(()));
        assert!(tensor_matches(&floats(&[1.12, -10.0, f32::NAN]), &expected, tolerance).is_err());
        assert!(tensor_matches(&floats(&[1.0, -10.0, 0.0]), &expected, tolerance).is_err());
        assert!(tensor_matches(&floats(&[f32::NAN, -10.0, f32::NAN]), &expected, tolerance).is_err());
        assert!(tensor_matches(&floats(&[1.0, -10.0]), &expected, tolerance).is_err());
    }
}
