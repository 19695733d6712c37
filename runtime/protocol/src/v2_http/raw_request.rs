//! A raw request: the whole body is the bytes of a model's only input (W-48).

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use hanok_backend::ServingError;
use hanok_model_config::ModelConfig;
use hanok_tensor::{DataType, Shape};
use smallvec::smallvec;

use crate::{InferMessage, MessageInput, TensorSource};

/// Makes a message of a raw body: name, data type and shape come from the configuration; all outputs are binary.
///
/// The body becomes the tensor without a copy, but for BYTES, which need a length in front.
///
/// # Errors
/// `InvalidArgument` when the model has several inputs, or a shape that the body's size does not determine.
pub fn parse_raw<'a>(body: &Bytes, config: &'a ModelConfig) -> Result<InferMessage<'a>, ServingError> {
    let [input] = config.inputs.as_slice() else {
        return Err(ServingError::invalid(format!(
            "Raw request must only have 1 input (found 1) to be deduced but got {} inputs in '{}' model configuration",
            config.inputs.len(),
            config.name
        )));
    };
    let mut variable = None;
    let mut element_count: usize = 1;
    let mut shape = Shape::new(if config.batches() { &[1] } else { &[] });
    for &dimension in input.dims.iter() {
        match usize::try_from(dimension) {
            Ok(size) => element_count = element_count.saturating_mul(size),
            Err(_) if variable.is_some() => {
                return Err(ServingError::invalid(format!(
                    "The shape of the raw input '{}' can not be deduced because there are more than one variable-sized \
                     dimension",
                    input.name
                )));
            }
            Err(_) => variable = Some(shape.rank()),
        }
        shape.push(dimension);
    }
    let data = match input.data_type.element_size() {
        None => {
            if variable.is_some() || element_count != 1 {
                return Err(ServingError::invalid(format!(
                    "For BYTE datatype raw input '{}', the model must have input shape [1]",
                    input.name
                )));
            }
            one_element(body)?
        }
        Some(size) => {
            if let Some(axis) = variable {
                // A rest is found when the request is validated, where the sizes are compared.
                let count = body.len().checked_div(element_count.saturating_mul(size)).unwrap_or(0);
                shape[axis] = i64::try_from(count).unwrap_or(i64::MAX);
            }
            body.clone()
        }
    };
    Ok(InferMessage {
        inputs: smallvec![MessageInput {
            name: Cow::Borrowed(input.name.as_str()),
            data_type: input.data_type,
            shape,
            data: TensorSource::Inline(data),
        }],
        unnamed_outputs_binary: true,
        ..InferMessage::default()
    })
}

/// A BYTES tensor of one element.
fn one_element(element: &Bytes) -> Result<Bytes, ServingError> {
    let length = u32::try_from(element.len()).map_err(|_| {
        ServingError::invalid(format!("raw input of type {} exceeds `{}` bytes", DataType::Bytes, u32::MAX))
    })?;
    let mut data = BytesMut::with_capacity(4 + element.len());
    data.put_u32_le(length);
    data.extend_from_slice(element);
    Ok(data.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;
    use crate::sample_models;

    fn inline(message: &InferMessage<'_>) -> Bytes {
        match &message.inputs[0].data {
            TensorSource::Inline(data) => data.clone(),
            TensorSource::SharedMemory(_) => panic!("raw requests are inline"),
        }
    }

    #[test]
    fn w48_raw_body_is_the_tensor() {
        let config = sample_models::identity_fp32();
        let body = Bytes::from(vec![0; 64]);
        let message = parse_raw(&body, &config).unwrap();
        assert_eq!(&message.inputs[0].shape[..], [1, 16]);
        assert!(message.unnamed_outputs_binary);
        assert_eq!(inline(&message).as_ptr(), body.as_ptr());
    }

    #[test]
    fn w48_bytes_get_a_length_in_front() {
        let config = sample_models::identity_bytes_one();
        let message = parse_raw(&Bytes::from_static(b"abc"), &config).unwrap();
        assert_eq!(&inline(&message)[..], b"\x03\0\0\0abc");
        let error = parse_raw(&Bytes::from_static(b"abc"), &sample_models::identity_bytes()).unwrap_err();
        assert!(error.message().ends_with("the model must have input shape [1]"));
    }

    #[test]
    fn w48_violations_are_named() {
        let error = parse_raw(&Bytes::new(), &sample_models::simple()).unwrap_err();
        assert_eq!(
            error.message(),
            "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'simple' model configuration"
        );
        let error = parse_raw(&Bytes::new(), &sample_models::two_variable_dims()).unwrap_err();
        assert!(
            error.message().contains("can not be deduced because there are more than one variable-sized dimension")
        );
    }
}
