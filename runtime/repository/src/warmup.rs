//! Requests that are executed before a version is ready, so that no client pays for first-time work.
//!
//! Configured ones (`model_warmup`) must succeed. Without any, one request of zeroes is tried where the backend gains
//! from it and every dimension is known; its failure is only logged, because zeroes may be no valid input.

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use hanok_backend::{InferenceRequest, InputTensor, OutputSelection, ServingError};
use hanok_model_config::{ModelConfig, Warmup, WarmupData};
use hanok_scheduler::ModelScheduler;
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

/// Largest tensor of a warm-up request, in bytes.
const MAX_TENSOR_BYTES: usize = 1 << 30;

/// Executes the configured warm-up requests, or tries a default one.
pub(crate) fn warm_up(
    scheduler: &ModelScheduler,
    config: &ModelConfig,
    model_directory: &Path,
    try_default: bool,
) -> Result<(), ServingError> {
    for warmup in &config.warmup {
        for _ in 0..warmup.count.max(1) {
            let request = configured_request(config, warmup, model_directory)?;
            scheduler.execute_warmup(request).map_err(|error| {
                ServingError::new(error.code(), format!("warm-up `{}` failed: {}", warmup.name, error.message()))
                    .with_operator_detail(error.operator_detail().unwrap_or_default())
            })?;
        }
    }
    if config.warmup.is_empty()
        && try_default
        && let Some(request) = default_request(config)
        && let Err(error) = scheduler.execute_warmup(request)
    {
        tracing::debug!(model = config.name, %error, "a warm-up on zeroes failed; the model is ready nevertheless");
    }
    Ok(())
}

fn configured_request(
    config: &ModelConfig,
    warmup: &Warmup,
    model_directory: &Path,
) -> Result<InferenceRequest, ServingError> {
    let rows = warmup.batch_size.max(1);
    let mut inputs: SmallVec<[Option<InputTensor>; 2]> = config.inputs.iter().map(|_| None).collect();
    for input in &warmup.inputs {
        let index = config.input_index(&input.name).ok_or_else(|| {
            ServingError::invalid(format!("warm-up `{}` names the unknown input `{}`", warmup.name, input.name))
        })?;
        let shape = with_rows(config, &input.dims, rows);
        let data = match &input.data {
            WarmupData::Zero => zeroes(input.data_type, &shape)?,
            WarmupData::Random => random(input.data_type, &shape)?,
            WarmupData::File(name) => {
                let path = model_directory.join("warmup").join(name);
                let bytes = fs::read(&path).map_err(|error| {
                    ServingError::invalid(format!("warm-up `{}` cannot read its file `{name}`", warmup.name))
                        .with_operator_detail(format!("{}: {error}", path.display()))
                })?;
                Bytes::from(bytes)
            }
        };
        inputs[index] = Some(InputTensor { shape, data });
    }
    Ok(request(inputs, if config.batches() { rows } else { 1 }))
}

fn default_request(config: &ModelConfig) -> Option<InferenceRequest> {
    let mut inputs = SmallVec::new();
    for input in &config.inputs {
        if input.optional {
            inputs.push(None);
            continue;
        }
        if input.dims.iter().any(|&dimension| dimension < 0) {
            return None;
        }
        let shape = with_rows(config, &input.dims, 1);
        let data = zeroes(input.data_type, &shape).ok()?;
        inputs.push(Some(InputTensor { shape, data }));
    }
    Some(request(inputs, 1))
}

fn request(inputs: SmallVec<[Option<InputTensor>; 2]>, rows: u32) -> InferenceRequest {
    InferenceRequest {
        id: Box::default(),
        regions: None,
        inputs,
        rows,
        outputs: OutputSelection::All,
        parameters: Vec::new(),
        sequence: None,
        priority: 0,
        timeout_microseconds: 0,
        received: Instant::now(),
        deadline: None,
        trace: None,
    }
}

fn with_rows(config: &ModelConfig, dims: &Shape, rows: u32) -> Shape {
    let batch = config.batches().then_some(i64::from(rows));
    batch.into_iter().chain(dims.iter().copied()).collect()
}

fn size(data_type: DataType, shape: &Shape) -> Result<usize, ServingError> {
    let bytes = match data_type.element_size() {
        // Every element of a BYTES tensor is an empty string: its length alone.
        None => shape.element_count().map(|count| count.saturating_mul(4)),
        Some(_) => shape.byte_size(data_type).map(|size| size.unwrap_or(0)),
    };
    match bytes {
        Ok(bytes) if bytes <= MAX_TENSOR_BYTES => Ok(bytes),
        Ok(bytes) => Err(ServingError::invalid(format!(
            "a warm-up tensor may have `{MAX_TENSOR_BYTES}` bytes at most, got `{bytes}`"
        ))),
        Err(error) => Err(ServingError::invalid(format!("a warm-up tensor has no size: {error}"))),
    }
}

fn zeroes(data_type: DataType, shape: &Shape) -> Result<Bytes, ServingError> {
    Ok(Bytes::from(vec![0; size(data_type, shape)?]))
}

/// Values that differ from one another and are the same in every run: finite for every floating-point type.
fn random(data_type: DataType, shape: &Shape) -> Result<Bytes, ServingError> {
    let mut bytes = vec![0; size(data_type, shape)?];
    // xorshift64* (Vigna 2016); a fixed seed keeps warm-up reproducible.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40
    };
    #[allow(clippy::cast_precision_loss, reason = "24 random bits are exact in a float")]
    match data_type {
        DataType::Bytes => {}
        DataType::Fp32 => {
            for element in bytes.chunks_exact_mut(4) {
                element.copy_from_slice(&(next() as f32 / (1u32 << 24) as f32).to_le_bytes());
            }
        }
        DataType::Fp64 => {
            for element in bytes.chunks_exact_mut(8) {
                element.copy_from_slice(&(next() as f64 / f64::from(1u32 << 24)).to_le_bytes());
            }
        }
        // Below 0x3c00 a binary16 is in [0, 1]; below 0x3f80 a bfloat16 is.
        DataType::Fp16 | DataType::Bf16 => {
            for element in bytes.chunks_exact_mut(2) {
                element.copy_from_slice(&u16::try_from(next() % 0x3c00).unwrap_or(0).to_le_bytes());
            }
        }
        DataType::Bool => {
            for element in &mut bytes {
                *element = u8::from(next() % 2 == 1);
            }
        }
        _ => {
            let width = data_type.element_size().unwrap_or(1);
            for element in bytes.chunks_exact_mut(width) {
                element[0] = u8::try_from(next() % 128).unwrap_or(0);
            }
        }
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn values_fit_their_types() {
        let shape = Shape::new(&[3, 5]);
        for data_type in DataType::ALL {
            let expected = 15 * data_type.element_size().unwrap_or(4);
            assert_eq!(zeroes(data_type, &shape).unwrap().len(), expected, "{data_type}");
            assert_eq!(random(data_type, &shape).unwrap().len(), expected, "{data_type}");
        }
        let floats = random(DataType::Fp32, &shape).unwrap();
        assert!(floats.chunks_exact(4).all(|e| (0.0..1.0).contains(&f32::from_le_bytes(e.try_into().unwrap()))));
        assert!(random(DataType::Fp32, &Shape::new(&[1 << 40])).is_err());
    }
}
