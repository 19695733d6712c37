//! `TreeEnsembleRegressor`, and `TreeEnsemble` of `ai.onnx.ml` 5, which computes the same.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::model::{DatumTypeExt as _, SpecialOps as _};
use tract_onnx::tract_core::ops::{EvalOp, Op, TypedOp};
use tract_onnx::tract_core::plan::EvalContext;
use tract_onnx::tract_core::{op_as_typed_op, op_out_of_plan};
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{
    Datum as _, DatumType, Expansion, IntoTValue as _, OutletId, StaticName, TValue, TVec, Tensor, ToDim as _,
    TractResult, TypedFact, TypedModel, anyhow, as_op, expand, tvec,
};

use super::attributes::{integer, text};
use super::features::{as_slice, rows_and_columns, singles};
use super::tree_definition::{TreeAttributes, post_transform};
use super::tree_definition_five::TreeEnsembleAttributes;
use super::tree_source::{TreeSource, Trees};
use crate::tree_ensemble::{AggregateFunction, PostTransform, RegressionEnsemble};

type Source = TreeSource<RegressionEnsemble<f32>, RegressionEnsemble<f64>>;
type Regression = Trees<RegressionEnsemble<f32>, RegressionEnsemble<f64>>;

/// Builds `TreeEnsembleRegressor`.
pub(super) fn build(
    context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let targets = usize::try_from(integer(node, "n_targets", 1)).map_err(|_| anyhow!("negative `n_targets`"))?;
    let aggregate = match text(node, "aggregate_function", "SUM")? {
        "SUM" => AggregateFunction::Sum,
        "AVERAGE" => AggregateFunction::Average,
        "MIN" => AggregateFunction::Min,
        "MAX" => AggregateFunction::Max,
        other => return Err(anyhow!("aggregate function `{other}` is not known")),
    };
    let attributes = TreeAttributes::read(context, node, "target", targets)?;
    let source = TreeSource::new(attributes.definition()?, attributes.base_values()?);
    let post_transform = post_transform(node)?;
    Ok((expand(Regressor { source: Arc::new(source), targets, aggregate, post_transform, wide: false }), vec![]))
}

/// Builds `TreeEnsemble`.
pub(super) fn build_version_five(
    context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let attributes = TreeEnsembleAttributes::read(context, node)?;
    let definition = attributes.definition()?;
    let (targets, aggregate, post_transform) = (definition.targets, attributes.aggregate, attributes.post_transform);
    let source = TreeSource::new(definition, Vec::new());
    Ok((expand(Regressor { source: Arc::new(source), targets, aggregate, post_transform, wide: true }), vec![]))
}

/// The operator while shapes are being worked out.
#[derive(Clone, Debug)]
struct Regressor {
    source: Arc<Source>,
    targets: usize,
    aggregate: AggregateFunction,
    post_transform: PostTransform,
    /// Whether double inputs give double outputs, as version 5 has it.
    wide: bool,
}

impl Expansion for Regressor {
    fn name(&self) -> StaticName {
        "TreeEnsembleRegressor".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        if self.wide {
            solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        } else {
            solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        }
        solver.equals(&outputs[0].rank, 2)?;
        solver.equals(&outputs[0].shape[1], self.targets.to_dim())?;
        solver.given(&inputs[0].rank, move |solver, rank| {
            if rank == 2 {
                solver.equals(&inputs[0].shape[0], &outputs[0].shape[0])
            } else {
                solver.equals(&outputs[0].shape[0], 1.to_dim())
            }
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let data_type = model.outlet_fact(inputs[0])?.datum_type;
        let (aggregate, post_transform) = (self.aggregate, self.post_transform);
        let trees = self.source.trees(
            data_type,
            |definition, base| RegressionEnsemble::new(definition, aggregate, post_transform, base),
            |definition, base| RegressionEnsemble::new(definition, aggregate, post_transform, base),
        )?;
        model.wire_node(prefix, TypedRegressor { trees, targets: self.targets, wide: self.wide }, inputs)
    }
}

/// The operator in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TypedRegressor {
    trees: Regression,
    targets: usize,
    wide: bool,
}

impl TypedRegressor {
    fn output_type(&self) -> DatumType {
        match self.trees {
            Trees::Double(_) if self.wide => DatumType::F64,
            _ => DatumType::F32,
        }
    }
}

impl Op for TypedRegressor {
    fn name(&self) -> StaticName {
        "TreeEnsembleRegressor".into()
    }

    op_as_typed_op!();
}

impl EvalOp for TypedRegressor {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input: &Tensor = &inputs[0];
        let needed = match &self.trees {
            Trees::Single(trees) => trees.columns(),
            Trees::Double(trees) => trees.columns(),
        };
        let (rows, columns) = rows_and_columns(input, needed)?;
        let mut output = Tensor::zero::<f32>(&[rows, self.targets])?;
        {
            let mut view = output.try_as_plain_ram_mut()?;
            let values = view.as_slice_mut::<f32>()?;
            match &self.trees {
                Trees::Single(trees) => trees.predict(&singles(input)?, columns, values),
                Trees::Double(trees) => trees.predict(as_slice::<f64>(input)?, columns, values),
            }
        }
        if self.output_type() == DatumType::F64 {
            output = output.cast_to::<f64>()?.into_owned();
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for TypedRegressor {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = if inputs[0].rank() == 2 { inputs[0].shape[0].clone() } else { 1.to_dim() };
        Ok(tvec!(self.output_type().fact([rows, self.targets.to_dim()])))
    }

    as_op!();
}

/// Identity and size of the trees, if `operator` is this one.
pub(super) fn memory(operator: &dyn TypedOp) -> Option<(usize, u64)> {
    let operator = operator.downcast_ref::<TypedRegressor>()?;
    let (identity, bytes) = match &operator.trees {
        Trees::Single(trees) => (Arc::as_ptr(trees).addr(), trees.memory_bytes()),
        Trees::Double(trees) => (Arc::as_ptr(trees).addr(), trees.memory_bytes()),
    };
    Some((identity, bytes as u64))
}
