//! As many responses as the input's value says, each holding that value; Triton's square backend.
//!
//! Input: one INT32 element; output: one INT32 element. 0 gives no response at all.

use bytes::Bytes;
use hanok_backend::{Batch, Member, ServingError};
use hanok_model_config::ModelConfig;
use hanok_tensor::DataType;

use crate::repeat::{require_decoupled, single_element_response};

pub(crate) fn validate(config: &ModelConfig) -> Result<(), ServingError> {
    require_decoupled(config)?;
    let fits = matches!(config.inputs.as_slice(), [input] if input.data_type == DataType::Int32)
        && matches!(config.outputs.as_slice(), [output] if output.data_type == DataType::Int32);
    if !fits || config.max_batch_size > 1 {
        return Err(ServingError::invalid(format!(
            "model `{}` must have one INT32 input, one INT32 output and `max_batch_size` 0 or 1",
            config.name
        )));
    }
    Ok(())
}

pub(crate) fn execute(batch: &mut Batch<'_>) {
    let config = batch.config();
    for member in batch.members_mut() {
        if let Err(error) = respond(member, &config.inputs[0].name, config.batches()) {
            member.respond(Err(error));
        }
    }
}

fn respond(member: &mut Member<'_>, name: &str, batches: bool) -> Result<(), ServingError> {
    let input = member.request().inputs.first().and_then(Option::as_ref);
    let value: Option<[u8; 4]> = input.and_then(|tensor| tensor.data.as_ref().try_into().ok());
    let count = value.map(i32::from_le_bytes).filter(|count| *count >= 0);
    let (Some(value), Some(count)) = (value, count) else {
        return Err(ServingError::invalid(format!("input `{name}` must be one element of at least 0")));
    };
    for _ in 0..count {
        if member.is_cancelled() {
            break;
        }
        let output = (DataType::Int32, Bytes::copy_from_slice(&value));
        member.respond_partial(Ok(single_element_response(member, [output], batches)));
    }
    member.close();
    Ok(())
}
