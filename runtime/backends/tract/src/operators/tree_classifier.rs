//! `TreeEnsembleClassifier`: a label and the scores of all classes.

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
    TractResult, TypedFact, TypedModel, as_op, ensure, expand, tensor1, tvec,
};

use super::attributes::{integers, texts};
use super::features::{as_slice, rows_and_columns, singles};
use super::tree_definition::{TreeAttributes, post_transform};
use super::tree_source::{TreeSource, Trees};
use crate::tree_ensemble::{ClassificationEnsemble, Label, PostTransform};

type Source = TreeSource<ClassificationEnsemble<f32>, ClassificationEnsemble<f64>>;
type Classification = Trees<ClassificationEnsemble<f32>, ClassificationEnsemble<f64>>;

/// Names of the classes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClassLabels {
    Numbers(Arc<[i64]>),
    Texts(Arc<[String]>),
}

impl ClassLabels {
    fn count(&self) -> usize {
        match self {
            Self::Numbers(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    fn data_type(&self) -> DatumType {
        match self {
            Self::Numbers(_) => DatumType::I64,
            Self::Texts(_) => DatumType::String,
        }
    }

    fn tensor(&self, found: &[Label]) -> TractResult<Tensor> {
        let mut tensor = Tensor::zero_dt(DatumType::I64, &[found.len()])?;
        match self {
            Self::Numbers(labels) => {
                let mut view = tensor.try_as_plain_ram_mut()?;
                for (value, &label) in view.as_slice_mut::<i64>()?.iter_mut().zip(found) {
                    *value = match label {
                        Label::Class(class) => labels[class],
                        Label::Sign(positive) => i64::from(positive),
                    };
                }
            }
            Self::Texts(labels) => {
                let text = |label: &Label| match *label {
                    Label::Class(class) => labels[class].clone(),
                    Label::Sign(positive) => labels[usize::from(positive).min(labels.len() - 1)].clone(),
                };
                tensor = tensor1(&found.iter().map(text).collect::<Vec<_>>());
            }
        }
        Ok(tensor)
    }
}

/// Builds `TreeEnsembleClassifier`.
pub(super) fn build(
    context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (numbers, words) = (integers(node, "classlabels_int64s"), texts(node, "classlabels_strings")?);
    ensure!(numbers.is_empty() != words.is_empty(), "expected class labels of one type, got both or none");
    let labels = if words.is_empty() { ClassLabels::Numbers(numbers.into()) } else { ClassLabels::Texts(words.into()) };
    let attributes = TreeAttributes::read(context, node, "class", labels.count())?;
    let source = TreeSource::new(attributes.definition()?, attributes.base_values()?);
    let post_transform = post_transform(node)?;
    Ok((expand(Classifier { source: Arc::new(source), labels, post_transform }), vec![]))
}

/// The operator while shapes are being worked out.
#[derive(Clone, Debug)]
struct Classifier {
    source: Arc<Source>,
    labels: ClassLabels,
    post_transform: PostTransform,
}

impl Expansion for Classifier {
    fn name(&self) -> StaticName {
        "TreeEnsembleClassifier".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(2)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        solver.equals(&outputs[0].datum_type, self.labels.data_type())?;
        solver.equals(&outputs[1].datum_type, f32::datum_type())?;
        solver.equals(&outputs[0].rank, 1)?;
        solver.equals(&outputs[1].rank, 2)?;
        solver.equals(&outputs[1].shape[1], self.labels.count().to_dim())?;
        solver.equals(&outputs[0].shape[0], &outputs[1].shape[0])?;
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
        let post_transform = self.post_transform;
        let trees = self.source.trees(
            data_type,
            |definition, base| ClassificationEnsemble::new(definition, post_transform, base),
            |definition, base| ClassificationEnsemble::new(definition, post_transform, base),
        )?;
        model.wire_node(prefix, TypedClassifier { trees, labels: self.labels.clone() }, inputs)
    }
}

/// The operator in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TypedClassifier {
    trees: Classification,
    labels: ClassLabels,
}

impl Op for TypedClassifier {
    fn name(&self) -> StaticName {
        "TreeEnsembleClassifier".into()
    }

    op_as_typed_op!();
}

impl EvalOp for TypedClassifier {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input: &Tensor = &inputs[0];
        let needed = match &self.trees {
            Trees::Single(trees) => trees.columns(),
            Trees::Double(trees) => trees.columns(),
        };
        let (rows, columns) = rows_and_columns(input, needed)?;
        let mut found = vec![Label::Sign(false); rows];
        let mut scores = Tensor::zero::<f32>(&[rows, self.labels.count()])?;
        {
            let mut view = scores.try_as_plain_ram_mut()?;
            let values = view.as_slice_mut::<f32>()?;
            match &self.trees {
                Trees::Single(trees) => trees.predict(&singles(input)?, columns, &mut found, values),
                Trees::Double(trees) => trees.predict(as_slice::<f64>(input)?, columns, &mut found, values),
            }
        }
        Ok(tvec!(self.labels.tensor(&found)?.into_tvalue(), scores.into_tvalue()))
    }
}

impl TypedOp for TypedClassifier {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = if inputs[0].rank() == 2 { inputs[0].shape[0].clone() } else { 1.to_dim() };
        let scores = DatumType::F32.fact([rows.clone(), self.labels.count().to_dim()]);
        Ok(tvec!(self.labels.data_type().fact([rows]), scores))
    }

    as_op!();
}

/// Identity and size of the trees, if `operator` is this one.
pub(super) fn memory(operator: &dyn TypedOp) -> Option<(usize, u64)> {
    let operator = operator.downcast_ref::<TypedClassifier>()?;
    let (identity, bytes) = match &operator.trees {
        Trees::Single(trees) => (Arc::as_ptr(trees).addr(), trees.memory_bytes()),
        Trees::Double(trees) => (Arc::as_ptr(trees).addr(), trees.memory_bytes()),
    };
    Some((identity, bytes as u64))
}
