//! One response per element of the input, each after its own delay; Triton's repeat backend.
//!
//! Inputs `IN` (INT32, one dimension), `DELAY` (UINT32 milliseconds, same shape), `WAIT` (UINT32 milliseconds, one
//! element); outputs `OUT` (INT32, one element) and `IDX` (UINT32, counting from 0). Where we differ: Triton releases
//! the instance after `WAIT` and lets responses follow; here the instance is held until the last response is given
//! and until `WAIT` has passed, so one instance repeats for one request at a time.

use std::time::Duration;

use bytes::Bytes;
use hanok_backend::{Batch, InferenceResponse, Member, OutputTensor, ServingError};
use hanok_model_config::ModelConfig;
use hanok_tensor::{DataType, Shape};

pub(crate) fn validate(config: &ModelConfig) -> Result<(), ServingError> {
    let name = &config.name;
    require_decoupled(config)?;
    let expected_inputs = [("IN", DataType::Int32), ("DELAY", DataType::Uint32), ("WAIT", DataType::Uint32)];
    let expected_outputs = [("OUT", DataType::Int32), ("IDX", DataType::Uint32)];
    let inputs: Vec<_> = config.inputs.iter().map(|input| (input.name.as_str(), input.data_type)).collect();
    let outputs: Vec<_> = config.outputs.iter().map(|output| (output.name.as_str(), output.data_type)).collect();
    if inputs != expected_inputs || outputs != expected_outputs {
        return Err(ServingError::invalid(format!(
            "model `{name}` must have inputs IN INT32, DELAY UINT32, WAIT UINT32 and outputs OUT INT32, IDX UINT32, \
             in this order"
        )));
    }
    if config.max_batch_size > 1 {
        return Err(ServingError::invalid(format!(
            "`max_batch_size` of model `{name}` must be 0 or 1, got `{}`",
            config.max_batch_size
        )));
    }
    Ok(())
}

/// A model that gives other than one response per request must say so, or its responses would be dropped.
pub(crate) fn require_decoupled(config: &ModelConfig) -> Result<(), ServingError> {
    if config.decoupled {
        return Ok(());
    }
    Err(ServingError::invalid(format!(
        "model `{}` needs `model_transaction_policy {{ decoupled: true }}`",
        config.name
    )))
}

pub(crate) fn execute(batch: &mut Batch<'_>) {
    let batches = batch.config().batches();
    for member in batch.members_mut() {
        if let Err(error) = repeat(member, batches) {
            member.respond(Err(error));
        }
    }
}

fn repeat(member: &mut Member<'_>, batches: bool) -> Result<(), ServingError> {
    let request = member.request();
    let elements = |index: usize| {
        request
            .inputs
            .get(index)
            .and_then(Option::as_ref)
            .map(|tensor| tensor.data.as_chunks::<4>().0)
            .ok_or_else(|| ServingError::invalid("inputs `IN`, `DELAY` and `WAIT` must all be sent"))
    };
    let (values, delays, wait) = (elements(0)?, elements(1)?, elements(2)?);
    if values.len() != delays.len() {
        return Err(ServingError::invalid(format!(
            "input `DELAY` must have as many elements as `IN`, `{}`, got `{}`",
            values.len(),
            delays.len()
        )));
    }
    let mut slept = Duration::ZERO;
    for (index, (value, delay)) in values.iter().zip(delays).enumerate() {
        slept += sleep(milliseconds(*delay));
        if member.is_cancelled() {
            break;
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let outputs = [
            (DataType::Int32, Bytes::copy_from_slice(value)),
            (DataType::Uint32, Bytes::copy_from_slice(&index.to_le_bytes())),
        ];
        member.respond_partial(Ok(single_element_response(member, outputs, batches)));
    }
    if !member.is_cancelled()
        && let Some(wait) = wait.first()
    {
        sleep(milliseconds(*wait).saturating_sub(slept));
    }
    member.close();
    Ok(())
}

fn milliseconds(element: [u8; 4]) -> Duration {
    Duration::from_millis(u32::from_le_bytes(element).into())
}

/// Sleeps for `duration` and gives it back.
fn sleep(duration: Duration) -> Duration {
    if !duration.is_zero() {
        std::thread::sleep(duration);
    }
    duration
}

/// A response of one element per output, as far as the request wants it.
pub(crate) fn single_element_response<const OUTPUTS: usize>(
    member: &Member<'_>,
    outputs: [(DataType, Bytes); OUTPUTS],
    batches: bool,
) -> InferenceResponse {
    let shape = if batches { Shape::new(&[1, 1]) } else { Shape::new(&[1]) };
    let wanted = &member.request().outputs;
    let outputs = outputs.into_iter().enumerate().map(|(index, (data_type, data))| {
        wanted.wants(index).then(|| OutputTensor { data_type, shape: shape.clone(), data })
    });
    InferenceResponse { outputs: outputs.collect(), ..Default::default() }
}
