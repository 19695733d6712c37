//! Sums and differences of tensors, element by element, for every numeric data type.
//!
//! Integers wrap round, as they do in the engines that Triton's add and subtract models run on. Bytes are
//! little-endian and need no alignment.

use half::{bf16, f16};
use hanok_tensor::DataType;

/// What to compute from two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Sum,
    Difference,
}

/// Whether [`combine`] knows `data_type`.
pub(crate) const fn is_numeric(data_type: DataType) -> bool {
    !matches!(data_type, DataType::Bool | DataType::Bytes)
}

/// Writes `left` combined with `right` to `out`, for as many whole elements as all three hold.
pub(crate) fn combine(data_type: DataType, operation: Operation, left: &[u8], right: &[u8], out: &mut [u8]) {
    macro_rules! elements {
        ($element:ty, $sum:expr, $difference:expr) => {{
            let read = <$element>::from_le_bytes;
            match operation {
                Operation::Sum => each(left, right, out, |l, r| $sum(read(l), read(r)).to_le_bytes()),
                Operation::Difference => each(left, right, out, |l, r| $difference(read(l), read(r)).to_le_bytes()),
            }
        }};
    }
    macro_rules! integers {
        ($element:ty) => {
            elements!($element, <$element>::wrapping_add, <$element>::wrapping_sub)
        };
    }
    macro_rules! floats {
        ($element:ty) => {
            elements!($element, |l: $element, r: $element| l + r, |l: $element, r: $element| l - r)
        };
    }
    match data_type {
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 => integers!(u16),
        DataType::Uint32 => integers!(u32),
        DataType::Uint64 => integers!(u64),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Fp16 => floats!(f16),
        DataType::Bf16 => floats!(bf16),
        DataType::Fp32 => floats!(f32),
        DataType::Fp64 => floats!(f64),
        DataType::Bool | DataType::Bytes => {}
    }
}

fn each<const SIZE: usize>(
    left: &[u8],
    right: &[u8],
    out: &mut [u8],
    compute: impl Fn([u8; SIZE], [u8; SIZE]) -> [u8; SIZE],
) {
    let (left, _) = left.as_chunks::<SIZE>();
    let (right, _) = right.as_chunks::<SIZE>();
    let (out, _) = out.as_chunks_mut::<SIZE>();
    for ((result, &left), &right) in out.iter_mut().zip(left).zip(right) {
        *result = compute(left, right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(data_type: DataType, operation: Operation, left: &[u8], right: &[u8]) -> Vec<u8> {
        let mut out = vec![0xAA; left.len()];
        combine(data_type, operation, left, right, &mut out);
        out
    }

    /// Expected bits computed with numpy 2.2 and, for bfloat16, ml_dtypes 0.5.
    #[test]
    fn known_bits() {
        let half = run(DataType::Fp16, Operation::Sum, &[0x00, 0x3c, 0xff, 0x7b], &[0x00, 0x40, 0xff, 0x7b]);
        assert_eq!(half, [0x00, 0x42, 0x00, 0x7c]);
        let brain = run(DataType::Bf16, Operation::Difference, &[0x80, 0x3f], &[0x40, 0x40]);
        assert_eq!(brain, [0x00, 0xc0]);
        assert_eq!(run(DataType::Int8, Operation::Sum, &[0x7f, 0x80], &[1, 0xff]), [0x80, 0x7f]);
        assert_eq!(run(DataType::Uint16, Operation::Difference, &[0, 0], &[1, 0]), [0xff, 0xff]);
    }

    #[test]
    fn every_numeric_type_adds_one_and_one() {
        let ones: [(DataType, &[u8], &[u8]); 12] = [
            (DataType::Uint8, &[1], &[2]),
            (DataType::Uint16, &[1, 0], &[2, 0]),
            (DataType::Uint32, &[1, 0, 0, 0], &[2, 0, 0, 0]),
            (DataType::Uint64, &[1, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0]),
            (DataType::Int8, &[1], &[2]),
            (DataType::Int16, &[1, 0], &[2, 0]),
            (DataType::Int32, &[1, 0, 0, 0], &[2, 0, 0, 0]),
            (DataType::Int64, &[1, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0]),
            (DataType::Fp16, &[0x00, 0x3c], &[0x00, 0x40]),
            (DataType::Bf16, &[0x80, 0x3f], &[0x00, 0x40]),
            (DataType::Fp32, &[0, 0, 0x80, 0x3f], &[0, 0, 0, 0x40]),
            (DataType::Fp64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f], &[0, 0, 0, 0, 0, 0, 0, 0x40]),
        ];
        for (data_type, one, two) in ones {
            assert!(is_numeric(data_type));
            assert_eq!(run(data_type, Operation::Sum, one, one), two, "{data_type}");
            assert_eq!(run(data_type, Operation::Difference, two, one), one, "{data_type}");
        }
    }
}
