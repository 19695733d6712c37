//! Warm-up requests.

use hanok_tensor::{DataType, Shape};

use super::report::Report;
use crate::wire::model_warmup::Input;
use crate::wire::model_warmup::input::InputDataType;
use crate::{InputSpec, Warmup, WarmupData, WarmupInput, element_type, wire};

/// Most executions of one warm-up request.
const MAXIMUM_COUNT: u32 = 100_000;

/// Most bytes of one warm-up tensor.
const MAXIMUM_BYTES: usize = 1 << 30;

pub(super) fn warmups(
    wire: &wire::ModelConfig,
    inputs: &[InputSpec],
    max_batch_size: u32,
    report: &mut Report,
) -> Vec<Warmup> {
    let mut warmups = Vec::with_capacity(wire.model_warmup.len());
    for (index, warmup) in wire.model_warmup.iter().enumerate() {
        let path = format!("model_warmup[{index}]");
        if warmup.batch_size > max_batch_size.max(1) {
            report.problem(
                format!("{path}.batch_size"),
                format!("`{}` exceeds max_batch_size `{max_batch_size}`", warmup.batch_size),
            );
            continue;
        }
        if warmup.count > MAXIMUM_COUNT {
            report.problem(
                format!("{path}.count"),
                format!("expected at most `{MAXIMUM_COUNT}` executions, got `{}`", warmup.count),
            );
        }
        for input in inputs.iter().filter(|input| !input.optional && !warmup.inputs.contains_key(&input.name)) {
            report.problem(format!("{path}.inputs"), format!("lacks input `{}`", input.name));
        }
        let rows = warmup.batch_size.max(1);
        let tensors = warmup
            .inputs
            .iter()
            .filter_map(|(name, input)| {
                tensor(name, input, rows, inputs, &format!("{path}.inputs[\"{name}\"]"), report)
            })
            .collect();
        warmups.push(Warmup {
            name: warmup.name.clone(),
            batch_size: warmup.batch_size,
            count: warmup.count,
            inputs: tensors,
        });
    }
    warmups
}

fn tensor(
    name: &str,
    input: &Input,
    rows: u32,
    inputs: &[InputSpec],
    path: &str,
    report: &mut Report,
) -> Option<WarmupInput> {
    let Some(spec) = inputs.iter().find(|spec| spec.name == name) else {
        report.problem(path, format!("the model has no input `{name}`"));
        return None;
    };
    let data_type = element_type::from_wire(input.data_type);
    if data_type != Some(spec.data_type) {
        let (expected, actual) = (spec.data_type.config_name(), element_type::spelling(input.data_type));
        report.problem(format!("{path}.data_type"), format!("expected `{expected}`, got `{actual}`"));
    }
    let dims = Shape::new(&input.dims);
    let fits = dims.rank() == spec.dims.rank()
        && dims
            .iter()
            .zip(spec.dims.iter())
            .all(|(&dimension, &declared)| dimension >= 0 && (declared == -1 || declared == dimension));
    if !fits {
        report.problem(format!("{path}.dims"), format!("expected dimensions that fit {}, got {dims}", spec.dims));
        return None;
    }
    let bytes = size(&dims, spec.data_type, rows);
    if bytes.is_none_or(|bytes| bytes > MAXIMUM_BYTES) {
        report.problem(
            format!("{path}.dims"),
            format!("`{rows}` rows of {dims} exceed the maximum of `{MAXIMUM_BYTES}` bytes"),
        );
    }
    let data = match &input.input_data_type {
        Some(InputDataType::ZeroData(true)) => WarmupData::Zero,
        Some(InputDataType::RandomData(true)) => WarmupData::Random,
        Some(InputDataType::InputDataFile(file)) if stays_within(file) => WarmupData::File(file.clone()),
        Some(InputDataType::InputDataFile(file)) => {
            let message = format!(
                "expected the name of a file within the model's `warmup` folder, got `{}`",
                file.escape_debug()
            );
            report.problem(format!("{path}.input_data_file"), message);
            return None;
        }
        Some(InputDataType::ZeroData(false) | InputDataType::RandomData(false)) | None => {
            report.problem(path, "must set one of 'zero_data', 'random_data' and 'input_data_file'");
            return None;
        }
    };
    Some(WarmupInput { name: name.to_owned(), data_type: data_type?, dims, data })
}

/// A string counts as its length prefix.
fn size(dims: &Shape, data_type: DataType, rows: u32) -> Option<usize> {
    let rows = usize::try_from(rows).ok()?;
    dims.element_count().ok()?.checked_mul(data_type.element_size().unwrap_or(4))?.checked_mul(rows)
}

/// Whether a relative path leads to something below its folder.
fn stays_within(path: &str) -> bool {
    !path.contains(['\\', '\0']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::stays_within;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        assert!(stays_within("image.raw"));
        assert!(stays_within("set/image..raw"));
        for wrong in ["", "/etc/passwd", "../secret", "a/../../b", "a//b", "./a", "a\\..\\b", "a\0b"] {
            assert!(!stays_within(wrong), "{wrong}");
        }
    }
}
