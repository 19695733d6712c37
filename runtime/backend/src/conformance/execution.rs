//! The scheduler's part of one execution: gather, execute, split, collect the answers.
//!
//! No queue and no policy. Several requests are gathered into an aligned buffer, a lone one is used in place, as the
//! contract says.

use hanok_model_config::ModelConfig;
use hanok_tensor::{AlignedBuffer, Shape, concatenate_into};
use smallvec::SmallVec;

use crate::{
    Batch, BatchInput, InferenceRequest, InferenceResponse, Member, ModelInstance, OutputTensor, RequestTiming,
    ResponseSink, ServingError,
};

/// What one request got.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every response, in order.
    pub responses: Vec<Result<InferenceResponse, ServingError>>,
    /// Whether a final response, or the end without one, was given.
    pub ended: bool,
    /// Times that anything was sent after the end.
    pub sent_after_end: usize,
}

impl Outcome {
    /// The outputs of the one response.
    ///
    /// # Errors
    /// The failure, or words for another number of responses than one.
    pub fn outputs(&self) -> Result<Vec<Option<&OutputTensor>>, String> {
        match self.responses.as_slice() {
            [Ok(response)] if self.ended => Ok(response.outputs.iter().map(Option::as_ref).collect()),
            [Err(error)] => Err(error.to_string()),
            responses => Err(format!("expected one final response, got {} (ended: {})", responses.len(), self.ended)),
        }
    }
}

impl ResponseSink for Outcome {
    fn send(&mut self, response: Result<InferenceResponse, ServingError>, last: bool) {
        self.sent_after_end += usize::from(self.ended);
        self.ended |= last;
        self.responses.push(response);
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn close(&mut self) {
        self.sent_after_end += usize::from(self.ended);
        self.ended = true;
    }
}

/// What one execution gave.
#[derive(Debug)]
pub struct Execution {
    /// One per request, in order.
    pub outcomes: Vec<Outcome>,
    /// Indices of the outputs that the backend gave for the whole batch.
    pub given: Vec<usize>,
    /// What the instance returned.
    pub result: Result<(), ServingError>,
}

/// Executes `requests` as one batch. `controls` are control inputs of a sequence model, after the configured ones.
pub fn execute(
    instance: &mut dyn ModelInstance,
    config: &ModelConfig,
    requests: &[InferenceRequest],
    controls: &[BatchInput<'_>],
) -> Execution {
    let mut buffers: Vec<AlignedBuffer> = config.inputs.iter().map(|_| AlignedBuffer::new()).collect();
    let mut outcomes: Vec<Outcome> = requests.iter().map(|_| Outcome::default()).collect();
    let mut inputs: SmallVec<[Option<BatchInput<'_>>; 2]> = SmallVec::new();
    for (index, buffer) in buffers.iter_mut().enumerate() {
        inputs.push(gather(config, requests, index, buffer));
    }
    inputs.extend(controls.iter().cloned().map(Some));
    let sinks = outcomes.iter_mut().map(|outcome| outcome as &mut dyn ResponseSink);
    let mut members: Vec<Member<'_>> =
        requests.iter().zip(sinks).map(|(request, sink)| Member::new(request, sink)).collect();
    let mut batch = Batch::new(config, inputs, &mut members);
    let result = instance.execute(&mut batch);
    let given = (0..config.outputs.len()).filter(|&index| batch.has_output(index)).collect();
    batch.finish(result.as_ref().err(), |_| RequestTiming::default());
    Execution { outcomes, given, result }
}

fn gather<'a>(
    config: &ModelConfig,
    requests: &'a [InferenceRequest],
    index: usize,
    buffer: &'a mut AlignedBuffer,
) -> Option<BatchInput<'a>> {
    let tensors = requests.iter().map(move |request| request.inputs.get(index).and_then(Option::as_ref));
    let first = tensors.clone().next()??;
    if requests.len() == 1 {
        return Some(BatchInput { shape: first.shape.clone(), data: &first.data });
    }
    let mut shape: Shape = first.shape.clone();
    if config.batches()
        && let Some(outer) = shape.first_mut()
    {
        *outer = requests.iter().map(|request| i64::from(request.rows)).sum();
    }
    concatenate_into(buffer, tensors.map(|tensor| tensor.map_or(&[][..], |tensor| &tensor.data[..])));
    Some(BatchInput { shape, data: buffer })
}
