//! From a model's response to the tensors of a reply: chosen, named, classified.
//!
//! Shared by both protocols; nothing is encoded here. Tensors stay views of the backend's buffer.

use bytes::Bytes;
use hanok_backend::{InferenceResponse, OutputTensor, Parameters, ServingError};
use hanok_model_config::{ModelConfig, OutputSpec};
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

use crate::OutputPlan;
use crate::classification::classify;

/// Class labels by output index; shorter than the outputs, or empty, where there are none.
pub type OutputLabels = [Vec<String>];

/// One tensor of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyOutput<'c> {
    /// Configured name.
    pub name: &'c str,
    /// Element type.
    pub data_type: DataType,
    /// Dimensions as the client sees them, with the batch dimension.
    pub shape: Shape,
    /// Row-major little-endian bytes, as many as data type and shape say; none for one that is placed.
    pub data: Bytes,
    /// Whether an HTTP reply carries it as binary data.
    pub binary: bool,
    /// Whether it is in a region that the client lent, and not in the reply.
    pub placed: bool,
}

/// A whole reply, before either protocol encodes it.
#[derive(Clone, Debug)]
pub struct InferReply<'c> {
    /// The request's id; empty when none was given.
    pub id: &'c str,
    /// Name of the model that answered.
    pub model_name: &'c str,
    /// Version that answered.
    pub model_version: u64,
    /// Response parameters.
    pub parameters: &'c Parameters,
    /// Outputs in the order of the plan.
    pub outputs: SmallVec<[ReplyOutput<'c>; 2]>,
}

/// Takes the planned outputs out of a response. Outputs that the model did not give are left out.
///
/// # Errors
/// `InvalidArgument` when an output cannot be classified, `Internal` when its bytes contradict its shape.
pub fn reply_outputs<'c>(
    response: &mut InferenceResponse,
    plan: &OutputPlan,
    config: &'c ModelConfig,
    labels: &OutputLabels,
) -> Result<SmallVec<[ReplyOutput<'c>; 2]>, ServingError> {
    let mut outputs = SmallVec::new();
    for planned in plan.outputs(config.outputs.len()) {
        let index = usize::from(planned.index);
        let Some(spec) = config.outputs.get(index) else { continue };
        let Some(mut tensor) = response.outputs.get_mut(index).and_then(Option::take) else { continue };
        if !planned.placed && !matches!(tensor.shape.byte_size(tensor.data_type), Ok(None)) {
            check_size(spec, &tensor)?;
        }
        if planned.classification > 0 {
            let labels = labels.get(index).map_or(&[][..], Vec::as_slice);
            tensor = classify(&tensor, labels, planned.classification, config.batches())?;
        }
        outputs.push(ReplyOutput {
            name: &spec.name,
            data_type: tensor.data_type,
            shape: tensor.shape,
            data: tensor.data,
            binary: planned.binary && !planned.placed,
            placed: planned.placed,
        });
    }
    Ok(outputs)
}

fn check_size(spec: &OutputSpec, tensor: &OutputTensor) -> Result<(), ServingError> {
    if tensor.shape.byte_size(tensor.data_type) == Ok(Some(tensor.data.len())) {
        return Ok(());
    }
    Err(ServingError::internal(format!("output tensor shape does not match size of output for '{}'", spec.name))
        .with_operator_detail(format!("shape {} of {}, {} bytes", tensor.shape, tensor.data_type, tensor.data.len())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use smallvec::smallvec;

    use super::*;
    use crate::{PlannedOutput, sample_models};

    fn int32(values: &[i32], shape: &[i64]) -> OutputTensor {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        OutputTensor { data_type: DataType::Int32, shape: Shape::new(shape), data: data.into() }
    }

    #[test]
    fn w29_only_named_outputs_in_the_order_named() {
        let config = sample_models::simple();
        let full = || InferenceResponse {
            outputs: smallvec![Some(int32(&[1; 16], &[1, 16])), Some(int32(&[2; 16], &[1, 16]))],
            ..InferenceResponse::default()
        };
        let all = reply_outputs(&mut full(), &OutputPlan::All { binary: true }, &config, &[]).unwrap();
        assert_eq!(all.iter().map(|output| output.name).collect::<Vec<_>>(), ["OUTPUT0", "OUTPUT1"]);
        assert!(all[0].binary);
        let plan = OutputPlan::Only(smallvec![
            PlannedOutput { index: 1, binary: false, classification: 0, placed: false },
            PlannedOutput { index: 0, binary: true, classification: 3, placed: false },
        ]);
        let some = reply_outputs(&mut full(), &plan, &config, &[]).unwrap();
        assert_eq!(some.iter().map(|output| output.name).collect::<Vec<_>>(), ["OUTPUT1", "OUTPUT0"]);
        assert_eq!((some[1].data_type, &some[1].shape[..]), (DataType::Bytes, &[1_i64, 3][..]));
    }

    #[test]
    fn contradictory_output_is_internal() {
        let config = sample_models::simple();
        let mut response = InferenceResponse {
            outputs: smallvec![Some(int32(&[1; 15], &[1, 16])), None],
            ..InferenceResponse::default()
        };
        let error = reply_outputs(&mut response, &OutputPlan::All { binary: false }, &config, &[]).unwrap_err();
        assert_eq!(error.message(), "output tensor shape does not match size of output for 'OUTPUT0'");
    }
}
