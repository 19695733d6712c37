//! Inputs that come from features by entity key: a contract that somebody above the repository fulfils.
//!
//! Not the look-up itself. The invariant: a model without features has no step, and its requests know nothing of this.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use hanok_backend::{InferenceRequest, Parameters, ServingError};
use hanok_model_config::{FEATURE_SERVICE, ModelConfig, Scheduling};

/// Knows the feature services. Called on loading threads; may block.
pub trait FeatureSource: Debug + Send + Sync {
    /// The step in front of a model whose configuration names `service`.
    ///
    /// # Errors
    /// `NotFound` for a service that is not declared, `InvalidArgument` for one that does not fit the model's inputs.
    fn step(&self, config: &ModelConfig, service: &str) -> Result<Arc<dyn FeatureStep>, ServingError>;
}

/// Stands in front of one model and fills inputs from features.
pub trait FeatureStep: Debug + Send + Sync {
    /// The model as clients see it: its configuration with other inputs. First those that clients send (keys, and the
    /// model's inputs that no feature fills), then those that features fill, optional: who sends one overrides it.
    fn client_config(&self) -> &ModelConfig;

    /// How many of the inputs clients send; the others are filled.
    fn sent_inputs(&self) -> usize;

    /// Turns a request that was validated against [`Self::client_config`] into one for the model. Never blocks the thread;
    /// waits no longer than the request's deadline. Dropping the future gives the request up.
    fn fill(&self, request: InferenceRequest) -> FillFuture<'_>;
}

/// A request on its way through a step.
pub type FillFuture<'a> = Pin<Box<dyn Future<Output = Result<FilledRequest, ServingError>> + Send + 'a>>;

/// A request with every input of its model.
#[derive(Debug)]
pub struct FilledRequest {
    /// The request, its inputs in the order of the model's configuration.
    pub request: InferenceRequest,
    /// Response parameters, where the client asked to be told of its features.
    pub told: Parameters,
}

/// The step in front of a model, where its configuration asks for one.
pub(crate) fn step_of(
    config: &ModelConfig,
    source: Option<&dyn FeatureSource>,
) -> Result<Option<Arc<dyn FeatureStep>>, ServingError> {
    let Some(service) = config.parameters.get(FEATURE_SERVICE) else { return Ok(None) };
    if matches!(config.scheduling, Scheduling::Sequence(_)) {
        return Err(ServingError::unsupported(format!(
            "model '{}' takes sequences, whose requests cannot wait for feature service `{service}` and keep their order",
            config.name
        )));
    }
    let source = source.ok_or_else(|| {
        ServingError::invalid(format!(
            "model '{}' takes inputs from feature service `{service}`, and the server knows no features: give it their \
             declarations with --features=FILE",
            config.name
        ))
    })?;
    source.step(config, service).map(Some)
}
