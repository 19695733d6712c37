//! One plan in the hands of one instance: its scratch memory and its input tensors, kept from run to run.

use std::sync::Arc;

use tract_onnx::prelude::{DatumType, TValue, TVec, Tensor, TractResult, TypedSimpleState, tensor1};

use crate::plan::Plan;

/// Runs one plan, again and again.
#[derive(Debug)]
pub(crate) struct Runner {
    plan: Arc<Plan>,
    state: TypedSimpleState,
    /// Whether an operator carries something from one run to the next, as tract's recurrent ones do.
    carries: bool,
    inputs: Vec<Option<Arc<Tensor>>>,
}

impl Runner {
    /// A runner with memory of its own.
    ///
    /// # Errors
    /// What tract says when an operator cannot make its state.
    pub(crate) fn new(plan: &Arc<Plan>) -> TractResult<Self> {
        let state = plan.runnable.spawn()?;
        let carries = state.op_states.iter().any(Option::is_some);
        Ok(Self { plan: Arc::clone(plan), state, carries, inputs: vec![None; plan.input_types.len()] })
    }

    /// Whether this runner runs `plan`.
    pub(crate) fn runs(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(&self.plan, plan)
    }

    /// The tensor of input `index`, of this shape, to be overwritten: the one of the last run where it is free and
    /// fits, so that nothing is allocated.
    ///
    /// # Errors
    /// When the shape is too large.
    pub(crate) fn input(&mut self, index: usize, shape: &[usize]) -> TractResult<&mut Tensor> {
        let slot = &mut self.inputs[index];
        // An output may be the input itself; then somebody still reads it.
        let reusable = slot.as_mut().is_some_and(|kept| kept.shape() == shape && Arc::get_mut(kept).is_some());
        if !reusable {
            *slot = None;
        }
        let tensor = match slot {
            Some(kept) => kept,
            None => slot.insert(Arc::new(blank(self.plan.input_types[index], shape)?)),
        };
        Arc::get_mut(tensor).ok_or_else(|| tract_onnx::prelude::TractError::msg("an input tensor is in use"))
    }

    /// Computes; every input must have been written since the last run.
    ///
    /// # Errors
    /// What tract says.
    pub(crate) fn run(&mut self) -> TractResult<TVec<TValue>> {
        if self.carries {
            // tract streams: what a recurrent operator remembers outlives the run. In ONNX it does not, and here it
            // would reach the next client.
            self.state = self.plan.runnable.spawn()?;
        }
        let inputs = self.inputs.iter().flatten().map(|tensor| TValue::from_const(Arc::clone(tensor))).collect();
        let outputs = self.state.run(inputs);
        if outputs.is_err() {
            self.state.reset_turn()?;
        }
        outputs
    }
}

/// A tensor of zeroes, or of empty texts.
fn blank(datum_type: DatumType, shape: &[usize]) -> TractResult<Tensor> {
    if datum_type == DatumType::String {
        let texts = vec![String::new(); shape.iter().product()];
        return tensor1(&texts).into_shape(shape);
    }
    Tensor::zero_dt(datum_type, shape)
}
