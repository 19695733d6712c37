//! One optimised plan: a graph made concrete for certain input shapes.
//!
//! Immutable and shared by all instances; what changes while computing lives in [`crate::runner::Runner`].

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::{
    DatumType, InferenceFact, InferenceModel, InferenceModelExt as _, IntoRunnable as _, TDim, Tensor, TractError,
    TractResult, TypedSimplePlan,
};
use tract_onnx::tract_core::model::SpecialOps as _;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::konst::Const;

use crate::contract::Contract;
use crate::data_type::{data_type, datum_type};
use crate::graph::Axis;
use crate::operators::tree_memory_bytes;

/// What the axes of the inputs are to be in a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sizes<'a> {
    /// This many rows, all other dimensions being known from the model.
    Rows(usize),
    /// Exactly these shapes, rows included.
    Shapes(&'a [Vec<usize>]),
    /// Any number of rows and any size of what the model leaves open.
    Any,
}

/// A graph, ready to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) runnable: Arc<TypedSimplePlan>,
    /// tract's element types of the inputs, in the contract's order.
    pub(crate) input_types: Vec<DatumType>,
}

impl Plan {
    /// Optimises `model` for `sizes`.
    ///
    /// # Errors
    /// What tract says; also where it panics.
    pub(crate) fn build(
        model: &InferenceModel,
        contract: &Contract,
        axes: &[Vec<Axis>],
        sizes: Sizes<'_>,
    ) -> Result<Self, TractError> {
        let mut model = model.clone();
        let mut input_types = Vec::with_capacity(axes.len());
        for (index, (port, axes)) in contract.inputs.iter().zip(axes).enumerate() {
            let datum = datum_type(port.data_type).ok_or_else(|| TractError::msg("a data type that tract lacks"))?;
            let shape: Vec<TDim> = match sizes {
                Sizes::Shapes(shapes) => shapes[index].iter().map(|&size| size.into()).collect(),
                Sizes::Rows(_) | Sizes::Any => {
                    let names = axes.iter().enumerate();
                    names.map(|(axis, dimension)| size(&model, sizes, dimension, (index, axis))).collect()
                }
            };
            model.set_input_fact(index, InferenceFact::dt_shape(datum, shape))?;
            input_types.push(datum);
        }
        // tract asserts in places what a graph may break; that must fail the load and nothing else.
        let optimised = catch_unwind(AssertUnwindSafe(|| optimise(model)));
        let runnable = optimised.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(TractError::msg(format!("tract panicked: {}", text.unwrap_or("for no stated reason"))))
        })?;
        let plan = Self { runnable, input_types };
        plan.check_outputs(contract)?;
        Ok(plan)
    }

    fn check_outputs(&self, contract: &Contract) -> Result<(), TractError> {
        for (index, port) in contract.outputs.iter().enumerate() {
            let computed = self.runnable.model().output_fact(index)?.datum_type;
            if data_type(computed) != Some(port.data_type) {
                return Err(TractError::msg(format!(
                    "output `{}` is computed as {computed:?}, expected {}",
                    port.name, port.data_type
                )));
            }
        }
        Ok(())
    }
}

fn optimise(model: InferenceModel) -> TractResult<Arc<TypedSimplePlan>> {
    let mut model = model.into_typed()?;
    // A dimension that is an output becomes a number inside the plan, where the sizes of the run are known.
    let mut outputs = model.output_outlets()?.to_vec();
    for (index, outlet) in outputs.iter_mut().enumerate() {
        if model.outlet_fact(*outlet)?.datum_type == DatumType::TDim {
            *outlet = model.wire_node(format!("hanok_number_{index}"), cast(DatumType::I64), &[*outlet])?[0];
        }
    }
    model.select_output_outlets(&outputs)?;
    model.into_optimized()?.into_runnable()
}

fn size(model: &InferenceModel, sizes: Sizes<'_>, dimension: &Axis, position: (usize, usize)) -> TDim {
    match (dimension, sizes) {
        (Axis::Fixed(size), _) => (*size).into(),
        (Axis::Rows, Sizes::Rows(rows)) => rows.into(),
        (Axis::Rows, _) => model.symbols.sym("hanok_rows").into(),
        // Dimensions that the graph calls by one name are one.
        (Axis::Variable(Some(name)), _) => model.symbols.sym(&format!("hanok_dimension_{name}")).into(),
        (Axis::Variable(None), _) => {
            model.symbols.sym(&format!("hanok_dimension_{}_{}", position.0, position.1)).into()
        }
    }
}

/// Bytes of weights that plans hold, each tensor counted once: an estimate.
///
/// Weights that tract packed into its operators tell no size, so without trees, which are smaller than their file, it is
/// `file_bytes` at least.
pub(crate) fn memory_bytes<'a>(plans: impl Iterator<Item = &'a Plan>, file_bytes: u64) -> u64 {
    let mut tensors: HashMap<*const Tensor, u64> = HashMap::new();
    let mut trees: HashMap<usize, u64> = HashMap::new();
    for plan in plans {
        for node in plan.runnable.model().nodes() {
            if let Some(constant) = node.op_as::<Const>() {
                let tensor = constant.val();
                let packed = || {
                    let fact = tensor.exotic_fact().ok().flatten()?;
                    fact.mem_size().to_i64().ok().and_then(|bytes| u64::try_from(bytes).ok())
                };
                let bytes = match tensor.as_plain_ram_storage() {
                    Some(_) => (tensor.len() * tensor.datum_type().size_of()) as u64,
                    None => packed().unwrap_or(0),
                };
                tensors.insert(Arc::as_ptr(tensor), bytes);
            } else if let Some((identity, bytes)) = tree_memory_bytes(node.op.as_ref()) {
                trees.insert(identity, bytes);
            }
        }
    }
    let counted = tensors.values().chain(trees.values()).sum();
    if trees.is_empty() { file_bytes.max(counted) } else { counted }
}
