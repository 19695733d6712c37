//! Inputs and outputs.

use std::collections::HashSet;

use hanok_tensor::{DataType, Shape};

use super::report::Report;
use crate::{InputSpec, OutputSpec, element_type, wire};

/// Most inputs, and most outputs, that a model may declare.
const MAXIMUM_TENSORS: usize = 4096;

/// Most dimensions of one tensor.
const MAXIMUM_RANK: usize = 64;

/// What inputs and outputs declare alike.
struct Declaration<'a> {
    path: String,
    name: &'a str,
    data_type: i32,
    dims: &'a [i64],
    reshape: Option<&'a wire::ModelTensorReshape>,
}

/// Validates inputs and outputs; a wrong one is reported and left out.
pub(super) fn tensors(
    wire: &wire::ModelConfig,
    max_batch_size: u32,
    report: &mut Report,
) -> (Vec<InputSpec>, Vec<OutputSpec>) {
    for (path, count) in [("input", wire.input.len()), ("output", wire.output.len())] {
        match count {
            0 => report.problem(
                path,
                format!("model '{}' must specify at least one {path}, or a model file that tells them", wire.name),
            ),
            MAXIMUM_TENSORS.. if count > MAXIMUM_TENSORS => {
                report.problem(path, format!("expected at most `{MAXIMUM_TENSORS}` of them, got `{count}`"));
            }
            _ => {}
        }
    }
    if wire.input.len() > MAXIMUM_TENSORS || wire.output.len() > MAXIMUM_TENSORS {
        return (Vec::new(), Vec::new());
    }
    (inputs(wire, max_batch_size, report), outputs(wire, max_batch_size, report))
}

fn inputs(wire: &wire::ModelConfig, max_batch_size: u32, report: &mut Report) -> Vec<InputSpec> {
    let mut names = HashSet::new();
    let mut specs = Vec::with_capacity(wire.input.len());
    for (index, input) in wire.input.iter().enumerate() {
        let path = format!("input[{index}]");
        let declaration = Declaration {
            path: path.clone(),
            name: &input.name,
            data_type: input.data_type,
            dims: &input.dims,
            reshape: input.reshape.as_ref(),
        };
        if input.format() != wire::model_input::Format::None {
            if input.dims.len() == 3 {
                report.no_effect(
                    format!("{path}.format"),
                    "tells clients how to arrange an image; values are passed on as they come",
                );
            } else {
                report.problem(format!("{path}.format"), "model input NHWC/NCHW require 3 dims");
            }
        }
        if input.allow_ragged_batch {
            report.not_offered(format!("{path}.allow_ragged_batch"), "members of one batch must agree in shape");
        }
        flags(&path, input.is_shape_tensor, input.is_non_linear_format_io, report);
        if let Some((data_type, dims, reshape)) = declaration.validate(max_batch_size, &mut names, report) {
            let (name, optional) = (input.name.clone(), input.optional);
            specs.push(InputSpec { name, data_type, dims, reshape, optional, allow_ragged_batch: false });
        }
    }
    specs
}

fn outputs(wire: &wire::ModelConfig, max_batch_size: u32, report: &mut Report) -> Vec<OutputSpec> {
    let mut names = HashSet::new();
    let mut specs = Vec::with_capacity(wire.output.len());
    for (index, output) in wire.output.iter().enumerate() {
        let path = format!("output[{index}]");
        let declaration = Declaration {
            path: path.clone(),
            name: &output.name,
            data_type: output.data_type,
            dims: &output.dims,
            reshape: output.reshape.as_ref(),
        };
        flags(&path, output.is_shape_tensor, output.is_non_linear_format_io, report);
        super::file_name(&format!("{path}.label_filename"), &output.label_filename, report);
        if let Some((data_type, dims, reshape)) = declaration.validate(max_batch_size, &mut names, report) {
            let label_filename = Some(output.label_filename.clone()).filter(|name| !name.is_empty());
            specs.push(OutputSpec { name: output.name.clone(), data_type, dims, reshape, label_filename });
        }
    }
    specs
}

