//! Two inputs of one shape; outputs are their sum and their difference (Triton's `simple`, `simple_int8`,
//! `simple_string`).
//!
//! Only outputs that somebody wants are computed.

use bytes::Bytes;
use hanok_backend::{Batch, ServingError};
use hanok_model_config::ModelConfig;
use hanok_tensor::{AlignedBuffer, DataType};

use crate::arithmetic::{self, Operation};
use crate::decimal_strings;
use crate::identity::check_content;

pub(crate) fn validate(config: &ModelConfig) -> Result<(), ServingError> {
    let name = &config.name;
    let (2, 1..=2) = (config.inputs.len(), config.outputs.len()) else {
        return Err(ServingError::invalid(format!(
            "model `{name}` must have two inputs and one or two outputs, got `{}` and `{}`",
            config.inputs.len(),
            config.outputs.len()
        )));
    };
    let data_type = config.inputs[0].data_type;
    if !arithmetic::is_numeric(data_type) && data_type != DataType::Bytes {
        return Err(ServingError::invalid(format!(
            "input `{}` of model `{name}` must be of a numeric type or `BYTES`, got `{data_type}`",
            config.inputs[0].name
        )));
    }
    let inputs = config.inputs.iter().map(|input| (&input.name, input.data_type, &input.dims));
    let outputs = config.outputs.iter().map(|output| (&output.name, output.data_type, &output.dims));
    for (tensor, actual, dims) in inputs.chain(outputs) {
        if actual != data_type {
            return Err(ServingError::invalid(format!(
                "tensor `{tensor}` of model `{name}` must have the data type `{data_type}`, got `{actual}`"
            )));
        }
        if *dims != config.inputs[0].dims {
            return Err(ServingError::invalid(format!(
                "tensor `{tensor}` of model `{name}` must have the shape `{}`, got `{dims}`",
                config.inputs[0].dims
            )));
        }
    }
    Ok(())
}

pub(crate) fn execute(batch: &mut Batch<'_>) -> Result<(), ServingError> {
    let config = batch.config();
    let names = [config.inputs[0].name.as_str(), config.inputs[1].name.as_str()];
    let (Some(left), Some(right)) = (batch.input(0), batch.input(1)) else {
        return Err(ServingError::invalid(format!("inputs `{}` and `{}` must both be sent", names[0], names[1])));
    };
    if left.shape != right.shape {
        return Err(ServingError::invalid(format!(
            "input `{}` must have the shape `{}` of input `{}`, got `{}`",
            names[1], left.shape, names[0], right.shape
        )));
    }
    let (shape, left, right) = (left.shape.clone(), left.data, right.data);
    for (index, output) in config.outputs.iter().enumerate() {
        if !batch.wants_output(index) {
            continue;
        }
        let operation = if index == 0 { Operation::Sum } else { Operation::Difference };
        let data = if output.data_type == DataType::Bytes {
            Bytes::from(decimal_strings::combine(operation, names, left, right)?)
        } else {
            check_content(names[0], output.data_type, &shape, left)?;
            check_content(names[1], output.data_type, &shape, right)?;
            let mut buffer = AlignedBuffer::zeroed(left.len());
            arithmetic::combine(output.data_type, operation, left, right, &mut buffer);
            buffer.into_bytes()
        };
        batch.set_output(index, output.data_type, shape.clone(), data);
    }
    Ok(())
}
