//! Samples from golden files: requests in the protocol's JSON form with the answers of a reference engine.

use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};
use hanok_model_config::ModelConfig;
use hanok_tensor::{DataType, Shape, push_bytes_element};
use serde_json::Value;

use super::fixture::{Sample, Tolerance};
use crate::{InputTensor, OutputTensor};

/// Every sample for `version` in the `golden*.json` files of `directory`, file names in order.
pub(super) fn read_samples(directory: &Path, version: u64, config: &ModelConfig) -> Result<Vec<Sample>, String> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("golden") && path.extension().is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    let mut samples = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let cases: Vec<Value> =
            serde_json::from_str(&bare_nan_to_null(&text)).map_err(|error| format!("{}: {error}", file.display()))?;
        for case in cases.iter().filter(|case| case["version"].as_str() == Some(&version.to_string())) {
            samples.push(sample(case, config).map_err(|error| format!("{}: {error}", file.display()))?);
        }
    }
    Ok(samples)
}

fn sample(case: &Value, config: &ModelConfig) -> Result<Sample, String> {
    let mut rows = 1;
    let inputs = config.inputs.iter().map(|spec| {
        let Some(tensor) = named(&case["request"]["inputs"], &spec.name) else {
            return if spec.optional { Ok(None) } else { Err(format!("no input {}", spec.name)) };
        };
        let shape = shape(tensor);
        if config.batches() {
            rows = shape.first().and_then(|&outer| u32::try_from(outer).ok()).unwrap_or(1);
        }
        Ok(Some(InputTensor { shape, data: encode(spec.data_type, &tensor["data"])? }))
    });
    let inputs = inputs.collect::<Result<_, String>>()?;
    let expected = config.outputs.iter().map(|spec| {
        let tensor = named(&case["response"]["outputs"], &spec.name).ok_or(format!("no output {}", spec.name))?;
        let data = encode(spec.data_type, &tensor["data"])?;
        Ok(OutputTensor { data_type: spec.data_type, shape: shape(tensor), data })
    });
    let expected = expected.collect::<Result<_, String>>()?;
    let tolerance = Tolerance {
        absolute: case["tolerance"]["absolute"].as_f64().unwrap_or(0.0),
        relative: case["tolerance"]["relative"].as_f64().unwrap_or(0.0),
    };
    Ok(Sample { rows, inputs, expected, tolerance })
}

fn named<'a>(tensors: &'a Value, name: &str) -> Option<&'a Value> {
    tensors.as_array()?.iter().find(|tensor| tensor["name"].as_str() == Some(name))
}

fn shape(tensor: &Value) -> Shape {
    tensor["shape"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "golden values are written in the tensor's own precision")]
fn encode(data_type: DataType, values: &Value) -> Result<Bytes, String> {
    let mut data = Vec::new();
    for value in values.as_array().ok_or("a tensor has no data")? {
        let float = || if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
        let wrong = || format!("{value} is no {data_type}");
        let integer = || value.as_i64().map(i64::to_le_bytes).or_else(|| value.as_u64().map(u64::to_le_bytes));
        match data_type {
            DataType::Bytes => push_bytes_element(&mut data, value.as_str().ok_or_else(wrong)?.as_bytes()),
            DataType::Bool => data.push(value.as_bool().ok_or_else(wrong)?.into()),
            DataType::Fp16 => data.extend(f16::from_f64(float().ok_or_else(wrong)?).to_le_bytes()),
            DataType::Bf16 => data.extend(bf16::from_f64(float().ok_or_else(wrong)?).to_le_bytes()),
            DataType::Fp32 => data.extend((float().ok_or_else(wrong)? as f32).to_le_bytes()),
            DataType::Fp64 => data.extend(float().ok_or_else(wrong)?.to_le_bytes()),
            _ => {
                let size = data_type.element_size().ok_or_else(wrong)?;
                data.extend_from_slice(&integer().ok_or_else(wrong)?[..size]);
            }
        }
    }
    Ok(data.into())
}

/// Turns a bare `NaN`, which JSON lacks, into `null`; texts stay as they are.
fn bare_nan_to_null(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            result.push('"');
        }
        // Golden texts hold no escaped quotation mark, so every second part is outside of texts.
        if index % 2 == 0 { result.push_str(&part.replace("NaN", "null")) } else { result.push_str(part) }
    }
    result
}
