//! From tract's words to an error that names the operator and the remedy.
//!
//! tract tells where it failed in a chain of contexts such as `Translating node #3 "ZipMap" Unimplemented(ZipMap)`;
//! the client reads which operator it was, the operator's log has the whole chain.

use hanok_backend::ServingError;
use tract_onnx::prelude::TractError;

/// How a model gets served that tract cannot compute.
pub(crate) const REMEDY: &str = "install ONNX Runtime with `scripts/setup` to serve it";

/// Where a graph came to grief.
#[derive(Debug, PartialEq, Eq)]
struct FailedNode<'a> {
    name: &'a str,
    operator: &'a str,
}

/// The innermost node that tract's text names: `node #12 "name" Operator`.
fn failed_node(text: &str) -> Option<FailedNode<'_>> {
    let after = text.rsplit_once("node #")?.1;
    let (number, rest) = after.split_once(" \"")?;
    number.parse::<usize>().ok()?;
    let (name, rest) = rest.split_once("\" ")?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let operator = match &rest[..end] {
        "Unimplemented" => rest[end..].strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or(""),
        operator => operator,
    };
    Some(FailedNode { name, operator })
}

/// A graph that tract does not translate.
pub(crate) fn untranslatable(model: &str, error: &TractError) -> ServingError {
    let detail = format!("{error:#}");
    let message = match failed_node(&detail) {
        Some(node) => format!(
            "model '{model}' cannot be computed by backend 'tract': operator `{}` (node `{}`) failed to translate; {REMEDY}",
            node.operator, node.name
        ),
        None => format!("model '{model}' cannot be computed by backend 'tract': its graph failed to translate; {REMEDY}"),
    };
    ServingError::unsupported(message).with_operator_detail(detail)
}

/// A graph with operators that are not registered; `operators` is not empty.
pub(crate) fn missing_operators(model: &str, operators: &[&str]) -> ServingError {
    let names = operators.iter().map(|operator| format!("`{operator}`")).collect::<Vec<_>>().join(", ");
    let (noun, verb) = if operators.len() == 1 { ("operator", "is") } else { ("operators", "are") };
    let advice = if operators.contains(&"ZipMap") {
        format!("export the model without ZipMap (skl2onnx: `options={{'zipmap': False}}`), or {REMEDY}")
    } else {
        REMEDY.to_owned()
    };
    ServingError::unsupported(format!("model '{model}': {noun} {names} {verb} not offered by backend 'tract'; {advice}"))
}

/// An execution that failed.
pub(crate) fn execution(model: &str, error: &TractError) -> ServingError {
    ServingError::internal(format!("model '{model}' failed to compute")).with_operator_detail(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::{FailedNode, failed_node};

    #[test]
    fn the_innermost_node_is_named() {
        let text = "Translating node #560 \"Reshape@18\" Reshape ToTypedTranslator: no";
        assert_eq!(failed_node(text), Some(FailedNode { name: "Reshape@18", operator: "Reshape" }));
        let text = "Failed analyse for node #5 \"If_0\" If: Failed analyse for node #0 \"node_pad\" Pad: x";
        assert_eq!(failed_node(text), Some(FailedNode { name: "node_pad", operator: "Pad" }));
        let text = "Translating node #3 \"ZipMap\" Unimplemented(ZipMap) ToTypedTranslator";
        assert_eq!(failed_node(text), Some(FailedNode { name: "ZipMap", operator: "ZipMap" }));
        assert_eq!(failed_node("something else"), None);
    }
}
