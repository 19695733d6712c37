//! One output of a model, as the comparison reads it.

use hanok_tensor::{DataType, Shape, count_bytes_elements};

/// One output: a view of somebody else's tensor.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Name.
    pub name: &'a str,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions, outermost first.
    pub shape: &'a Shape,
    /// Elements in row-major order, little-endian; `BYTES` with a 4-byte length before each element.
    pub data: &'a [u8],
}

impl Output<'_> {
    /// Number of elements, if the data are as long as data type and shape say.
    pub(crate) fn element_count(&self) -> Option<usize> {
        let count = self.shape.element_count().ok()?;
        let fits = match self.shape.byte_size(self.data_type).ok()? {
            Some(size) => size == self.data.len(),
            None => count_bytes_elements(self.data) == Ok(count),
        };
        fits.then_some(count)
    }

    /// Elements in one row: the innermost dimension, 1 for rank 0.
    pub(crate) fn row_length(&self) -> usize {
        self.shape.last().and_then(|&length| usize::try_from(length).ok()).unwrap_or(1)
    }
}
