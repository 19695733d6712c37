//! The classification extension: the largest values of an output as text (W-56 to W-58).
//!
//! A pure function from a tensor to a BYTES tensor. Equal values keep the order of their indices (Triton leaves it
//! open); NaN comes last.

use std::cmp::Ordering;
use std::fmt::Write as _;

use bytes::Bytes;
use hanok_backend::{OutputTensor, ServingError};
use hanok_tensor::{DataType, Shape, push_bytes_element};

/// Most elements that one classified output may have.
pub const MAX_CLASSIFICATION_ELEMENTS: usize = 1_000_000;

/// Checks the number of classes that a request asks for.
///
/// # Errors
/// `InvalidArgument` for 0 and above [`MAX_CLASSIFICATION_ELEMENTS`].
pub fn check_count(count: u64) -> Result<u32, ServingError> {
    match u32::try_from(count) {
        Ok(count) if count > 0 && count as usize <= MAX_CLASSIFICATION_ELEMENTS => Ok(count),
        _ => Err(ServingError::invalid(format!(
            "classification count must be from `1` to `{MAX_CLASSIFICATION_ELEMENTS}`, got `{count}`"
        ))),
    }
}

/// Checks that outputs of this type can be classified.
///
/// # Errors
/// `InvalidArgument` for BOOL, FP16, BF16 and BYTES.
pub fn check_data_type(data_type: DataType) -> Result<(), ServingError> {
    match data_type {
        DataType::Bool | DataType::Fp16 | DataType::Bf16 | DataType::Bytes => Err(ServingError::invalid(format!(
            "class result not available for output due to unsupported type '{data_type}'"
        ))),
        _ => Ok(()),
    }
}

/// The `count` largest values of `output` as text: value, colon, index, and colon and label where there is one.
///
/// With `batches`, the first dimension is kept and each row classified on its own: shape `[batch, min(count, n)]`,
/// else `[min(count, n)]`. `labels` are by index; it may be shorter than the output, or empty.
///
/// # Errors
/// `InvalidArgument` as [`check_data_type`], or when the result has too many elements; `Internal` when the tensor's
/// bytes contradict its shape.
pub fn classify(
    output: &OutputTensor,
    labels: &[String],
    count: u32,
    batches: bool,
) -> Result<OutputTensor, ServingError> {
    check_data_type(output.data_type)?;
    let element_count = output.shape.element_count().unwrap_or(usize::MAX);
    let Some(size) =
        output.data_type.element_size().filter(|size| element_count.checked_mul(*size) == Some(output.data.len()))
    else {
        return Err(ServingError::internal("output tensor shape does not match its size"));
    };
    let rows = if batches { output.shape.first().map_or(1, |&rows| usize::try_from(rows).unwrap_or(0)) } else { 1 };
    let row_elements = element_count.checked_div(rows).unwrap_or(0);
    let classes = (count as usize).min(row_elements);
    if classes.saturating_mul(rows) > MAX_CLASSIFICATION_ELEMENTS {
        return Err(ServingError::invalid(format!(
            "classification result exceeds the maximum of `{MAX_CLASSIFICATION_ELEMENTS}` elements"
        )));
    }
    let mut data = Vec::with_capacity(classes * rows * 24);
    if classes > 0 {
        for row in output.data.chunks_exact(row_elements * size) {
            classify_row(output.data_type, row, labels, classes, &mut data);
        }
    }
    let class_dimension = i64::try_from(classes).unwrap_or(i64::MAX);
    let shape = match output.shape.first() {
        Some(&rows) if batches => Shape::new(&[rows, class_dimension]),
        _ => Shape::new(&[class_dimension]),
    };
    Ok(OutputTensor { data_type: DataType::Bytes, shape, data: Bytes::from(data) })
}

fn classify_row(data_type: DataType, row: &[u8], labels: &[String], classes: usize, data: &mut Vec<u8>) {
    match data_type {
        DataType::Uint8 => largest::<u8>(row, labels, classes, data),
        DataType::Uint16 => largest::<u16>(row, labels, classes, data),
        DataType::Uint32 => largest::<u32>(row, labels, classes, data),
        DataType::Uint64 => largest::<u64>(row, labels, classes, data),
        DataType::Int8 => largest::<i8>(row, labels, classes, data),
        DataType::Int16 => largest::<i16>(row, labels, classes, data),
        DataType::Int32 => largest::<i32>(row, labels, classes, data),
        DataType::Int64 => largest::<i64>(row, labels, classes, data),
        DataType::Fp32 => largest::<f32>(row, labels, classes, data),
        DataType::Fp64 => largest::<f64>(row, labels, classes, data),
        DataType::Bool | DataType::Fp16 | DataType::Bf16 | DataType::Bytes => {}
    }
}

/// A value that can be ranked and printed.
trait ClassValue: Copy {
    fn read_all(row: &[u8]) -> Vec<Self>;
    /// Larger first, NaN last.
    fn rank(self, other: Self) -> Ordering;
    fn print(self, text: &mut String);
}

