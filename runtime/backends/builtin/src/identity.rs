//! Outputs are the inputs of the same position.
//!
//! Nothing is copied for a lone request: its output is the very slice of the message that it came in. Inputs of a
//! gathered batch are copied once, because the batch buffer belongs to the scheduler.

use bytes::Bytes;
use hanok_backend::{Batch, ServingError, client_output_shape, model_input_shape};
use hanok_model_config::ModelConfig;
use hanok_tensor::{DataType, Shape, count_bytes_elements};

pub(crate) fn validate(config: &ModelConfig) -> Result<(), ServingError> {
    let name = &config.name;
    if config.inputs.is_empty() {
        return Err(ServingError::invalid(format!("model `{name}` must declare its inputs, got none")));
    }
    if config.inputs.len() != config.outputs.len() {
        return Err(ServingError::invalid(format!(
            "model `{name}` must have one output per input, got `{}` inputs and `{}` outputs",
            config.inputs.len(),
            config.outputs.len()
        )));
    }
    for (input, output) in config.inputs.iter().zip(&config.outputs) {
        if input.data_type != output.data_type {
            return Err(ServingError::invalid(format!(
                "output `{}` of model `{name}` must have the data type `{}` of input `{}`, got `{}`",
                output.name, input.data_type, input.name, output.data_type
            )));
        }
        if input.model_dims() != output.model_dims() {
            return Err(ServingError::invalid(format!(
                "output `{}` of model `{name}` must have the shape `{}` of input `{}`, got `{}`",
                output.name,
                input.model_dims(),
                input.name,
                output.model_dims()
            )));
        }
    }
    Ok(())
}

pub(crate) fn execute(batch: &mut Batch<'_>) -> Result<(), ServingError> {
    let config = batch.config();
    for (index, (declared, output)) in config.inputs.iter().zip(&config.outputs).enumerate() {
        if !batch.wants_output(index) {
            continue;
        }
        let Some(input) = batch.input(index) else {
            return Err(ServingError::invalid(format!(
                "output `{}` needs input `{}`, which was not sent",
                output.name, declared.name
            )));
        };
        check_content(&declared.name, output.data_type, &input.shape, input.data)?;
        let shape = model_input_shape(declared, &input.shape, config.batches())
            .and_then(|shape| client_output_shape(output, &shape, config.batches()))
            .ok_or_else(|| ServingError::internal(format!("input `{}` does not fit its dimensions", declared.name)))?;
        let data = match batch.members() {
            [lone] => lone.request().inputs.get(index).and_then(Option::as_ref).map(|tensor| &tensor.data),
            _ => None,
        };
        let data = match data {
            Some(data) if data.as_ptr() == input.data.as_ptr() && data.len() == input.data.len() => data.clone(),
            _ => Bytes::copy_from_slice(input.data),
        };
        batch.set_output(index, output.data_type, shape, data);
    }
    Ok(())
}

/// The bytes must be what the shape says, or an answer would contradict itself.
pub(crate) fn check_content(name: &str, data_type: DataType, shape: &Shape, data: &[u8]) -> Result<(), ServingError> {
    let fits = match shape.byte_size(data_type) {
        Ok(Some(expected)) => expected == data.len(),
        Ok(None) => shape.element_count().is_ok_and(|count| count_bytes_elements(data) == Ok(count)),
        Err(_) => false,
    };
    if fits {
        return Ok(());
    }
    Err(ServingError::invalid(format!(
        "the `{}` bytes of input `{name}` are not a {data_type} tensor of shape `{shape}`",
        data.len()
    )))
}
