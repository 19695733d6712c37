//! From the bytes of a batch to the tensors of a run: the one copy that tract, which owns its tensors, cannot avoid.
//!
//! Rows that a run has too many repeat the last real one: values that the model may meet, whose results are cut off.

use hanok_backend::ServingError;
use hanok_tensor::{BytesElements, DataType, Shape, count_bytes_elements};
use tract_onnx::prelude::{Tensor, TractResult};

use crate::contract::Port;

/// One input of a batch, read front to back.
#[derive(Debug)]
pub(crate) struct InputReader<'a> {
    data_type: DataType,
    rest: &'a [u8],
    elements_per_row: usize,
}

impl<'a> InputReader<'a> {
    /// A reader of `data`, which holds `rows` rows of the model's `shape`.
    ///
    /// # Errors
    /// `InvalidArgument` when the bytes are not as many as the shape says.
    pub(crate) fn new(port: &Port, shape: &Shape, rows: usize, data: &'a [u8]) -> Result<Self, ServingError> {
        let of_input = |error: &dyn std::fmt::Display| ServingError::invalid(format!("input '{}': {error}", port.name));
        let elements = shape.element_count().map_err(|error| of_input(&error))?;
        match shape.byte_size(port.data_type).map_err(|error| of_input(&error))? {
            Some(expected) if expected != data.len() => {
                return Err(ServingError::invalid(format!(
                    "unexpected total byte size {} for input '{}', expecting {expected}",
                    data.len(),
                    port.name
                )));
            }
            Some(_) => {}
            None => {
                let actual = count_bytes_elements(data).map_err(|error| of_input(&error))?;
                if actual != elements {
                    return Err(ServingError::invalid(format!(
                        "unexpected number of string elements {actual} for input '{}', expecting {elements}",
                        port.name
                    )));
                }
            }
        }
        Ok(Self { data_type: port.data_type, rest: data, elements_per_row: elements / rows.max(1) })
    }

    /// Writes the next `rows` rows into `tensor`, and the last of them again into what is left of it.
    ///
    /// # Errors
    /// `InvalidArgument` for a text that is not UTF-8, which tract cannot hold.
    pub(crate) fn fill(&mut self, port: &Port, tensor: &mut Tensor, rows: usize) -> Result<(), ServingError> {
        let failed = |error: tract_onnx::prelude::TractError| {
            ServingError::internal("an input tensor could not be written").with_operator_detail(format!("{error:#}"))
        };
        let Some(element_size) = self.data_type.element_size() else {
            return self.fill_texts(port, tensor, rows).map_err(failed)?;
        };
        let row = self.elements_per_row * element_size;
        let (here, rest) = self.rest.split_at((rows * row).min(self.rest.len()));
        self.rest = rest;
        if here.is_empty() {
            return Ok(());
        }
        let (real, padding) = tensor.as_bytes_mut().split_at_mut(here.len());
        if self.data_type == DataType::Bool {
            // Any other byte would be no value of the type.
            real.iter_mut().zip(here).for_each(|(to, &from)| *to = u8::from(from != 0));
        } else {
            real.copy_from_slice(here);
        }
        let last = &real[real.len() - row..];
        padding.chunks_exact_mut(row).for_each(|to| to.copy_from_slice(last));
        Ok(())
    }

    fn fill_texts(&mut self, port: &Port, tensor: &mut Tensor, rows: usize) -> TractResult<Result<(), ServingError>> {
        let mut view = tensor.try_as_plain_ram_mut()?;
        let texts = view.as_slice_mut::<String>()?;
        let (real, padding) = texts.split_at_mut((rows * self.elements_per_row).min(texts.len()));
        let mut elements = BytesElements::new(self.rest);
        for text in real.iter_mut() {
            let bytes = elements.next().and_then(Result::ok).unwrap_or_default();
            let Ok(read) = std::str::from_utf8(bytes) else {
                return Ok(Err(ServingError::invalid(format!(
                    "input '{}' holds a string that is not valid UTF-8, which backend 'tract' cannot read",
                    port.name
                ))));
            };
            text.clear();
            text.push_str(read);
        }
        self.rest = elements.rest();
        if self.elements_per_row > 0 {
            for row in padding.chunks_exact_mut(self.elements_per_row) {
                let last = &real[real.len() - self.elements_per_row..];
                row.iter_mut().zip(last).for_each(|(to, from)| to.clone_from(from));
            }
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hanok_tensor::{DataType, Shape, push_bytes_element};
    use tract_onnx::prelude::{Tensor, tensor1};

    use super::InputReader;
    use crate::contract::Port;

    fn port(data_type: DataType) -> Port {
        Port { name: "x".to_owned(), data_type, dims: Shape::new(&[2]) }
    }

    #[test]
    fn padding_repeats_the_last_row() {
        let port = port(DataType::Int8);
        let mut reader = InputReader::new(&port, &Shape::new(&[3, 2]), 3, &[1, 2, 3, 4, 5, 6]).unwrap();
        let mut tensor = Tensor::zero::<i8>(&[2, 2]).unwrap();
        reader.fill(&port, &mut tensor, 2).unwrap();
        assert_eq!(tensor.as_bytes(), [1, 2, 3, 4]);
        reader.fill(&port, &mut tensor, 1).unwrap();
        assert_eq!(tensor.as_bytes(), [5, 6, 5, 6]);
    }

    #[test]
    fn booleans_are_made_valid() {
        let port = port(DataType::Bool);
        let mut reader = InputReader::new(&port, &Shape::new(&[1, 2]), 1, &[0, 7]).unwrap();
        let mut tensor = Tensor::zero_dt(tract_onnx::prelude::DatumType::Bool, &[1, 2]).unwrap();
        reader.fill(&port, &mut tensor, 1).unwrap();
        assert_eq!(tensor.as_bytes(), [0, 1]);
    }

    #[test]
    fn texts_are_read_and_padded() {
        let port = port(DataType::Bytes);
        let mut data = Vec::new();
        for text in ["a", "", "ccc", "d"] {
            push_bytes_element(&mut data, text.as_bytes());
        }
        let mut reader = InputReader::new(&port, &Shape::new(&[2, 2]), 2, &data).unwrap();
        let mut tensor = tensor1(&vec!["old".to_owned(); 6]).into_shape(&[3, 2]).unwrap();
        reader.fill(&port, &mut tensor, 2).unwrap();
        let view = tensor.try_as_plain_ram().unwrap();
        assert_eq!(view.as_slice::<String>().unwrap(), ["a", "", "ccc", "d", "ccc", "d"]);
    }

    #[test]
    fn wrong_lengths_and_bad_texts_are_refused() {
        let short = InputReader::new(&port(DataType::Fp32), &Shape::new(&[1, 2]), 1, &[0; 7]).unwrap_err();
        assert_eq!(short.message(), "unexpected total byte size 7 for input 'x', expecting 8");
        let text = port(DataType::Bytes);
        let count = InputReader::new(&text, &Shape::new(&[1, 2]), 1, &[0; 4]).unwrap_err();
        assert_eq!(count.message(), "unexpected number of string elements 1 for input 'x', expecting 2");
        let mut reader = InputReader::new(&text, &Shape::new(&[1, 1]), 1, &[1, 0, 0, 0, 0xff]).unwrap();
        assert!(reader.fill(&text, &mut tensor1(&[String::new()]), 1).unwrap_err().message().contains("UTF-8"));
    }
}
