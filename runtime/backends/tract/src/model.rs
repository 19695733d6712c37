//! A loaded model: the plans that all its instances share.

use std::sync::Arc;

use hanok_backend::{InstancePlacement, Model, ModelInstance, ModelSource, Placement, ServingError};
use hanok_model_config::ModelConfig;
use tract_onnx::prelude::{InferenceModel, TractError};

use crate::contract::Contract;
use crate::failure;
use crate::fixed_plans::{FixedPlans, PlannedRun};
use crate::graph::{Axis, Graph};
use crate::instance::TractInstance;
use crate::plan::{Plan, memory_bytes};
use crate::shaped_plans::ShapedPlans;

/// Everything about a model that does not change while it computes.
#[derive(Debug)]
pub(crate) struct LoadedModel {
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) contract: Contract,
    pub(crate) axes: Vec<Vec<Axis>>,
    plans: Plans,
    file_bytes: u64,
}

#[derive(Debug)]
enum Plans {
    Fixed(FixedPlans),
    Shaped(Box<ShapedPlans>),
}

/// A model served by tract.
#[derive(Debug)]
pub(crate) struct TractModel(Arc<LoadedModel>);

impl TractModel {
    /// Reads the model file and makes its plans.
    pub(crate) fn load(source: &ModelSource) -> Result<Self, ServingError> {
        let contract = Contract::new(&source.config)?;
        let graph = Graph::read(&source.model_file("model.onnx"), &contract)?;
        let plans = Plans::build(&graph, &contract)?;
        let (axes, file_bytes) = (graph.axes, graph.file_bytes);
        Ok(Self(Arc::new(LoadedModel { config: Arc::clone(&source.config), contract, axes, plans, file_bytes })))
    }
}

impl Model for TractModel {
    fn create_instance(&self, placement: &InstancePlacement) -> Result<Box<dyn ModelInstance>, ServingError> {
        if let Placement::Gpu(_) = placement.placement {
            return Err(ServingError::unsupported(format!(
                "instance '{}' is to run on a GPU, which backend 'tract' cannot use; set KIND_CPU, or {}",
                placement.name,
                failure::REMEDY
            )));
        }
        Ok(Box::new(TractInstance::new(Arc::clone(&self.0))?))
    }

    fn memory_bytes(&self) -> u64 {
        let plans = self.0.plans.all();
        memory_bytes(plans.iter().map(|plan| &**plan), self.0.file_bytes)
    }
}

impl LoadedModel {
    /// The next run of a batch whose inputs have `shapes`, of which `rows` (above 0) are left.
    pub(crate) fn next_run(&self, shapes: &[Vec<usize>], rows: usize) -> Result<PlannedRun, ServingError> {
        match &self.plans {
            Plans::Fixed(plans) => Ok(plans.next(rows)),
            Plans::Shaped(plans) => plans.next(shapes, rows),
        }
    }

    /// Plans that an instance should be ready for.
    pub(crate) fn ready_plans(&self) -> Vec<Arc<Plan>> {
        self.plans.all()
    }
}

impl Plans {
    fn build(graph: &Graph, contract: &Contract) -> Result<Self, ServingError> {
        let attempt = |use_value_info| -> Result<Self, TractError> {
            Self::of(graph.translate(use_value_info)?, graph, contract)
        };
        // Facts that the file states about inner tensors mostly stand in the way; rarely, nothing goes without them.
        attempt(false)
            .or_else(|error| attempt(true).map_err(|_| error))
            .map_err(|error| failure::untranslatable(&contract.model, &error))
    }

    fn of(model: InferenceModel, graph: &Graph, contract: &Contract) -> Result<Self, TractError> {
        let variable = graph.axes.iter().flatten().any(|axis| matches!(axis, Axis::Variable(_)));
        if variable {
            let plans = ShapedPlans::new(model, contract, &graph.axes, graph.character.suits_any_size())?;
            return Ok(Self::Shaped(Box::new(plans)));
        }
        let max_rows = contract.max_rows.unwrap_or(1);
        FixedPlans::build(&model, contract, &graph.axes, max_rows, graph.character).map(Self::Fixed)
    }

    fn all(&self) -> Vec<Arc<Plan>> {
        match self {
            Self::Fixed(plans) => plans.plans().to_vec(),
            Self::Shaped(plans) => plans.plans(),
        }
    }
}
