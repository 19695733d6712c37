//! `CategoryMapper`: texts to numbers or back, with a default for what is not listed.
//!
//! One look-up per element, where tract's own needs two passes; both defaults may be given or left out, as the
//! operator's text allows.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::model::{DatumTypeExt as _, SpecialOps as _};
use tract_onnx::tract_core::ops::{EvalOp, Op, TypedOp};
use tract_onnx::tract_core::plan::EvalContext;
use tract_onnx::tract_core::{op_as_typed_op, op_out_of_plan};
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{
    DatumType, Expansion, IntoTValue as _, OutletId, StaticName, TValue, TVec, Tensor, TractResult, TypedFact,
    TypedModel, as_op, ensure, expand, tensor1, tvec,
};

use super::attributes::{integer, integers, text, texts};

/// Both directions of a mapping.
#[derive(Debug, PartialEq, Eq)]
struct Categories {
    number_of: HashMap<Box<str>, i64>,
    text_of: HashMap<i64, Box<str>>,
    default_number: i64,
    default_text: Box<str>,
}

/// Builds `CategoryMapper`.
pub(super) fn build(
    _context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (numbers, words) = (integers(node, "cats_int64s"), texts(node, "cats_strings")?);
    ensure!(
        numbers.len() == words.len(),
        "attribute `cats_strings` has `{}` values, expected `{}`",
        words.len(),
        numbers.len()
    );
    let mut categories = Categories {
        number_of: HashMap::with_capacity(words.len()),
        text_of: HashMap::with_capacity(words.len()),
        default_number: integer(node, "default_int64", -1),
        default_text: text(node, "default_string", "_Unused")?.into(),
    };
    // Listed twice, the last one counts, as in ONNX Runtime.
    for (&number, word) in numbers.iter().zip(words) {
        categories.text_of.insert(number, word.as_str().into());
        categories.number_of.insert(word.into(), number);
    }
    Ok((expand(CategoryMapper(Arc::new(categories))), vec![]))
}

fn output_type(input: DatumType) -> DatumType {
    if input == DatumType::String { DatumType::I64 } else { DatumType::String }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CategoryMapper(Arc<Categories>);

impl Expansion for CategoryMapper {
    fn name(&self) -> StaticName {
        "CategoryMapper".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        solver.given(&inputs[0].datum_type, move |solver, data_type| {
            solver.equals(&outputs[0].datum_type, output_type(data_type))
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for CategoryMapper {
    fn name(&self) -> StaticName {
        "CategoryMapper".into()
    }

    op_as_typed_op!();
}

impl EvalOp for CategoryMapper {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let categories = &*self.0;
        let input: &Tensor = &inputs[0];
        let view = input.try_as_plain_ram()?;
        let output_type = output_type(input.datum_type());
        let mut output =
            Tensor::zero_dt(DatumType::I64, if output_type == DatumType::I64 { input.shape() } else { &[0] })?;
        if output_type == DatumType::I64 {
            let mut numbers = output.try_as_plain_ram_mut()?;
            for (number, word) in numbers.as_slice_mut::<i64>()?.iter_mut().zip(view.as_slice::<String>()?) {
                *number = categories.number_of.get(word.as_str()).copied().unwrap_or(categories.default_number);
            }
        } else {
            let word = |number| categories.text_of.get(number).unwrap_or(&categories.default_text).to_string();
            let words: Vec<String> = view.as_slice::<i64>()?.iter().map(word).collect();
            output = tensor1(&words).into_shape(input.shape())?;
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for CategoryMapper {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(output_type(inputs[0].datum_type).fact(inputs[0].shape.iter())))
    }

    as_op!();
}
