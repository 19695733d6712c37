//! Reading attributes of an ONNX node: lists that may be left out, numbers in either precision.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::{Tensor, TractErrorContext as _, TractResult, bail};

/// The attribute called `name`.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A list of integers; empty when left out.
pub(super) fn integers<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

/// A list of texts; empty when left out.
pub(super) fn texts(node: &NodeProto, name: &str) -> TractResult<Vec<String>> {
    let texts = attribute(node, name).map_or(&[][..], |attribute| &attribute.strings);
    texts
        .iter()
        .map(|text| String::from_utf8(text.clone()).with_context(|| format!("attribute `{name}` is not valid UTF-8")))
        .collect()
}

/// A text; `default` when left out.
pub(super) fn text<'a>(node: &'a NodeProto, name: &str, default: &'a str) -> TractResult<&'a str> {
    match attribute(node, name) {
        Some(attribute) => {
            std::str::from_utf8(&attribute.s).with_context(|| format!("attribute `{name}` is not valid UTF-8"))
        }
        None => Ok(default),
    }
}

/// An integer; `default` when left out.
pub(super) fn integer(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

/// A tensor; `None` when left out.
pub(super) fn tensor(context: &ParsingContext<'_>, node: &NodeProto, name: &str) -> TractResult<Option<Tensor>> {
    match attribute(node, name) {
        Some(AttributeProto { t: Some(tensor), .. }) => context.load_tensor(tensor).map(Some),
        Some(_) => bail!("attribute `{name}` holds no tensor"),
        None => Ok(None),
    }
}

/// Numbers as they stand in an attribute: a list of singles, or a tensor in the precision that it has.
pub(super) enum Numbers<'a> {
    /// A plain list.
    Singles(&'a [f32]),
    /// A tensor.
    Tensor(Tensor),
}

impl Numbers<'_> {
    /// Reads attribute `name`, or `name` with `_as_tensor` behind it; an empty list when both are left out.
    pub(super) fn read<'a>(context: &ParsingContext<'_>, node: &'a NodeProto, name: &str) -> TractResult<Numbers<'a>> {
        if let Some(tensor) = tensor(context, node, &format!("{name}_as_tensor"))? {
            return Ok(Numbers::Tensor(tensor));
        }
        Ok(Numbers::Singles(attribute(node, name).map_or(&[], |attribute| &attribute.floats)))
    }

    /// The numbers in double precision.
    pub(super) fn doubles(&self) -> TractResult<Vec<f64>> {
        match self {
            Self::Singles(values) => Ok(values.iter().map(|&value| f64::from(value)).collect()),
            Self::Tensor(tensor) => Ok(tensor.cast_to::<f64>()?.try_as_plain_ram()?.as_slice::<f64>()?.to_vec()),
        }
    }
}