/// Both exist for TensorRT alone.
fn flags(path: &str, is_shape_tensor: bool, is_non_linear_format_io: bool, report: &mut Report) {
    if is_shape_tensor {
        report.problem(format!("{path}.is_shape_tensor"), "shape tensors are only supported for TensorRT platform");
    }
    if is_non_linear_format_io {
        report.problem(
            format!("{path}.is_non_linear_format_io"),
            "non-linear IO format is only supported for the TensorRT platform",
        );
    }
}

impl<'a> Declaration<'a> {
    fn validate(
        &self,
        max_batch_size: u32,
        names: &mut HashSet<&'a str>,
        report: &mut Report,
    ) -> Option<(DataType, Shape, Option<Shape>)> {
        let before = report.problems.len();
        if self.name.is_empty() {
            report.problem(format!("{}.name", self.path), "must specify 'name'");
        } else if !names.insert(self.name) {
            report.problem(format!("{}.name", self.path), format!("name `{}` is declared twice", self.name));
        }
        let data_type = element_type::from_wire(self.data_type);
        if data_type.is_none() {
            report.problem(format!("{}.data_type", self.path), format!("'{}' must specify 'data_type'", self.name));
        }
        if self.dims.is_empty() {
            report.problem(format!("{}.dims", self.path), format!("'{}' must specify 'dims'", self.name));
        }
        self.dimensions("dims", self.dims, max_batch_size, data_type, report);
        if let Some(reshape) = self.reshape {
            self.dimensions("reshape.shape", &reshape.shape, max_batch_size, data_type, report);
            if report.problems.len() == before && trunks(self.dims) != trunks(&reshape.shape) {
                report.problem(
                    format!("{}.reshape", self.path),
                    format!(
                        "'{}' has different size for dims and reshape: dims are {}, reshape is {}",
                        self.name,
                        Shape::new(self.dims),
                        Shape::new(&reshape.shape)
                    ),
                );
            }
        }
        if report.problems.len() > before {
            return None;
        }
        Some((data_type?, Shape::new(self.dims), self.reshape.map(|reshape| Shape::new(&reshape.shape))))
    }

    /// Each dimension on its own, and the bytes of the largest batch as far as the dimensions tell them.
    fn dimensions(
        &self,
        field: &str,
        dims: &[i64],
        max_batch_size: u32,
        data_type: Option<DataType>,
        report: &mut Report,
    ) {
        let path = format!("{}.{field}", self.path);
        if dims.len() > MAXIMUM_RANK {
            report.problem(path, format!("expected at most `{MAXIMUM_RANK}` dimensions, got `{}`", dims.len()));
            return;
        }
        let mut sound = true;
        for (index, &dimension) in dims.iter().enumerate() {
            if dimension < 1 && dimension != -1 {
                sound = false;
                report.problem(
                    format!("{path}[{index}]"),
                    format!(
                        "dimension must be integer >= 1, or -1 to indicate a variable-size dimension, got `{dimension}`"
                    ),
                );
            }
        }
        let rows = i64::from(max_batch_size.max(1));
        let fixed: Shape = dims.iter().copied().filter(|&dimension| dimension != -1).chain([rows]).collect();
        let element_size = data_type.map_or(1, |data_type| data_type.element_size().unwrap_or(4));
        let bytes = fixed.element_count().ok().and_then(|count| count.checked_mul(element_size));
        if sound && bytes.is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            report.problem(
                path,
                format!(
                    "one batch exceeds the maximum of `{}` bytes: `{max_batch_size}` rows of {}",
                    i64::MAX,
                    Shape::new(dims)
                ),
            );
        }
    }
}

/// Element counts between variable dimensions: `[2, 4, -1, 6]` and `[8, -1, 1, 6]` both give 8 and 6. Two shapes
/// with equal trunks hold equally many elements, whatever the variable dimensions are.
fn trunks(dims: &[i64]) -> Vec<i64> {
    dims.split(|&dimension| dimension == -1)
        .map(|trunk| trunk.iter().fold(1, |count: i64, &size| count.saturating_mul(size)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::trunks;

    #[test]
    fn trunks_compare_as_documented() {
        assert_eq!(trunks(&[2, 4, -1, 6]), trunks(&[8, -1, 1, 6]));
        assert_eq!(trunks(&[1]), trunks(&[]));
        assert_ne!(trunks(&[-1]), trunks(&[1]));
        assert_ne!(trunks(&[2, -1]), trunks(&[-1, 2]));
    }
}