macro_rules! class_value {
    ($value:ty, $rank:expr, $print:expr) => {
        impl ClassValue for $value {
            fn read_all(row: &[u8]) -> Vec<Self> {
                let (chunks, _) = row.as_chunks::<{ size_of::<$value>() }>();
                chunks.iter().map(|chunk| Self::from_le_bytes(*chunk)).collect()
            }

            fn rank(self, other: Self) -> Ordering {
                $rank(self, other)
            }

            fn print(self, text: &mut String) {
                $print(self, text);
            }
        }
    };
    (integer $($value:ty)+) => {
        $(class_value!($value, |left: Self, right: Self| right.cmp(&left), |value: Self, text: &mut String| {
            text.push_str(itoa::Buffer::new().format(value));
        });)+
    };
    (float $($value:ty)+) => {
        $(class_value!($value, |left: Self, right: Self| {
            right.partial_cmp(&left).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
        }, |value: Self, text: &mut String| {
            // Writing to a String cannot fail. C's printf writes `nan`, and no sign before it.
            let _written = if value.is_nan() { write!(text, "nan") } else { write!(text, "{value:.6}") };
        });)+
    };
}

class_value!(integer u8 u16 u32 u64 i8 i16 i32 i64);
class_value!(float f32 f64);

fn largest<V: ClassValue>(row: &[u8], labels: &[String], classes: usize, data: &mut Vec<u8>) {
    let values = V::read_all(row);
    let mut indices: Vec<usize> = (0..values.len()).collect();
    let by_rank = |left: &usize, right: &usize| values[*left].rank(values[*right]).then(left.cmp(right));
    if classes < indices.len() {
        indices.select_nth_unstable_by(classes, by_rank);
        indices.truncate(classes);
    }
    indices.sort_unstable_by(by_rank);
    let mut text = String::with_capacity(32);
    for index in indices {
        text.clear();
        values[index].print(&mut text);
        text.push(':');
        text.push_str(itoa::Buffer::new().format(index));
        if let Some(label) = labels.get(index) {
            text.push(':');
            text.push_str(label);
        }
        push_bytes_element(data, text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use hanok_tensor::BytesElements;
    use proptest::prelude::*;

    use super::*;

    fn tensor(values: &[f32], shape: &[i64]) -> OutputTensor {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        OutputTensor { data_type: DataType::Fp32, shape: Shape::new(shape), data: data.into() }
    }

    fn texts(output: &OutputTensor) -> Vec<String> {
        BytesElements::new(&output.data).map(|e| String::from_utf8(e.unwrap().to_vec()).unwrap()).collect()
    }

    #[test]
    fn w56_shape_follows_the_batch() {
        let output = tensor(&[0.1, 0.7, 0.2, 3.0, 2.0, 1.0], &[2, 3]);
        let classes = classify(&output, &[], 2, true).unwrap();
        assert_eq!((classes.data_type, &classes.shape[..]), (DataType::Bytes, &[2_i64, 2][..]));
        assert_eq!(texts(&classes), ["0.700000:1", "0.200000:2", "3.000000:0", "2.000000:1"]);
        let classes = classify(&output, &[], 99, false).unwrap();
        assert_eq!(&classes.shape[..], [6]);
        assert_eq!(texts(&classes)[0], "3.000000:3");
    }

    #[test]
    fn w57_text_has_value_index_and_label() {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let classes = classify(&tensor(&[f32::NAN, 1e10, -0.5], &[3]), &labels, 3, false).unwrap();
        assert_eq!(texts(&classes), ["10000000000.000000:1:dog", "-0.500000:2", "nan:0:cat"]);
        let integers = OutputTensor {
            data_type: DataType::Int8,
            shape: Shape::new(&[1, 3]),
            data: Bytes::from_static(&[5, 255, 5]),
        };
        assert_eq!(texts(&classify(&integers, &[], 3, true).unwrap()), ["5:0", "5:2", "-1:1"]);
    }

    #[test]
    fn w58_limits_and_types() {
        for data_type in [DataType::Bytes, DataType::Bool, DataType::Fp16, DataType::Bf16] {
            assert!(check_data_type(data_type).is_err());
        }
        assert!(check_count(0).is_err());
        assert!(check_count(1 << 31).is_err());
        assert!(check_count(1_000_001).is_err());
        assert_eq!(check_count(1_000_000), Ok(1_000_000));
        let wide = OutputTensor {
            data_type: DataType::Uint8,
            shape: Shape::new(&[1_000_001]),
            data: vec![0; 1_000_001].into(),
        };
        assert!(classify(&wide, &[], 1_000_000, false).is_ok());
        let rows = OutputTensor { shape: Shape::new(&[1_000_001, 1]), ..wide };
        assert!(classify(&rows, &[], 1, true).is_err());
    }

    #[test]
    fn empty_and_contradictory_tensors() {
        assert_eq!(&classify(&tensor(&[], &[0, 3]), &[], 2, true).unwrap().shape[..], [0, 0]);
        assert_eq!(&classify(&tensor(&[], &[2, 0]), &[], 2, true).unwrap().shape[..], [2, 0]);
        assert!(classify(&tensor(&[1.0], &[2]), &[], 2, false).is_err());
    }

    proptest! {
        #[test]
        fn picks_what_a_full_sort_picks(values in proptest::collection::vec(-100_i32..100, 1..50), count in 1_u32..60) {
            let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let length = i64::try_from(values.len()).unwrap();
            let output = OutputTensor { data_type: DataType::Int32, shape: Shape::new(&[length]), data: data.into() };
            let mut sorted: Vec<(i32, usize)> = values.iter().copied().zip(0..).collect();
            sorted.sort_by_key(|&(value, index)| (-value, index));
            let expected: Vec<String> = sorted.iter().take(count as usize).map(|(v, i)| format!("{v}:{i}")).collect();
            prop_assert_eq!(texts(&classify(&output, &[], count, false).unwrap()), expected);
        }
    }
}
