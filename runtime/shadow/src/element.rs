//! Fixed-size elements as numbers that can be subtracted and ranked.

use std::cmp::Ordering;

use half::{bf16, f16};
use hanok_tensor::DataType;

/// A number of a tensor.
pub(crate) trait Element: Copy {
    /// Reads one element from exactly its bytes.
    fn read(bytes: &[u8]) -> Self;

    /// The value in FP64: exact for all types but 64-bit integers, which are rounded.
    fn widen(self) -> f64;

    /// Distance of two values; NaN when one is. Exact before the last rounding to FP64.
    fn distance(self, other: Self) -> f64;

    /// Order of values, NaN above all and equal to itself.
    fn rank(self, other: Self) -> Ordering;
}

macro_rules! integer_elements {
    ($($number:ty),*) => { $(
        impl Element for $number {
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0, Self::from_le_bytes)
            }

            fn widen(self) -> f64 {
                self as f64
            }

            fn distance(self, other: Self) -> f64 {
                self.abs_diff(other) as f64
            }

            fn rank(self, other: Self) -> Ordering {
                self.cmp(&other)
            }
        }
    )* };
}

macro_rules! float_elements {
    ($($number:ty),*) => { $(
        impl Element for $number {
            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(<$number>::NAN, Self::from_le_bytes)
            }

            fn widen(self) -> f64 {
                f64::from(self)
            }

            fn distance(self, other: Self) -> f64 {
                (f64::from(self) - f64::from(other)).abs()
            }

            fn rank(self, other: Self) -> Ordering {
                self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
            }
        }
    )* };
}

integer_elements!(u8, u16, u32, u64, i8, i16, i32, i64);
float_elements!(f16, bf16, f32, f64);

/// Work on tensors whose element type is known only at run time.
pub(crate) trait ElementWork {
    /// What comes out.
    type Result;

    /// Does it for elements `E`.
    fn run<E: Element>(self) -> Self::Result;
}

/// Does `work` for the elements of `data_type`; `None` for `BYTES`, which are no numbers. `BOOL` is 0 and 1.
pub(crate) fn with_element<W: ElementWork>(data_type: DataType, work: W) -> Option<W::Result> {
    Some(match data_type {
        DataType::Bool | DataType::Uint8 => work.run::<u8>(),
        DataType::Uint16 => work.run::<u16>(),
        DataType::Uint32 => work.run::<u32>(),
        DataType::Uint64 => work.run::<u64>(),
        DataType::Int8 => work.run::<i8>(),
        DataType::Int16 => work.run::<i16>(),
        DataType::Int32 => work.run::<i32>(),
        DataType::Int64 => work.run::<i64>(),
        DataType::Fp16 => work.run::<f16>(),
        DataType::Bf16 => work.run::<bf16>(),
        DataType::Fp32 => work.run::<f32>(),
        DataType::Fp64 => work.run::<f64>(),
        DataType::Bytes => return None,
    })
}
