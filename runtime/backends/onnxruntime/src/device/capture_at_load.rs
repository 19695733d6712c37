//! Graphs are captured as an instance is made: one execution on zeroes for each batch size that has one.
//!
//! Not a check of the model: what fails here is told and fails nothing else, and is captured at the first batch of its size, as
//! is a graph for which the others could not be waited for. Optional inputs are left out, as where nothing comes for them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hanok_backend::{
    Batch, BatchInput, InferenceRequest, InferenceResponse, InputTensor, Member, ModelInstance, OutputSelection,
    ResponseSink, ServingError,
};
use hanok_model_config::ModelConfig;
use hanok_tensor::Shape;
use smallvec::SmallVec;

use super::device_instance::DeviceInstance;

/// How long the captures of one instance wait for others in all, such as models that load beside it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Most bytes of zeroes that are made for one batch.
const MOST_BYTES: usize = 1 << 30;

/// What comes of a graph that was not captured.
const LATER: &str = "what is left is captured at the first batch of its size";

/// Answers go nowhere.
struct Nobody;

impl ResponseSink for Nobody {
    fn send(&mut self, _: Result<InferenceResponse, ServingError>, _: bool) {}

    fn is_cancelled(&self) -> bool {
        false
    }

    fn close(&mut self) {}
}

impl DeviceInstance {
    /// Captures the graphs of all sizes, from the largest on, so that the memory of the first is enough for the others. Waits
    /// for those who forbid a capture, `patience` in all.
    ///
    /// # Errors
    /// When the context is lost meanwhile: the instance is of no use then.
    pub(crate) fn capture_graphs(&mut self, config: &ModelConfig, patience: Duration) -> Result<(), ServingError> {
        let began = Instant::now();
        let sizes: Vec<usize> = self.graphs.sizes().rev().collect();
        self.wait_for_capture = began.checked_add(patience);
        let result = sizes.iter().try_for_each(|&rows| self.capture_one(config, rows).map_err(|error| (rows, error)));
        self.wait_for_capture = None;
        let (captured, of) = (self.graphs.captured(), sizes.len());
        match result {
            Err((_, error)) if self.is_lost() => return Err(error),
            Err((rows, error)) => {
                tracing::warn!(model = config.name, captured, of, rows, %error, "a CUDA graph failed at load; {LATER}");
            }
            Ok(()) if captured < of => tracing::warn!(model = config.name, captured, of, "others took memory; {LATER}"),
            Ok(()) => {
                tracing::debug!(model = config.name, captured, took = ?began.elapsed(), "CUDA graphs are captured")
            }
        }
        Ok(())
    }

    fn capture_one(&mut self, config: &ModelConfig, rows: usize) -> Result<(), ServingError> {
        let request = zeroes(config, rows)?;
        let lone = |tensor: &InputTensor| BatchInput { shape: tensor.shape.clone(), data: &[] };
        let inputs = request.inputs.iter().map(|input| input.as_ref().map(lone)).collect();
        let mut nobody = Nobody;
        let mut members = [Member::new(&request, &mut nobody)];
        self.execute(&mut Batch::new(config, inputs, &mut members))
    }
}

/// A request of `rows` rows of zeroes, which names all outputs. Every dimension is known and none is text: graphs are refused
/// otherwise.
fn zeroes(config: &ModelConfig, rows: usize) -> Result<InferenceRequest, ServingError> {
    let too_large = || ServingError::invalid(format!("a batch of `{rows}` rows is larger than `{MOST_BYTES}` bytes"));
    let rows_dimension = config.batches().then(|| i64::try_from(rows).unwrap_or(i64::MAX));
    let (mut inputs, mut left): (SmallVec<[Option<InputTensor>; 2]>, usize) = (SmallVec::new(), MOST_BYTES);
    for input in &config.inputs {
        if input.optional {
            inputs.push(None);
            continue;
        }
        let shape: Shape = rows_dimension.into_iter().chain(input.dims.iter().copied()).collect();
        let bytes = shape.byte_size(input.data_type).ok().flatten().ok_or_else(too_large)?;
        left = left.checked_sub(bytes).ok_or_else(too_large)?;
        inputs.push(Some(InputTensor { shape, data: Bytes::from(vec![0; bytes]) }));
    }
    Ok(InferenceRequest {
        id: Box::default(),
        trace: None,
        regions: None,
        inputs,
        rows: if config.batches() { u32::try_from(rows).map_err(|_| too_large())? } else { 1 },
        outputs: OutputSelection::All,
        parameters: Vec::new(),
        sequence: None,
        priority: 0,
        timeout_microseconds: 0,
        received: Instant::now(),
        deadline: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use hanok_model_config::{CompletionFacts, load_config};

    use super::*;

    #[test]
    fn a_request_of_zeroes_has_the_rows_of_its_graph_and_no_optional_input() {
        let config = |largest: u32, width: u64| {
            let text = format!(
                "backend: 'onnxruntime' max_batch_size: {largest}
                 input [ {{ name: 'x' data_type: TYPE_FP16 dims: {width} }}, {{ name: 'y' data_type: TYPE_FP32 dims: 1 optional: true }} ]
                 output {{ name: 'z' data_type: TYPE_FP32 dims: 4 }}"
            );
            load_config(&text, &CompletionFacts::new("m"), None).unwrap().config
        };
        let request = zeroes(&config(8, 3), 4).unwrap();
        let tensor = request.inputs[0].as_ref().unwrap();
        assert_eq!((request.rows, tensor.shape.to_string().as_str(), tensor.data.len()), (4, "[4,3]", 24));
        assert!(request.inputs[1].is_none());
        let request = zeroes(&config(0, 3), 1).unwrap();
        assert_eq!((request.rows, request.inputs[0].as_ref().unwrap().shape.to_string().as_str()), (1, "[3]"));
        let error = zeroes(&config(8, 1 << 29), 2).unwrap_err();
        assert_eq!(error.message(), "a batch of `2` rows is larger than `1073741824` bytes");
    }
}
