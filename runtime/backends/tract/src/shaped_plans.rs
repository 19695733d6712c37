//! Plans of a model that leaves dimensions to the request: one per combination of shapes, the most recent kept.
//!
//! Convolutional networks get a plan per shape, made when a shape first comes, because tract lays them out several
//! times faster when it knows sizes. Others get one plan for all shapes, where tract manages that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hanok_backend::ServingError;
use tract_onnx::prelude::{InferenceModel, TractError};

use crate::contract::Contract;
use crate::failure;
use crate::fixed_plans::PlannedRun;
use crate::graph::Axis;
use crate::plan::{Plan, Sizes};

/// Shapes whose plans are kept.
pub(crate) const CAPACITY: usize = 16;

/// Sizes of variable dimensions that are tried while a model loads: images, sound frames, token counts.
const PROBED_SIZES: [usize; 4] = [64, 320, 576, 1];

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
    ///
    /// Where there is none, some sizes are tried, so that a model with an operator that tract cannot translate is
    /// refused now and not at its first request. Failures at many nodes are taken for sizes that do not fit.
    ///
    /// # Errors
    /// What tract says, when every size tried fails, and half of them at the same node.
    pub(crate) fn new(
        model: InferenceModel,
        contract: &Contract,
        axes: &[Vec<Axis>],
        try_any: bool,
    ) -> Result<Self, TractError> {
        let any = try_any.then(|| Plan::build(&model, contract, axes, Sizes::Any).ok()).flatten();
        if any.is_none() {
            let mut failures = Vec::new();
            for size in PROBED_SIZES {
                match Plan::build(&model, contract, axes, Sizes::Shapes(&probed_shapes(axes, size))) {
                    Ok(_) => break,
                    Err(error) => failures.push(error),
                }
            }
            if failures.len() == PROBED_SIZES.len()
                && let Some(error) = failure::at_one_node(&failures)
            {
                return Err(TractError::msg(format!("{error:#}")));
            }
        }
        Ok(Self {
            model,
            contract: contract.clone(),
            axes: axes.to_vec(),
            any: any.map(Arc::new),
            recent: Mutex::new(VecDeque::with_capacity(CAPACITY)),
        })
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

/// Shapes of one row in which every variable dimension has `size`.
fn probed_shapes(axes: &[Vec<Axis>], size: usize) -> InputShapes {
    let dimension = |axis: &Axis| match axis {
        Axis::Rows => 1,
        Axis::Fixed(fixed) => *fixed,
        Axis::Variable(_) => size,
    };
    axes.iter().map(|axes| axes.iter().map(dimension).collect()).collect()
}
