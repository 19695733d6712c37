//! Identity models that misbehave on purpose, so that suites can prove what the server does about it.
//!
//! A request whose first INT32 element is -1 sets off the fault; every other request is answered as by identity.

use std::time::Duration;

use hanok_backend::{Batch, InferenceRequest, ServingError};
use hanok_model_config::ModelConfig;
use hanok_tensor::DataType;

use crate::identity;

/// Longest sleep that one request may ask for.
const LONGEST_SLEEP_MS: i32 = 60_000;

pub(crate) fn validate(config: &ModelConfig) -> Result<(), ServingError> {
    identity::validate(config)?;
    let first = &config.inputs[0];
    if first.data_type != DataType::Int32 {
        return Err(ServingError::invalid(format!(
            "input `{}` of model `{}` must have the data type `INT32`, got `{}`",
            first.name, config.name, first.data_type
        )));
    }
    Ok(())
}

pub(crate) fn fail(batch: &mut Batch<'_>) -> Result<(), ServingError> {
    if batch.members().iter().any(|member| first_element(member.request()) == Some(-1)) {
        return Err(ServingError::internal("the model failed on purpose")
            .with_operator_detail("built-in model `fail` got -1 as its first element"));
    }
    identity::execute(batch)
}

#[allow(clippy::panic, reason = "panicking is what this model is for")]
pub(crate) fn panic(batch: &mut Batch<'_>) -> Result<(), ServingError> {
    if batch.members().iter().any(|member| first_element(member.request()) == Some(-1)) {
        panic!("built-in model `panic` got -1 as its first element");
    }
    identity::execute(batch)
}

/// Sleeps for the longest time that a member asks for, in milliseconds.
pub(crate) fn sleep(batch: &mut Batch<'_>) -> Result<(), ServingError> {
    let longest = batch.members().iter().filter_map(|member| first_element(member.request())).max().unwrap_or(0);
    if longest > LONGEST_SLEEP_MS {
        return Err(ServingError::invalid(format!(
            "the first element must be at most `{LONGEST_SLEEP_MS}` milliseconds, got `{longest}`"
        )));
    }
    if let Ok(milliseconds @ 1..) = u64::try_from(longest) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    identity::execute(batch)
}

fn first_element(request: &InferenceRequest) -> Option<i32> {
    let tensor = request.inputs.first()?.as_ref()?;
    tensor.data.first_chunk().map(|element| i32::from_le_bytes(*element))
}
