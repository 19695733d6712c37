//! Dimensions of a tensor, outermost first.
//!
//! In a request all dimensions are known and not negative. In a model's contract -1 stands for a
//! dimension that the request chooses.

use smallvec::SmallVec;
use thiserror::Error;

use crate::DataType;

/// Dimensions of a tensor, outermost first; up to six are held without allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[i64; 6]>);

/// Why a shape has no size.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ShapeError {
    /// A dimension is below zero.
    #[error("dimension `{dimension}` is negative")]
    Negative {
        /// The offending dimension.
        dimension: i64,
    },
    /// The element count or byte size is above what a signed 64-bit number holds.
    #[error("element count or byte size exceeds the maximum of `{}`", i64::MAX)]
    Overflow,
}

impl Shape {
    /// A shape of the given dimensions.
    #[must_use]
    pub fn new(dimensions: &[i64]) -> Self {
        Self(SmallVec::from_slice(dimensions))
    }

    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Appends an innermost dimension.
    pub fn push(&mut self, dimension: i64) {
        self.0.push(dimension);
    }

    /// Product of all dimensions; 1 for rank 0.
    ///
    /// # Errors
    /// [`ShapeError`] when a dimension is negative or the product overflows.
    pub fn element_count(&self) -> Result<usize, ShapeError> {
        let mut overflowed = false;
        let mut count: u64 = 1;
        let mut zero = false;
        for &dimension in &self.0 {
            let size = u64::try_from(dimension).map_err(|_| ShapeError::Negative { dimension })?;
            if size == 0 {
                zero = true;
                continue;
            }
            match count.checked_mul(size) {
                Some(product) if product <= i64::MAX as u64 => count = product,
                _ => overflowed = true,
            }
        }
        if zero {
            return Ok(0);
        }
        if overflowed {
            return Err(ShapeError::Overflow);
        }
        usize::try_from(count).map_err(|_| ShapeError::Overflow)
    }

    /// Size in bytes for a fixed-size data type; `None` for [`DataType::Bytes`].
    ///
    /// # Errors
    /// [`ShapeError`] when a dimension is negative or the size overflows.
    pub fn byte_size(&self, data_type: DataType) -> Result<Option<usize>, ShapeError> {
        let count = self.element_count()?;
        let Some(element) = data_type.element_size() else { return Ok(None) };
        match count.checked_mul(element) {
            Some(size) if i64::try_from(size).is_ok() => Ok(Some(size)),
            _ => Err(ShapeError::Overflow),
        }
    }
}

impl std::ops::Deref for Shape {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.0
    }
}

impl std::ops::DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [i64] {
        &mut self.0
    }
}

impl FromIterator<i64> for Shape {
    fn from_iter<I: IntoIterator<Item = i64>>(dimensions: I) -> Self {
        Self(dimensions.into_iter().collect())
    }
}

impl std::fmt::Display for Shape {
    /// Writes `[1,-1,3]`, the form of Triton's messages.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[")?;
        for (index, dimension) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            write!(formatter, "{dimension}")?;
        }
        formatter.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_or_an_error() {
        assert_eq!(Shape::new(&[]).element_count(), Ok(1));
        assert_eq!(Shape::new(&[2, 3]).byte_size(DataType::Fp32), Ok(Some(24)));
        assert_eq!(Shape::new(&[2, 0, 3]).element_count(), Ok(0));
        assert_eq!(Shape::new(&[2]).byte_size(DataType::Bytes), Ok(None));
        assert_eq!(Shape::new(&[2, -1]).element_count(), Err(ShapeError::Negative { dimension: -1 }));
        assert_eq!(Shape::new(&[1 << 4, (1 << 60) + 2]).element_count(), Err(ShapeError::Overflow));
        assert_eq!(Shape::new(&[1 << 2, (1 << 60) + 2]).byte_size(DataType::Fp32), Err(ShapeError::Overflow));
        assert_eq!(Shape::new(&[i64::MAX, i64::MAX, 0]).element_count(), Ok(0));
    }

    #[test]
    fn prints_as_in_messages() {
        assert_eq!(Shape::new(&[1, -1, 3]).to_string(), "[1,-1,3]");
        assert_eq!(Shape::new(&[]).to_string(), "[]");
    }
}
