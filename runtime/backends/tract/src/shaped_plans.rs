//! Plans of a model that leaves dimensions to the request: one per combination of shapes, the most recent kept.
//!
//! Convolutional networks get a plan per shape, made when a shape first comes, because tract lays them out several
//! times faster when it knows sizes. Others get one plan for all shapes, where tract manages that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hanok_backend::ServingError;
use tract_onnx::prelude::InferenceModel;

use crate::contract::Contract;
use crate::failure;
use crate::fixed_plans::PlannedRun;
use crate::graph::Axis;
use crate::plan::{Plan, Sizes};

/// Shapes whose plans are kept.
pub(crate) const CAPACITY: usize = 16;

/// Shape of every input.
type InputShapes = Vec<Vec<usize>>;

/// Plans by shape.
#[derive(Debug)]
pub(crate) struct ShapedPlans {
    model: InferenceModel,
    contract: Contract,
    axes: Vec<Vec<Axis>>,
    /// One plan for everything, where there is one.
    any: Option<Arc<Plan>>,
    /// Most recently used last.
    recent: Mutex<VecDeque<(InputShapes, Arc<Plan>)>>,
}

impl ShapedPlans {
    /// Keeps `model` for plans to come; with `try_any`, tries one plan for all shapes now.
    pub(crate) fn new(model: InferenceModel, contract: &Contract, axes: &[Vec<Axis>], try_any: bool) -> Self {
        let any = try_any.then(|| Plan::build(&model, contract, axes, Sizes::Any).ok()).flatten();
        Self {
            model,
            contract: contract.clone(),
            axes: axes.to_vec(),
            any: any.map(Arc::new),
            recent: Mutex::new(VecDeque::with_capacity(CAPACITY)),
        }
    }

    /// The next run of a batch whose inputs have `shapes`, of which `rows` are left.
    ///
    /// With a plan per shape, rows are computed one by one: a plan per number of rows would be made on the path of
    /// requests, and tract gains little from batches.
    ///
    /// # Errors
    /// `InvalidArgument` when the model cannot be computed for these shapes.
    pub(crate) fn next(&self, shapes: &[Vec<usize>], rows: usize) -> Result<PlannedRun, ServingError> {
        if let Some(plan) = &self.any {
            return Ok(PlannedRun { plan: Arc::clone(plan), rows, run_rows: rows });
        }
        let mut key = shapes.to_vec();
        let run_rows = if self.contract.max_rows.is_some() { 1 } else { rows };
        for (shape, axes) in key.iter_mut().zip(&self.axes) {
            shape.iter_mut().zip(axes).filter(|(_, axis)| **axis == Axis::Rows).for_each(|(size, _)| *size = run_rows);
        }
        let plan = self.plan_for(key)?;
        Ok(PlannedRun { plan, rows: run_rows, run_rows })
    }

    fn plan_for(&self, key: InputShapes) -> Result<Arc<Plan>, ServingError> {
        if let Some(plan) = self.take_recent(&key) {
            return Ok(plan);
        }
        // Made without the lock: other shapes go on. Two that come together make it twice, the later one stays.
        let plan = Plan::build(&self.model, &self.contract, &self.axes, Sizes::Shapes(&key)).map_err(|error| {
            ServingError::invalid(format!(
                "model '{}' cannot be computed for input shapes {key:?}",
                self.contract.model
            ))
            .with_operator_detail(failure::untranslatable(&self.contract.model, &error).to_string())
        })?;
        let plan = Arc::new(plan);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(kept, _)| *kept != key);
        if recent.len() == CAPACITY {
            recent.pop_front();
        }
        recent.push_back((key, Arc::clone(&plan)));
        Ok(plan)
    }

    fn take_recent(&self, key: &[Vec<usize>]) -> Option<Arc<Plan>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let position = recent.iter().rposition(|(kept, _)| kept == key)?;
        let found = recent.remove(position)?;
        let plan = Arc::clone(&found.1);
        recent.push_back(found);
        Some(plan)
    }

    /// The plans that there are now.
    pub(crate) fn plans(&self) -> Vec<Arc<Plan>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.iter().cloned().chain(recent.iter().map(|(_, plan)| Arc::clone(plan))).collect()
    }
}
