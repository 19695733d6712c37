//! From the tensors of one or several runs to the bytes of a batch's output.
//!
//! The memory of a tensor that came from one run is handed over as it is, cut to the real rows; several runs are
//! joined by a copy.

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_tensor::{Shape, push_bytes_element};
use tract_onnx::prelude::{DatumType, TValue, Tensor, TractResult};

use crate::contract::Port;

/// One output of a batch while its runs are made.
#[derive(Debug, Default)]
pub(crate) struct OutputWriter {
    inner: Option<Shape>,
    rows: usize,
    data: Vec<u8>,
    whole: Option<Bytes>,
}

/// A tensor whose bytes are read by whoever holds the output.
struct TensorBytes(TValue);

impl AsRef<[u8]> for TensorBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl OutputWriter {
    /// Takes the first `rows` rows of a run that computed `run_rows` of `total` rows.
    ///
    /// # Errors
    /// `Internal` when the tensor does not have one row per row of the run.
    pub(crate) fn add_rows(
        &mut self,
        port: &Port,
        value: TValue,
        (rows, run_rows, total): (usize, usize, usize),
    ) -> Result<(), ServingError> {
        let (Some(&outer), inner) = (value.shape().first(), value.shape().get(1..).unwrap_or_default()) else {
            return Err(no_rows(port, &value, run_rows));
        };
        let inner = signed(inner);
        if outer != run_rows || self.inner.as_ref().is_some_and(|first| *first != inner) {
            return Err(no_rows(port, &value, run_rows));
        }
        let bytes = bytes_of(value, Some((rows, run_rows))).map_err(|error| unreadable(port, &error))?;
        self.inner = Some(inner);
        self.rows += rows;
        if rows == total {
            self.whole = Some(bytes);
        } else {
            if self.data.is_empty() {
                self.data.reserve(bytes.len().div_ceil(rows.max(1)).saturating_mul(total));
            }
            self.data.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// Shape with its rows, and bytes, of everything that was added.
    pub(crate) fn finish(self) -> (Shape, Bytes) {
        let mut shape = Shape::new(&[i64::try_from(self.rows).unwrap_or(i64::MAX)]);
        self.inner.iter().flat_map(|inner| inner.iter()).for_each(|&dimension| shape.push(dimension));
        (shape, self.whole.unwrap_or_else(|| Bytes::from(self.data)))
    }
}

/// Shape and bytes of a tensor of a model that does not batch.
///
/// # Errors
/// `Internal` when a symbolic dimension could not be worked out.
pub(crate) fn whole(port: &Port, value: TValue) -> Result<(Shape, Bytes), ServingError> {
    let shape = signed(value.shape());
    let bytes = bytes_of(value, None).map_err(|error| unreadable(port, &error))?;
    Ok((shape, bytes))
}

fn signed(shape: &[usize]) -> Shape {
    shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

fn no_rows(port: &Port, value: &Tensor, run_rows: usize) -> ServingError {
    ServingError::internal(format!("output '{}' does not have one row per input row", port.name))
        .with_operator_detail(format!("expected {run_rows} rows, got shape {:?}", value.shape()))
}

fn unreadable(port: &Port, error: &tract_onnx::prelude::TractError) -> ServingError {
    ServingError::internal(format!("output '{}' could not be read", port.name))
        .with_operator_detail(format!("{error:#}"))
}

/// The bytes of a tensor, or of the first rows of it: `(rows, of how many)`.
fn bytes_of(value: TValue, cut: Option<(usize, usize)>) -> TractResult<Bytes> {
    let part = |length: usize| cut.map_or(length, |(rows, all)| length / all.max(1) * rows);
    let value = match value.datum_type() {
        DatumType::TDim => TValue::from(value.cast_to::<i64>()?.into_owned()),
        DatumType::String => {
            let view = value.try_as_plain_ram()?;
            let texts = view.as_slice::<String>()?;
            let mut encoded = Vec::with_capacity(texts.iter().map(|text| text.len() + 4).sum());
            for text in &texts[..part(texts.len())] {
                push_bytes_element(&mut encoded, text.as_bytes());
            }
            return Ok(Bytes::from(encoded));
        }
        _ => value,
    };
    let length = value.try_as_plain_ram()?.as_bytes().len();
    Ok(Bytes::from_owner(TensorBytes(value)).slice(..part(length)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hanok_tensor::{DataType, Shape};
    use tract_onnx::prelude::{TDim, TValue, Tensor, tensor1, tensor2};

    use super::{OutputWriter, whole};
    use crate::contract::Port;

    fn port() -> Port {
        Port { name: "y".to_owned(), data_type: DataType::Int8, dims: Shape::new(&[2]) }
    }

    fn value(tensor: Tensor) -> TValue {
        TValue::from(tensor)
    }

    #[test]
    fn one_run_is_handed_over_without_its_padding() {
        let tensor = value(tensor2(&[[1_i8, 2], [3, 4], [9, 9]]));
        let address = tensor.as_bytes().as_ptr();
        let mut writer = OutputWriter::default();
        writer.add_rows(&port(), tensor, (2, 3, 2)).unwrap();
        let (shape, bytes) = writer.finish();
        assert_eq!((shape, &bytes[..]), (Shape::new(&[2, 2]), &[1, 2, 3, 4][..]));
        assert_eq!(bytes.as_ptr(), address);
    }

    #[test]
    fn several_runs_are_joined() {
        let mut writer = OutputWriter::default();
        writer.add_rows(&port(), value(tensor2(&[[1_i8, 2], [3, 4]])), (2, 2, 3)).unwrap();
        writer.add_rows(&port(), value(tensor2(&[[5_i8, 6], [9, 9]])), (1, 2, 3)).unwrap();
        let (shape, bytes) = writer.finish();
        assert_eq!((shape, &bytes[..]), (Shape::new(&[3, 2]), &[1, 2, 3, 4, 5, 6][..]));
    }

    #[test]
    fn outputs_without_rows_are_refused() {
        let mut writer = OutputWriter::default();
        let error = writer.add_rows(&port(), value(tensor1(&[1_i8, 2, 3])), (2, 2, 2)).unwrap_err();
        assert_eq!(error.message(), "output 'y' does not have one row per input row");
    }

    #[test]
    fn dimensions_become_integers_and_texts_are_encoded() {
        let (_, bytes) = whole(&port(), value(tensor1(&[TDim::from(7)]))).unwrap();
        assert_eq!(&bytes[..], 7_i64.to_le_bytes());
        let (shape, bytes) = whole(&port(), value(tensor1(&["ab".to_owned(), String::new()]))).unwrap();
        assert_eq!((shape, &bytes[..]), (Shape::new(&[2]), &[2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0][..]));
    }
}
