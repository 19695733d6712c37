//! Inputs and outputs as the configuration promises them, in the terms of this backend.

use hanok_backend::ServingError;
use hanok_model_config::{ModelConfig, Scheduling};
use hanok_tensor::{DataType, Shape};

use crate::data_type::datum_type;
use crate::failure::REMEDY;

/// One input or output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    /// Name in the configuration and in the graph.
    pub(crate) name: String,
    /// Element type.
    pub(crate) data_type: DataType,
    /// Dimensions that the model wants, without the batch dimension; -1 for any.
    pub(crate) dims: Shape,
}

/// All inputs and outputs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contract {
    /// Name of the model, for messages.
    pub(crate) model: String,
    /// Configured inputs, then the control inputs of a sequence model.
    pub(crate) inputs: Vec<Port>,
    /// Configured outputs.
    pub(crate) outputs: Vec<Port>,
    /// Largest number of rows; `None` for a model that does not batch.
    pub(crate) max_rows: Option<usize>,
}

impl Contract {
    /// The contract of a configuration.
    ///
    /// # Errors
    /// `Unsupported` for a data type or a kind of batch that tract cannot compute.
    pub(crate) fn new(config: &ModelConfig) -> Result<Self, ServingError> {
        if let Some(ragged) = config.inputs.iter().find(|input| input.allow_ragged_batch) {
            return Err(ServingError::unsupported(format!(
                "input '{}' of model '{}' allows ragged batches, which backend 'tract' does not offer",
                ragged.name, config.name
            )));
        }
        let mut inputs: Vec<Port> = config
            .inputs
            .iter()
            .map(|input| Port {
                name: input.name.clone(),
                data_type: input.data_type,
                dims: input.model_dims().clone(),
            })
            .collect();
        if let Scheduling::Sequence(sequence) = &config.scheduling {
            inputs.extend(sequence.controls.iter().map(|control| Port {
                name: control.name.clone(),
                data_type: control.data_type,
                dims: Shape::new(&[1]),
            }));
        }
        let outputs: Vec<Port> = config
            .outputs
            .iter()
            .map(|output| Port {
                name: output.name.clone(),
                data_type: output.data_type,
                dims: output.model_dims().clone(),
            })
            .collect();
        if let Some(port) = inputs.iter().chain(&outputs).find(|port| datum_type(port.data_type).is_none()) {
            return Err(ServingError::unsupported(format!(
                "tensor '{}' of model '{}' has data type {}, which backend 'tract' does not have; {REMEDY}",
                port.name, config.name, port.data_type
            )));
        }
        let max_rows = config.batches().then_some(config.max_batch_size as usize);
        Ok(Self { model: config.name.clone(), inputs, outputs, max_rows })
    }
}
