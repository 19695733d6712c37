//! A copy of a request for a candidate: tensors by reference, laid out anew for the candidate's configuration.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use hanok_backend::{InferenceRequest, OutputTensor, ServingError};
use hanok_model_config::{ModelConfig, Scheduling};
use hanok_protocol::{InferMessage, MessageInput, ReservedParameters, TensorSource, prepare};
use hanok_repository::ReadyVersion;
use hanok_routing::SampledShadows;
use hanok_shadow::Output;
use smallvec::SmallVec;

/// What a candidate is asked, and what the primary answered.
#[derive(Debug)]
pub(crate) struct ShadowCopy {
    /// Who gets it.
    pub(crate) targets: SampledShadows,
    /// The request as the primary got it.
    pub(crate) request: InferenceRequest,
    /// Who answered the client.
    pub(crate) primary: Arc<ReadyVersion>,
    /// The answer, by the primary's outputs.
    pub(crate) answer: SmallVec<[Option<OutputTensor>; 2]>,
    /// The unit of analysis; 0 when there is none.
    pub(crate) sticky_key_hash: u64,
    /// When the copy was made.
    pub(crate) made: Instant,
}

impl ShadowCopy {
    /// The request as `candidate` wants it: the same tensors by name, at the lowest priority, with a deadline of its own.
    ///
    /// # Errors
    /// What validation against the candidate's configuration says.
    pub(crate) fn request_for(
        &self,
        candidate: &ModelConfig,
        deadline: Instant,
    ) -> Result<InferenceRequest, ServingError> {
        let named = self.primary.config.inputs.iter().zip(&self.request.inputs);
        let inputs = named.filter_map(|(spec, tensor)| {
            let tensor = tensor.as_ref()?;
            Some(MessageInput {
                name: Cow::Borrowed(&*spec.name),
                data_type: spec.data_type,
                shape: tensor.shape.clone(),
                data: TensorSource::Inline(tensor.data.clone()),
            })
        });
        let message = InferMessage {
            id: self.request.id.clone(),
            parameters: self.request.parameters.clone(),
            reserved: ReservedParameters {
                sequence: self.request.sequence.as_deref().cloned(),
                priority: lowest_priority(candidate),
                timeout_microseconds: 0,
                empty_final_response: false,
            },
            inputs: inputs.collect(),
            outputs: SmallVec::new(),
            unnamed_outputs_binary: true,
        };
        prepare(message, candidate, Instant::now(), Some(deadline)).map(|(request, _)| request)
    }

    /// The tensors that were asked, by name.
    pub(crate) fn inputs(&self) -> Vec<Output<'_>> {
        let named = self.primary.config.inputs.iter().zip(&self.request.inputs);
        named
            .filter_map(|(spec, tensor)| {
                let tensor = tensor.as_ref()?;
                Some(Output { name: &spec.name, data_type: spec.data_type, shape: &tensor.shape, data: &tensor.data })
            })
            .collect()
    }
}

/// The level that everything else goes before; 0 where there are none.
fn lowest_priority(config: &ModelConfig) -> u32 {
    match &config.scheduling {
        Scheduling::Dynamic(batching) => batching.priority_levels,
        _ => 0,
    }
}

/// Outputs by name, those that were given.
pub(crate) fn named<'a>(config: &'a ModelConfig, outputs: &'a [Option<OutputTensor>]) -> Vec<Output<'a>> {
    let named = config.outputs.iter().zip(outputs);
    named
        .filter_map(|(spec, tensor)| {
            let tensor = tensor.as_ref()?;
            Some(Output { name: &spec.name, data_type: tensor.data_type, shape: &tensor.shape, data: &tensor.data })
        })
        .collect()
}
